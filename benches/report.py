#!/usr/bin/env python3
"""report.py write FILE DIR SECTION...  - puts what was measured into BENCHMARKS.md
report.py check FILE DIR SECTION...  - whether FILE has the rows that were measured; compares no figure
report.py medians TABLE.tsv          - for compare.sh: each way, what it adds to the first, and the interval

DIR/SECTION/ is what bench.sh, scale.sh or churn.sh have left. A section of FILE lies between two comments and is
replaced as a whole; the others stay as they are, so that each command writes its own. No figure and no verdict comes
from anywhere but these directories.

Statistics: every round of a table did everything once. A median has its 95 % confidence interval from order
statistics, which asks nothing of the distribution. What is added, and a percentage, is the median of the differences
(quotients) within each round, so that what slowed a whole round down falls out. How many times more one thing adds
than another is the quotient of two such medians, with an interval from 1000 resamplings of the rounds (bootstrap). A
goal is a bound on a figure: it is met if the figure's whole interval is within, missed if the whole interval is
beyond, and open if the bound lies inside.
"""

import math
import os
import random
import re
import sys
import textwrap

SECTIONS = ["lo", "vrf", "scale", "tasks", "churn"]

HEAD = """# Benchmarks

`make bench`, `make scale` and `make churn` write this file, each its own sections; no figure is typed in. To judge a
change on a machine that is busy, look at the instruction counts.

**Method.** A table shows one program in several ways: alone; with the library (`libvrfbind`); with what the library is
compared with. Each round runs all ways once, in a random order.

- A cell is the median of all rounds, and in parentheses its 95 % confidence interval (order statistics).
- *Added* is the median of the differences to the first row, each within one round.
- A *null control* is a row that is measured twice, under another name. Where it differs from zero, the other rows may
  differ by as much without a cause.
- A goal is *met* if the whole interval is within the bound, *missed* if the whole interval is beyond it, and otherwise
  *open*.
- Programs that make calls look at the device of a socket first. If the sockets of a row are not bound as they should
  be, this is an error, and there is no row.

**Commands** are shown without directories. `calls` is [benches/calls.c](benches/calls.c): it is started again every 10
rounds, and makes its calls in between. `exports/libvrfbind.so` is the library built with `--cfg unknown_machine`: it
patches nothing in libc. `libredhook_baseline.so` is [benches/redhook-baseline](benches/redhook-baseline), and `plain.so`
is [benches/plain.c](benches/plain.c). [benches/bench.sh](benches/bench.sh) compiles and runs all of them.
"""

NOTHING = "nothing"
OWN = "the program itself"
LIBRARY = "libvrfbind"
EXPORTS = "libvrfbind without the libc tier"
EMPTY = "an empty .so"
IP = "ip vrf exec"
SEALED = "vrfbind exec --no-supervise"
SUPERVISED = "vrfbind exec (supervised)"
LIBRARY_SEALED = "libvrfbind, sealed"
LIBRARY_SUPERVISED = "libvrfbind, under vrfbind exec"


# ---- what was measured ----


class Table:
    """A file of paired.c or of take_turns in bench.sh."""

    def __init__(self, path):
        self.commands, self.names, self.rounds = {}, [], []
        with open(path, encoding="utf-8") as file:
            for line in file.read().splitlines():
                cells = line.split("\t")
                if line.startswith("# "):
                    self.commands[cells[0][2:]] = cells[1]
                elif not self.names:
                    self.names = cells
                else:
                    self.rounds.append([[float(word) for word in cell.split()] for cell in cells])
        if not self.rounds or any(len(one) != len(self.names) for one in self.rounds):
            raise SystemExit(f"report.py: {path} is not whole")

    def all(self, name, field=0):
        """The figures of a way, one a round."""
        column = self.names.index(name)
        return [one[column][field] for one in self.rounds]


def interval(values):
    """The median, and both ends of its interval."""
    values = sorted(values)
    middle, half = len(values) // 2, math.ceil(0.98 * math.sqrt(len(values)))
    median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    return median, values[max(middle - half, 0)], values[min(middle + half, len(values) - 1)]


