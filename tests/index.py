#!/usr/bin/env python3
"""index.py - each promise of README.md, SECURITY.md and the manual pages has a test that holds it true

The index is in tests/README.md: under a heading `### DOCUMENT: SECTION` a table of promises and their tests. This fails,
and prints a line for each promise without a row, row without a promise, and row whose test does not exist.

What is a promise, and what it is called in the index:

  README.md              a row of a table, but for those in NO_PROMISES: its first cell
  SECURITY.md            a list item: its words in bold, else its first words
  libvrfbind(7),         a tagged paragraph (.TP): its tag, behind those that it is indented under;
  vrfbind(1)             a list item (.IP \\(bu): its first words; a table (.TS): its first row

What is a test: `REF` SENTENCE, several with <br> between them, where SENTENCE is the test's sentence, or a part of it:

  `library/create/races`   a program of c-tests/programs.txt that a tier runs
  `command-exec.sh`        a script in tests/ that the harness runs
  `examples/radvd/run`     an example that the harness runs; it needs no SENTENCE
  `harness`                a test of the harness itself, by its name
  `rules/device.rs`        a unit test, by the name of its function
  `make test-package`      what a target of the Makefile runs; it needs no SENTENCE

A limit in the sections of UNTESTED may have "untested: REASON" instead: there the manual lists what it does not promise.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_PROMISES = {"directory | contents"}
UNTESTED = {
    "libvrfbind(7): Without CAP_NET_RAW",
    "libvrfbind(7): Limits of rules",
    "libvrfbind(7): Seals and filters",
    "libvrfbind(7): Other tools",
    "vrfbind(1): LIMITATIONS",
}
WORDS = 6
MANUALS = {"libvrfbind(7)": "man/libvrfbind.7", "vrfbind(1)": "man/vrfbind.1"}


def first_words(text):
    words = text.split()
    return " ".join(words[:WORDS]).rstrip(".,;:")


# ---- Promises: lists of (DOCUMENT: SECTION, promise) ----


def cells(row):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def of_markdown(name):
    section, table, found = "", None, []
    # Without code, whose comments look like headings.
    for line in re.sub(r"^```.*?^```", "", (ROOT / name).read_text(), flags=re.S | re.M).splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        if not line.startswith("|"):
            table = None
            item = re.match(r"- (?:\*\*(.+?)\*\*)?(.*)", line)
            if item and name == "SECURITY.md":
                found.append((section, item[1] or first_words(item[2])))
        elif table is None:
            table = " | ".join(cells(line))
        elif table not in NO_PROMISES and not re.fullmatch(r"[|\s:-]+", line):
            found.append((section, cells(line)[0]))
    return found


def roff_arguments(text):
    """The arguments of a macro that alternates fonts: they are joined, with quotes taken off."""
    return "".join(quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', text))


def plain(line):
    macro = re.match(r"\.(B|I|BR|RB|BI|IB|RI|IR)\s+(.*)", line)
    if macro:
        text = macro[2] if macro[1] in ("B", "I") else roff_arguments(macro[2])
        line = text.strip('"')
    line = re.sub(r"\\f[BIRP]", "", line)
    line = re.sub(r"\\\(lq|\\\(rq|\\\(dq", '"', line)
    return line.replace("\\-", "-").replace("\\~", " ").replace("\\&", "").replace("\\ ", " ").strip()


def of_manual(path):
    section, found, tags = "", [], [None]
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith('.\\"')]
    for at, line in enumerate(lines):
        if re.match(r"\.S[HS] ", line):
            section, tags = plain(line[4:]).strip('"'), [None]
        elif line == ".RS":
            tags.append(None)
        elif line == ".RE":
            tags.pop()
        elif line == ".TP":
            tags[-1] = plain(lines[at + 1])
            found.append((section, " / ".join(tag for tag in tags if tag)))
        elif line.startswith(".IP \\(bu"):
            text = []
            for each in lines[at + 1 :]:
                if re.match(r"\.(IP|PP|TP|SH|SS|RE)\b", each):
                    break
                text.append(plain(each))
            found.append((section, first_words(" ".join(text))))
        elif line == ".TS":
            head = next(index for index in range(at, len(lines)) if lines[index].endswith("."))
            found.append((section, lines[head + 1].split(";")[0]))
    return found


def promises():
    found = []
    for document in ("README.md", "SECURITY.md"):
        found += [(f"{document}: {section}", promise) for section, promise in of_markdown(document)]
    for document, path in MANUALS.items():
        found += [(f"{document}: {section}", promise) for section, promise in of_manual(path)]
    return found


# ---- Tests ----


def text_of(path):
    """The text of a source: of C the strings alone, their parts joined and the quotes in them unescaped."""
    text = re.sub(r'"\s*\n\s*"', "", path.read_text())
    if path.suffix == ".c":
        text = "\n".join(re.findall(r'"((?:\\.|[^"\\\n])*)"', text))
    return text.replace('\\"', '"').replace("'\\''", "'")


def programs():
    rows = [line.split() for line in (ROOT / "c-tests/programs.txt").read_text().splitlines()]
    return {row[0] for row in rows if row and not row[0].startswith("#") and row[2] != "-"}


HARNESS = sorted((ROOT / "tests").rglob("*.rs"))


def why_no_test(reference, sentence):
    """Why that is no test, or None."""
    target = re.fullmatch(r"make ([a-z-]+)", reference)
    if target:
        known = re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(), re.M)
        return None if known else "the Makefile has no such target"
    harness = " ".join(text_of(path) for path in HARNESS)
    if reference == "harness":
        text = harness
    elif reference.endswith(".sh"):
        if f'"{reference}"' not in harness:
            return "the harness runs no such script"
        text = text_of(ROOT / "tests" / reference)
    elif re.fullmatch(r"examples/\w+/run", reference):
        if f'"{reference.split("/")[1]}"' not in harness:
            return "the harness runs no such example"
        return None
    elif reference.endswith(".rs"):
        path = ROOT / reference
        if not path.exists() or not re.search(rf"#\[test\]\s*fn {sentence}\(", path.read_text()):
            return "there is no such unit test"
        return None
    elif reference in programs():
        text = text_of(ROOT / "c-tests" / f"{reference}.c")
    else:
        return "there is no such test"
    if not sentence:
        return "which of its sentences?"
    return None if sentence in text else "it says no such sentence"


# ---- The index ----


def index():
    """Yields (DOCUMENT: SECTION, promise, its cell of tests)."""
    section = None
    for line in (ROOT / "tests/README.md").read_text().splitlines():
        if line.startswith("#"):
            heading = re.fullmatch(r"### (.+?: .+)", line)
            section = heading and heading[1]
        elif section and line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            row = cells(line)
            if row != ["promise", "test"]:
                yield section, row[0], row[1] if len(row) > 1 else ""


def main():
    wrong, expected, rows, untested = [], promises(), list(index()), 0
    for section, promise in expected:
        if (section, promise) not in {row[:2] for row in rows}:
            wrong.append(f"a promise without a row, under ### {section}: | {promise} |")
    for section, promise, tests in rows:
        if (section, promise) not in expected:
            wrong.append(f"a row without a promise, under ### {section}: | {promise} |")
        if re.match(r"untested: \S", tests) and section in UNTESTED:
            untested += 1
            continue
        if not tests:
            wrong.append(f"a promise without a test, under ### {section}: | {promise} |")
        for test in tests.split("<br>") if tests else []:
            item = re.fullmatch(r"`([^`]+)`\s*(.*)", test.strip())
            why = why_no_test(*item.groups()) if item else "a test is `REF` SENTENCE"
            if why:
                wrong.append(f"{why}: {test.strip()} (under ### {section}: | {promise} |)")
    for twice in sorted({key for key in expected if expected.count(key) > 1}):
        wrong.append(f"two promises of one name, under ### {twice[0]}: | {twice[1]} |")
    print("\n".join(wrong) or f"{len(expected)} promises: {len(expected) - untested} with a test, {untested} limits without")
    sys.exit(bool(wrong))


main()
