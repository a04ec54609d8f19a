#!/usr/bin/env python3
"""import-circles.py DIRECTORY... - fails where modules of DIRECTORY import each other in a circle

DIRECTORY holds C sources (c-tests), or is a Rust crate's (src, cli/src, rules).

C: a file imports what it includes by "...", from its own directory or from support/.

Rust: a module imports what its code names by crate::, super:: or self::, be it in a `use` or not; what a parent only
passes on (`pub use x::Y`) counts as x's. Seen from outside, a module and its submodules (x.rs and x/) are one; within
x/ they are looked at in turn, without x.rs, for children may share what their parent has. The root (lib.rs, main.rs) is
a module like others: what it uses may not import from it. Unit tests (`#[cfg(test)] mod`) may import anything.

For each circle one line a step: who imports whom, where.
"""

import re
import sys
from pathlib import Path


def circles(edges):
    """A shortest circle through each node that is in one, each circle once. edges: {node: {node: place}}"""
    found = {}
    for start in sorted(edges):
        trails = [[start]]
        seen = set()
        while trails:
            trail = trails.pop(0)
            for node in sorted(edges.get(trail[-1], {})):
                if node == start:
                    found.setdefault(frozenset(trail), trail)
                    trails = []
                    break
                if node not in seen:
                    seen.add(node)
                    trails.append(trail + [node])
    return list(found.values())


def add(edges, importer, imported, place):
    if importer != imported:
        edges.setdefault(importer, {}).setdefault(imported, place)


# ---- C ----


def c_edges(directory):
    edges = {}
    for path in sorted(directory.rglob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not include:
                continue
            candidates = [path.parent / include[1], directory / "support" / include[1]]
            header = next((each.resolve() for each in candidates if each.exists()), None)
            if header is None:
                sys.exit(f"import-circles.py: {path}:{number}: there is no {include[1]}")
            home = directory.resolve()
            add(edges, str(path.relative_to(directory)), str(header.relative_to(home)), f"{path}:{number}")
    return edges


# ---- Rust ----

# What is not code: comments, strings, raw strings, characters. Lifetimes stay.
NOT_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|r(\#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\[^\n]+?|[^'\\\n])'""", re.S)


def code_of(path):
    """Without what is not code, and without unit tests; each line stays at its number."""
    blank = lambda text: re.sub(r"[^\n]", " ", text)
    text = NOT_CODE.sub(lambda match: blank(match[0]), path.read_text())
    while tests := re.search(r"#\[cfg\(test\)\]\s*mod\s+\w+\s*\{", text):
        end = closing(text, tests.end() - 1)
        text = text[: tests.start()] + blank(text[tests.start() : end]) + text[end:]
    return text


def closing(text, at):
    """Where the brace that is open at `at` is closed."""
    depth = 0
    for at in range(at, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    return len(text)


def leaves(text):
    """The paths of `a::{b, c::{self, d}} as e`, as lists of names, from its beginning."""
    head = re.match(r"(?:\w+\s*::\s*)*(?:\w+|\*)?", text)[0]
    names = [name for name in re.split(r"\s*::\s*", head) if name and name != "*"]
    rest = text[len(head) :]
    if not rest.startswith("{"):
        return [names]
    inner = rest[1 : closing(rest, 0)]
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(inner[start:at].strip())
            start = at + 1
    return [names + leaf for part in parts if part for leaf in leaves(part)]


class Crate:
    """The modules of one crate: {path as a tuple of names: file}"""

    def __init__(self, directory):
        self.files = {}
        for file in sorted(directory.rglob("*.rs")):
            parts = file.relative_to(directory).with_suffix("").parts
            if parts[0] == "bin":
                continue
            if parts[-1] == "mod" or parts in (("lib",), ("main",)):
                parts = parts[:-1]
            self.files[parts] = file
        self.texts = {module: code_of(file) for module, file in self.files.items()}
        # {(module, name): module that it is really of}, for `pub use` of a module's own child
        self.passed_on = {}
        for module, text in self.texts.items():
            for use in re.finditer(r"\bpub(?:\([^)]*\))?\s+use\s+(?!crate\b|super\b)(?:self\s*::\s*)?", text):
                for path in leaves(text[use.end() :]):
                    if path and module + (path[0],) in self.files:
                        self.passed_on[module, path[-1]] = module + (path[0],)

    def resolve(self, path):
        """The module of a path: the longest beginning of it that is a file's."""
        for length in range(len(path), -1, -1):
            module = tuple(path[:length])
            if module in self.files:
                name = path[length] if length < len(path) else None
                return self.passed_on.get((module, name), module)
        return ()

    def imports(self):
        """Yields (module, imported module, place)."""
        for module, text in self.texts.items():
            inline = [
                (match.start(), closing(text, match.end() - 1), match[1])
                for match in re.finditer(r"\bmod\s+(\w+)\s*\{", text)
            ]
            for match in re.finditer(r"(?<![\w:$])(crate|super|self)\s*::\s*", text):
                around = [name for start, end, name in inline if start < match.start() < end]
                place = f"{self.files[module]}:{text.count(chr(10), 0, match.start()) + 1}"
                base = {"crate": (), "self": module + tuple(around)}.get(match[1])
                if base is None:
                    base = (module + tuple(around))[:-1]
                for leaf in leaves(text[match.end() :]):
                    here = base
                    while leaf and leaf[0] in ("super", "self"):
                        here = here[:-1] if leaf[0] == "super" else here
                        leaf = leaf[1:]
                    yield module, self.resolve(list(here) + [name for name in leaf if name != "self"]), place

    def edges_of(self, directory):
        """Between the members of directory: a member is a module with all that is below it."""
        edges = {}
        depth = len(directory)
        member = lambda module: module[depth] if len(module) > depth else None
        root = self.files[()].name if not directory else None
        for module, imported, place in self.imports():
            if module[:depth] != directory or imported[:depth] != directory:
                continue
            importer, target = member(module) or root, member(imported) or root
            if importer and target:
                add(edges, importer, target, place)
        if root:
            # What the root declares it can name without crate::.
            text = self.texts[()]
            for name in {module[0] for module in self.files if module}:
                use = re.search(rf"(?<![\w:]){name}\s*::|\buse\s+(?:self\s*::\s*)?{name}\b", text)
                if use:
                    add(edges, root, name, f"{self.files[()]}:{text.count(chr(10), 0, use.start()) + 1}")
        return edges

    def directories(self):
        return sorted({module[:depth] for module in self.files for depth in range(len(module))})


def graphs(directory):
    """Yields (what, its edges)."""
    if any(directory.rglob("*.rs")):
        crate = Crate(directory)
        if () not in crate.files:
            sys.exit(f"import-circles.py: {directory} has neither lib.rs nor main.rs")
        for inner in crate.directories():
            yield "/".join((str(directory),) + inner), crate.edges_of(inner)
    elif any(directory.rglob("*.[ch]")):
        yield str(directory), c_edges(directory)
    else:
        sys.exit(f"import-circles.py: {directory} has no sources")


def main():
    if len(sys.argv) < 2:
        sys.exit("import-circles.py: usage: tests/import-circles.py DIRECTORY...")
    count = 0
    for directory in sys.argv[1:]:
        for where, edges in graphs(Path(directory)):
            for trail in circles(edges):
                count += 1
                print(f"{where}: a circle of imports: {' -> '.join(trail + trail[:1])}")
                for importer, imported in zip(trail, trail[1:] + trail[:1]):
                    print(f"    {edges[importer][imported]}: {importer} imports {imported}")
    sys.exit(1 if count else 0)


main()