def quotient(values, others):
    """How many times the median of the one is that of the other, and both ends of its interval."""

    def of(indices):
        divisor = interval([others[index] for index in indices])[0]
        # What cannot be told from nothing.
        return interval([values[index] for index in indices])[0] / divisor if divisor > 0 else math.inf

    dice, all_rounds = random.Random(1), range(len(values))
    drawn = sorted(of(dice.choices(all_rounds, k=len(values))) for _ in range(1000))
    return of(all_rounds), drawn[25], drawn[974]


def less(values, others):
    return [one - other for one, other in zip(values, others, strict=True)]


# ---- cells ----


class Unit:
    def __init__(self, name, factor, digits):
        self.name, self.factor, self.digits = name, factor, digits

    def show(self, value, sign=""):
        text = f"{value * self.factor:{sign}.{self.digits}f}"
        return text.replace("-", "−").replace("inf", "∞") if float(text.replace(",", "")) else text.lstrip("+-")


def unit_of_time(microseconds):
    if microseconds < 10:
        return Unit("ns", 1000, 0)
    return Unit("µs", 1, 0) if microseconds < 10000 else Unit("ms", 0.001, 1)


KB, COUNT, PERCENT, TIMES = Unit("kB", 1, 0), Unit("", 1, 0), Unit("%", 1, 1), Unit("times", 1, 2)


def cell(values, unit, sign=""):
    return unit.show(values[0], sign) if len(values) == 1 else figure(interval(values), unit, sign)


def figure(estimate, unit, sign=""):
    median, low, high = (unit.show(value, sign) for value in estimate)
    return f"{median} ({low} to {high})"


def markdown(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|-" * len(header) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def rounds(table):
    return f"{len(table.rounds)} round{'s' if len(table.rounds) > 1 else ''}"


def command(table, way):
    return f"`{textwrap.shorten(table.commands[way], 200, placeholder=' …')}`"


# ---- tables ----

KINDS = [
    ("socket", "socket() of UDP and close()"),
    ("bind", "socket() of UDP, bind() and close()"),
    ("connect", "socket() of TCP, connect() and close()"),
]


class Section:
    def __init__(self, directory):
        self.directory, self.lines, self.goals = directory, [], []

    def table(self, name):
        return Table(os.path.join(self.directory, f"{name}.tsv"))

    def title(self, text, *notes):
        self.lines += ["", f"### {text}", "", *notes, *([""] if notes else [])]

    def times(self, name, against=None):
        table = self.table(name)
        first = table.all(table.names[0])
        unit = unit_of_time(interval(first)[0])
        header = ["", f"median, {unit.name}", f"added, {unit.name}"]
        header += [f"against {against}, %"] if against else []
        rows = []
        for way in table.names:
            values = table.all(way)
            row = [way, cell(values, unit), "" if way == table.names[0] else cell(less(values, first), unit, "+")]
            if against:
                own = table.all(against)
                percent = [100 * (one / other - 1) for one, other in zip(values, own, strict=True)]
                row.append("" if way == against or way.startswith(NOTHING) else cell(percent, PERCENT, "+"))
            rows.append([*row, command(table, way)])
        self.lines += [*markdown([*header, f"command ({rounds(table)})"], rows)]
        return table

    def goal(self, text, estimate, limit, unit, sign="+", at_least=False):
        _, low, high = estimate
        met, missed = (low >= limit, high < limit) if at_least else (high <= limit, low > limit)
        verdict = "**met**" if met else "**missed**" if missed else "open"
        self.goals.append([text, f"{figure(estimate, unit, sign)} {unit.name}", verdict])

    def percent_goal(self, table, what, way, other, limit):
        percent = [100 * (one / other - 1) for one, other in zip(table.all(way), table.all(other), strict=True)]
        self.goal(f"{what}: {way} at most {limit} % above {other}", interval(percent), limit, PERCENT)

    def own_goal(self, table, what, limit):
        self.percent_goal(table, what, LIBRARY, OWN, limit)

    def factor_goal(self, table, what, way, other, limit, at_least=False):
        """That a way adds at most (at least) `limit` times what the other one adds."""
        nothing = table.all(NOTHING)
        estimate = quotient(less(table.all(way), nothing), less(table.all(other), nothing))
        bound = "at least" if at_least else "at most"
        text = f"{what}: {way} adds {bound} {limit} times what {other} adds"
        self.goal(text, estimate, limit, TIMES, "", at_least)

    # -- of bench.sh --

    def per_call(self, where):
        for kind, what in KINDS:
            notes = []
            if kind != "socket":
                notes += [
                    "The library first asks for the device of the socket (getsockopt); the program itself knows it."
                ]
            if kind == "connect":
                notes += [
                    "The program connects to a listener of its own, and closes the connection by a reset: one more system call.",
                ]
                if self.directory.endswith("vrf"):
                    notes += ["An unbound socket reaches nothing in the VRF: “nothing” connects on lo, in the default VRF."]
            self.title(f"A call of {what}, {where}", *notes)
            table = self.times(f"calls-{kind}", OWN)
            self.own_goal(table, what, 7 if kind == "bind" else 3)
            if LIBRARY_SUPERVISED in table.names:
                self.percent_goal(table, what, LIBRARY_SUPERVISED, LIBRARY_SEALED, 3)

    def start_up(self, in_vrf):
        for name, what in [("true", "/bin/true"), ("dnsmasq", "dnsmasq --test")]:
            self.title(f"Start-up of {what}", "From posix_spawn to the end of the process.")
            table = self.times(f"start-{name}")
            if in_vrf:
                self.factor_goal(table, f"start of {what}", IP, LIBRARY, 20, at_least=True)
            else:
                self.factor_goal(table, f"start of {what}", EXPORTS, EMPTY, 1.5)
                self.factor_goal(table, f"start of {what}", LIBRARY, EMPTY, 2.8)
                if SUPERVISED in table.names:
                    added = less(table.all(SUPERVISED), table.all(SEALED))
                    text = f"start of {what}: {SUPERVISED} adds at most 500 µs to {SEALED}"
                    self.goal(text, interval(added), 500, Unit("µs", 1, 0))

    def bystanders(self):
        self.title(
            "What has nothing to do with the VRF",
            "getppid(2) is the cheapest system call. The others are socket(AF_UNIX) with close(), and setsockopt(SO_KEEPALIVE): the",
            "library compares its option.",
        )
        self.times("calls-getppid")
        for kind in ["unix", "option"]:
            self.lines.append("")
            self.times(f"calls-{kind}")

    def rules(self):
        self.title(
            "Rules that do not match",
            "The first table is socket() of UDP, bind() and close(); the second is socket() of TCP, connect() and close(). Both are",
            "bound to lo, with rules for other addresses.",
        )
        for kind in ["bind", "connect"]:
            table = self.times(f"rules-{kind}")
            for way in ["two rules, none of which matches", "64 rules, none of which matches"]:
                added = less(table.all(way), table.all(LIBRARY))
                self.goal(f"{kind}(), {way}: at most 150 ns more", interval(added), 0.15, Unit("ns", 1000, 0))
            self.lines.append("")
        self.title(
            "Rules that match",
            "socket() of TCP in a VRF (a veth device), connect() to a listener on 127.0.0.1 by the rule `loopback lo`, and close().",
            "With CAP_NET_RAW the socket is moved, without it the socket is replaced. The second table is the same in a process with",
            "10,000 fds; 5,000 of them, and the socket, are registered in one epoll instance.",
        )
        self.times("rules-moved-0")
        self.lines.append("")
        table = self.times("rules-moved-10000")
        added = less(table.all("replaced by a rule"), table.all(NOTHING))
        text = "a connect() that replaces its socket, of 10,000 descriptors, 5,000 in epoll: at most 200 µs more"
        self.goal(text, interval(added), 200, Unit("µs", 1, 0))

    def supervised(self):
        self.title(
            "Supervised sockets",
            "socket() and close() of a static program. The first table is on one processor, where no other processor has to be",
            "woken; the second is from 64 threads, per socket.",
        )
        for name, what in [("supervised-one", "on one processor"), ("supervised-64", "from 64 threads")]:
            table = self.times(name)
            added = less(table.all("supervised"), table.all(NOTHING))
            self.goal(f"a supervised socket, {what}: at most 30 µs more", interval(added), 30, Unit("µs", 1, 1))
            self.lines.append("")

    def memory(self):
        self.title(
            "Memory",
            "The memory of a running daemon with its children, and with its supervisor if there is one (/proc/PID/smaps_rollup). It is",
            "bound to a veth device. A page that both processes of radvd share after the fork counts as private to neither. PSS",
            "counts the pages of the library's file in full while one process uses them, and in part when several do.",
        )
        for program in ["sleep", "dnsmasq", "radvd", "charon-cmd"]:
            table = self.table(f"memory-{program}")
            rows = []
            for way in table.names:
                row = [f"{program}: {way}"]
                for field in (0, 1):
                    values = table.all(way, field)
                    added = less(values, table.all(NOTHING, field))
                    row += [cell(values, KB), "" if way == NOTHING else cell(added, KB, "+")]
                rows.append([*row, command(table, way)])
            header = ["", "private dirty, kB", "added, kB", "PSS, kB", "added, kB", f"command ({rounds(table)})"]
            self.lines += [*markdown(header, rows), ""]
            for way, limit in [(EXPORTS, 12), (LIBRARY, 20)]:
                added = less(table.all(way), table.all(NOTHING))
                what = f"{program}: {way} adds at most {limit} kB of private dirty memory"
                self.goal(what, interval(added), limit, KB)
            if SUPERVISED in table.names:
                added = less(table.all(SUPERVISED), table.all(SEALED))
                what = f"{program}: {SUPERVISED} adds at most 200 kB of private dirty memory to {SEALED}"
                self.goal(what, interval(added), 200, KB)

    def counts(self):
        self.title(
            "Instructions and system calls",
            "For one call: instructions in user space by `valgrind --tool=callgrind`, system calls by `strace -c`; the difference of",
            "four and two batches of 1000 calls. These are counts and not times, so there is no noise.",
        )
        for kind, what in KINDS:
            instructions, calls = self.table(f"instructions-{kind}"), self.table(f"system-calls-{kind}")
            rows = []
            for way in instructions.names:
                row = [f"{what}: {way}"]
                for table in (instructions, calls):
                    values = table.all(way)
                    added = less(values, table.all(NOTHING))
                    row += [cell(values, COUNT), "" if way == NOTHING else cell(added, COUNT, "+")]
                rows.append([*row, command(instructions, way)])
            header = ["", "instructions", "added", "system calls", "added", "command"]
            self.lines += [*markdown(header, rows), ""]

    # -- of scale.sh and churn.sh --

    def scale(self, worlds):
        """The rows of what scale.sh has measured, a column for each of `worlds`; and the goals."""
        figures = {}
        with open(os.path.join(self.directory, "figures.tsv"), encoding="utf-8") as file:
            for line in file.read().splitlines():
                world, what, one = line.split("\t")
                # Three lots each say how many answers were somebody else's.
                figures[world, what] = figures.get((world, what), 0) + int(one)
        rows, numbers = [], {world: figures[world, "networks"] for world in worlds}
        lots = {"the first quarter": (0, 25), "the second quarter": (25, 50), "the second half": (50, 100)}

        def row(text, show, what):
            """`what` of each world by show(figure, world), where there is such a figure."""
            known = [world for world in worlds if (world, what) in figures]
            rows.append([text, *(show(figures[world, what], world) if world in known else "–" for world in worlds)])

        def per_network(text, what, cumulative):
            """Of each lot, which begins where the one before has ended: so is a figure that is `cumulative`."""
            for lot, (start, end) in lots.items():

                def share(one, world, start=start, end=end):
                    before = figures.get((world, f"{what}, up to {start} %"), 0) if cumulative else 0
                    return f"{(one - before) / (numbers[world] * (end - start) / 100):.0f}"

                row(f"{text}, {lot}", share, f"{what}, up to {end} %")

        if "tasks" in worlds:
            row("networks", lambda one, _: str(one), "networks")
        per_network("making a network: ms", "networks", False)
        per_network("starting its daemons, until its client is served: ms", "daemons", False)
        row("clients served by their own daemons", lambda one, world: f"{one} of {numbers[world]}", "clients served by their own daemons")
        inside = "IP sockets in their VRF"
        row(inside, lambda one, world: f"{one} of {figures[world, 'IP sockets']}", inside)
        for what in [
            "answers that were not their own",
            "processes",
            "private dirty, kB",
            "private, kB",
            "PSS, kB",
            "memory that the networks take, kB",
            "memory that the daemons take, kB",
        ]:
            row(what, lambda one, _: str(one), what)

        if "tasks" in worlds:
            for what in ["shims", "processes of runc"]:
                row(f"{what}, when all run", lambda one, _: str(one), f"{what}, up to 100 %")
            for what in [
                "private dirty memory of shims, kB",
                "private dirty memory of containerd, kB",
                "memory of the tasks' cgroups, kB",
                "fall of MemAvailable, kB",
            ]:
                per_network(f"{what} a network", what, True)

        def verdict(is_met):
            return "**met**" if is_met else "**missed**"

        if "ip" in worlds:
            added = [figures["library", what] - figures["ip", what] for what in ("private, kB", "PSS, kB")]
            self.goals.append(
                [
                    "the library adds at most 10 MB of private memory to 512 daemons",
                    f"{added[0]:+d} kB to {2 * numbers['ip']}; PSS {added[1]:+d} kB",
                    verdict(max(added) <= 10 * 1024 * numbers["ip"] / 256),
                ]
            )
        in_vrf = all(figures[world, inside] == figures[world, "IP sockets"] > 0 for world in worlds if world != "netns")
        served = all(figures[world, "clients served by their own daemons"] == numbers[world] for world in worlds)
        nobody_else = not any(figures[world, "answers that were not their own"] for world in worlds)
        self.goals += [
            ["every socket is in its VRF", "", verdict(in_vrf)],
            ["every client is served by its own daemons, and nobody else's", "", verdict(served and nobody_else)],
        ]
        return rows

    def scale_of_ways(self):
        rows = self.scale(["library", "ip", "netns"])
        self.title(
            "Networks with the same subnet",
            "Each network has a dnsmasq, a radvd and a client (benches/scale.sh). They are started by `LD_PRELOAD=libvrfbind.so",
            "VRFBIND_VRF=vN dnsmasq …`, by `ip vrf exec vN dnsmasq …`, and by `nsenter --net=/run/netns/nN dnsmasq …`. Each way ran",
            "once, on a machine that was not idle. The second way uses the networks of the first. A client is served when dnsmasq has",
            "told it the address of a name, which is another address in each network, and when its kernel has an address of the",
            "prefix that only this network's radvd advertises. The memory that networks and daemons take is how much MemAvailable",
            "falls, so it includes the kernel's.",
        )
        self.lines += [*markdown(["", "libvrfbind", "`ip vrf exec`", "a network namespace for each"], rows)]

    def scale_of_tasks(self):
        rows = self.scale(["library", "tasks", "tasks-paired", "tasks-together"])
        self.title(
            "Networks whose daemons are containerd tasks",
            "The networks, daemons and clients are those of `make scale`, in VRFs. Each daemon is a task of containerd and runc",
            "(examples/containerd/task), started by `ctr run … vrfbind exec vN dnsmasq …`, which adds a supervisor to each. The first",
            "column has no containers. Tasks start one after the other, the daemons of the first column all at once. Each way ran once,",
            "on a machine that was not idle. A task has a shim, a process of containerd that stays; tasks with the same annotation",
            "`io.containerd.runc.v2.group` share one. runc has ended when the task runs. The memory a network takes is the difference",
            "between two lots: of /proc/PID/smaps_rollup, of memory.current of the tasks' cgroups, which includes the files that a",
            "task was the first to read, and of MemAvailable, which includes everything and the kernel's.",
        )
        header = ["", "libvrfbind, no containers", "a shim for each task", "a shim for each network", "one shim"]
        self.lines += [*markdown(header, rows)]

    def churn(self):
        with open(os.path.join(self.directory, "figures.tsv"), encoding="utf-8") as file:
            rows = [line.split("\t") for line in file.read().splitlines()]
        self.title(
            "VRFs that come and go",
            "Twenty VRFs at a time are created, and removed with daemons in them, while four programs create sockets all the time",
            "(benches/churn.sh).",
        )
        self.lines += [*markdown(["", "", ""], rows)]

    # -- the whole --

    def environment(self):
        try:
            with open(os.path.join(self.directory, "environment"), encoding="utf-8") as file:
                return dict(line.split("\t") for line in file.read().splitlines())
        except FileNotFoundError:
            raise SystemExit(f"report.py: {self.directory} was not measured to the end") from None

    def render(self):
        name, facts = os.path.basename(self.directory), self.environment()
        if name == "lo":
            heading = "Bound to lo, on this machine (`make bench`)"
            self.per_call("bound to lo")
            self.start_up(in_vrf=False)
            self.memory()
            self.counts()
            self.bystanders()
            self.rules()
            if "not measured" not in facts:
                self.supervised()
            size = facts["libvrfbind.so"]
            verdict = "**met**" if int(size.split()[0]) <= 49152 else "**missed**"
            self.goals.append(["size of libvrfbind.so: at most 49152 bytes", size, verdict])
        elif name == "scale":
            heading = "Scale (`make scale`)"
            self.scale_of_ways()
        elif name == "tasks":
            heading = "Containers at scale (`make scale-tasks`)"
            self.scale_of_tasks()
        elif name == "churn":
            heading = "Churn (`make churn`)"
            self.churn()
        else:
            heading = "In a VRF (`make bench`)"
            self.per_call("in a VRF")
            self.start_up(in_vrf=True)
        goals = [*markdown(["goal", "", ""], self.goals)] if self.goals else []
        return [f"## {heading}", "", *(f"- {name}: {value}" for name, value in facts.items()), "", *goals, *self.lines]


# ---- BENCHMARKS.md ----


def begin(section):
    return f"<!-- {section}: begin -->"


def end(section):
    return f"<!-- {section}: end -->"


def read_sections(path):
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    found = {}
    for section in SECTIONS:
        match = re.search(re.escape(begin(section)) + "\n(.*?)\n" + re.escape(end(section)), text, re.DOTALL)
        if match:
            found[section] = match.group(1)
    return found


def rendered(directory, section):
    text = "\n".join(Section(os.path.join(directory, section)).render())
    return re.sub("\n{3,}", "\n\n", text).strip()


def write(path, directory, *sections):
    bodies = read_sections(path)
    for section in sections:
        bodies[section] = rendered(directory, section)
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        file.write(HEAD)
        for section in SECTIONS:
            if section in bodies:
                file.write(f"\n{begin(section)}\n{bodies[section]}\n{end(section)}\n")
    os.rename(f"{path}.partial", path)


def outline(text):
    """Headings and the first cell of every row that has one."""
    lines = [line for line in text.splitlines() if line.startswith(("#", "| "))]
    return [line.split("|")[1].strip() if line.startswith("|") else line for line in lines if not line.startswith("|  |")]


def check(path, directory, *sections):
    bodies = read_sections(path)
    status = 0
    for section in sections:
        text = rendered(directory, section)
        expected, found = outline(text), outline(bodies.get(section, ""))
        if "- not measured: supervised" in text:
            found = [row for row in found if "upervised" not in row]
        if len(expected) < 3:
            print(f"report.py: {section}: nothing was measured")
            status = 1
        for row in sorted(set(expected) ^ set(found)):
            print(f"report.py: {section}: {'not' if row in expected else 'only'} in {path}: {row}")
            status = 1
        if expected != found and not status:
            print(f"report.py: {section}: another order in {path}")
            status = 1
    return status


def medians(path):
    table = Table(path)
    first = table.all(table.names[0])
    for way in table.names:
        values = table.all(way) if way == table.names[0] else less(table.all(way), first)
        print(way, *(f"{value:.1f}" for value in interval(values)), sep="\t")


if __name__ == "__main__":
    commands = {"write": write, "check": check, "medians": medians}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
