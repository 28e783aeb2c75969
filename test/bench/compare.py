#!/usr/bin/env python3
#
# test/bench/compare.py
# ~~~~~~~~~~~~~~~~~~~~~
# Runs the contenders in turn, prints the tables and writes them into the
# documentation. Called by run, which builds the contenders first.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

# A contender is the program bench_NAME or bench_peer_NAME.
SPINDLE, GO, CALLBACK = "spindle", "go", "asio_callback"
CONTENDERS = [SPINDLE, GO, "boost_fiber_static", "boost_fiber_shared",
              "asio_spawn", "asio_awaitable", CALLBACK, "epoll", "std_threads"]

DEFAULT_THREADS = [1, 2]
LEAST_REPEATS, LEAST_REPEATS_QUICK = 5, 3
TIMEOUT = 180  # seconds a run may take
ABSENT = 2     # exit code: the contender has no such workload


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    workload: str
    count: int | None = None        # None: the programs' own
    peers: str | None = None        # None: the peers' workload has the same name
    quick_count: int | None = None  # None: not in a quick run
    client: tuple[str, ...] = ()    # a server's: options of the client
    against: tuple[str, ...] = ()   # only these peers; the others are in another row


CASES = [
    Case("spawn", "spawn", quick_count=100_000),
    Case("yield", "yield", quick_count=100_000),
    Case("switch", "switch", quick_count=500_000),
    Case("pingpong", "pingpong", quick_count=100_000),
    Case("buffered", "buffered", quick_count=500_000),
    Case("buffered44", "buffered44", quick_count=500_000),
    Case("select", "select", quick_count=100_000),
    Case("mutex", "mutex", quick_count=1_000_000),
    Case("mutex_yield", "mutex_yield", quick_count=100_000),
    Case("shared_mutex", "shared_mutex", quick_count=1_000_000),
    Case("skynet", "skynet", quick_count=100_000),
    Case("divide", "divide", quick_count=1024),
    Case("parked", "parked", quick_count=10_000),
    Case("parked 1M", "parked", count=1_000_000),
    Case("timers", "timers", quick_count=10_000),
    Case("semaphore", "semaphore", quick_count=100_000),
    Case("wait_group", "wait_group", quick_count=1_000_000),
    Case("echo", "echo", quick_count=0),
    Case("echo_stream", "echo_stream", quick_count=0, peers="echo", against=(GO, CALLBACK)),
    Case("echo_shared", "echo_shared", quick_count=0, peers="echo", against=(GO, CALLBACK)),
    Case("http", "http", quick_count=0),
    Case("http_token", "http_token", quick_count=0, peers="http", against=(GO, CALLBACK)),
    Case("http_shared", "http_shared", quick_count=0, peers="http", against=(GO, CALLBACK)),
    Case("hog", "hog", quick_count=200),
    Case("hog_echo", "hog_echo", quick_count=0),
    Case("blocking", "blocking", quick_count=1000),
    Case("blocking_cost", "blocking_cost", quick_count=100_000),
    Case("blocked_echo", "blocked_echo", quick_count=0, client=("--every-ms", "10")),
]

# The fields of a result that get a row of their own, beside the value.
EXTRA_UNITS = {"bytes": "bytes/fiber", "page_table_bytes": "bytes/fiber", "peak_mb": "MB",
               "p50_us": "us", "p99_us": "us"}


@dataclasses.dataclass(frozen=True)
class Target:
    """What a row of Spindle's is to be: so many times another contender's, or a number."""
    row: str
    bounds: tuple[float, ...]  # on one thread, on two; one: on both
    relation: str = "at most"
    of: str | None = GO        # None: the bound is a number of the row's unit

    def bound(self, threads):
        return self.bounds[min(threads, len(self.bounds)) - 1]

    def met(self, value, threads):
        bound = self.bound(threads)
        return value >= bound if self.relation == "at least" else value <= bound


# What the project has set out to reach.
TARGETS = [
    Target("spawn", (0.25,)),
    Target("yield", (0.28,)),
    Target("pingpong", (0.33,)),
    Target("buffered", (0.20,)),
    Target("buffered44", (0.25, 0.5)),
    Target("select", (0.4,)),
    Target("mutex", (1.0,)),
    Target("mutex_yield", (0.3,)),
    Target("shared_mutex", (1.0,)),
    Target("skynet", (0.5,)),
    Target("skynet: peak_mb", (400,), of=None),
    Target("parked", (1.0,)),
    Target("parked: bytes", (4505,), of=None),
    Target("parked 1M", (1.0,)),
    Target("parked 1M: bytes", (4505,), of=None),
    Target("timers", (0.5,)),
    Target("semaphore", (1.0,)),
    Target("wait_group", (1.0,)),
    Target("echo", (1.25,), "at least"),
    Target("echo", (0.97,), "at least", of="epoll"),
    Target("http", (1.9,), "at least"),
    Target("http", (1.0,), "at least", of=CALLBACK),
    Target("hog", (1.0,)),
    Target("hog_echo: p99_us", (1.0,)),
    Target("blocking", (1.5,)),
    Target("blocking_cost", (0.5,)),
    Target("blocked_echo: p99_us", (2000,), of=None),
]
# Of `divide`: how much faster two threads are than one.
LEAST_SPEED_UP = 1.85


def more_is_better(unit):
    return unit.endswith("/s")


# --- Running -------------------------------------------------------------------

class Failed(Exception):
    pass


class Absent(Exception):
    pass


class Bench:
    """The contenders of one build, run on this machine."""

    def __init__(self, build, quick):
        self.build = build
        self.quick = quick
        self.first_cpu = min(os.sched_getaffinity(0))
        self.failures = []

    def program(self, contender):
        prefix = "bench_" if contender == SPINDLE else "bench_peer_"
        return self.build / (prefix + contender)

    def built(self):
        return [c for c in CONTENDERS if self.program(c).exists()]

    def measure(self, contender, case, threads):
        """One run: the JSON object that the program, or a server's client, prints."""
        workload = case.peers if case.peers and contender != SPINDLE else case.workload
        command = [self.program(contender), "--workload", workload, "--threads", str(threads)]
        if "echo" in workload:
            return self._measure_server(command, threads, case.client)
        if workload.startswith("http"):
            return self._measure_server(command, threads, ("--http", *case.client))
        count = case.quick_count if self.quick else case.count
        if count is not None:
            command += ["--count", str(count)]
        return self._json(command + ["--json"])

    def _measure_server(self, command, threads, client):
        if threads == 1:
            # The client has the last processor.
            command = ["taskset", "-c", str(self.first_cpu)] + command
        command += ["--port", "0", "--seconds", str(TIMEOUT)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)
        try:
            ready = re.fullmatch(r"ready (\d+)\n", server.stdout.readline())
            if not ready:
                self._check(server.wait(TIMEOUT), server.stderr.read())
                raise Failed("the server did not say 'ready'")
            return self._json([self.build / "bench_echo_load", *client, "--port", ready[1],
                               "--seconds", "1", "--json"])
        finally:
            server.terminate()
            server.communicate()

    def _json(self, command):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failed(f"took more than {TIMEOUT} s")
        self._check(ran.returncode, ran.stderr)
        return json.loads(ran.stdout)

    @staticmethod
    def _check(code, stderr):
        if code == ABSENT:
            raise Absent
        if code != 0:
            raise Failed(f"exit code {code}: {stderr.strip()}")


@dataclasses.dataclass
class Row:
    """One measured quantity of one workload, and each contender's values."""
    name: str
    unit: str
    values: dict

    def median(self, contender):
        return statistics.median(self.values[contender])

    def spread(self, contender):
        """Half the distance from least to greatest, as a part of the median."""
        values = self.values[contender]
        median = self.median(contender)
        return (max(values) - min(values)) / 2 / median if median else 0

    def best_peer(self):
        peers = [c for c in self.values if c != SPINDLE]
        best = max if more_is_better(self.unit) else min
        return best(peers, key=self.median, default=None)

    def ratio(self, contender, other):
        if contender not in self.values or other not in self.values or not self.median(other):
            return None
        return self.median(contender) / self.median(other)


def run_case(bench, case, threads, repeats):
    """The rows of one workload. Contenders take turns, and each is the first once in a while:
    what disturbs the machine for a moment disturbs all alike."""
    results = {c: [] for c in bench.built()
               if not case.against or c == SPINDLE or c in case.against}
    for repeat in range(repeats):
        order = list(results)
        turn = repeat % len(order) if order else 0
        for contender in order[turn:] + order[:turn]:
            try:
                results[contender].append(bench.measure(contender, case, threads))
            except Absent:
                del results[contender]
            except Failed as failure:
                print(f"{contender}, {case.name}, threads {threads}: {failure}", file=sys.stderr)
                bench.failures.append(f"{contender}, {case.name}, threads {threads}")
                del results[contender]

    rows = {}
    for contender in [c for c in CONTENDERS if c in results]:
        for result in results[contender]:
            quantities = [(case.name, result["unit"], result["value"])]
            quantities += [(f"{case.name}: {field}", unit, result[field])
                           for field, unit in EXTRA_UNITS.items() if field in result]
            for name, unit, value in quantities:
                row = rows.setdefault(name, Row(name, unit, {}))
                row.values.setdefault(contender, []).append(value)
    return list(rows.values())


# --- Tables --------------------------------------------------------------------

def number(value):
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:.3g}"


def thread_or_threads(n):
    return "thread" if n == 1 else "threads"


def ratio_text(ratio):
    return "-" if ratio is None else f"{ratio:.2f}"


def contenders_of(rows):
    return [c for c in CONTENDERS if any(c in row.values for row in rows)]


def medians_table(rows):
    """Header and cells: each contender's median and spread."""
    contenders = contenders_of(rows)
    table = [["workload", "unit"] + contenders]
    for row in rows:
        table.append([row.name, row.unit] + [
            f"{number(row.median(c))} ±{row.spread(c):.0%}" if c in row.values else "-"
            for c in contenders])
    return table


def ratios_table(rows):
    """Header and cells: each contender's median as a multiple of Go's, and of the best peer's."""
    contenders = [c for c in contenders_of(rows) if c != GO]
    table = [["workload"] + [f"{c} / go" for c in contenders] + ["best peer", "spindle / best"]]
    for row in rows:
        best = row.best_peer()
        table.append([row.name] + [ratio_text(row.ratio(c, GO)) for c in contenders]
                     + [best or "-", ratio_text(row.ratio(SPINDLE, best))])
    return table


def targets_table(tables):
    """Header and cells: each target, what was measured and whether it holds."""
    table = [["workload", "target"] + [f"{n} {thread_or_threads(n)}" for n in tables]]
    rows = {(n, row.name): row for n in tables for row in tables[n]}
    for t in TARGETS:
        bounds = " / ".join(f"{b:g}" for b in t.bounds)
        cells = [t.row, f"{t.relation} {bounds}" + (f" times {t.of}" if t.of else "")]
        for n in tables:
            row = rows.get((n, t.row))
            value = None if row is None or SPINDLE not in row.values else (
                row.ratio(SPINDLE, t.of) if t.of else row.median(SPINDLE))
            if t.of is None and row is not None:
                cells[1] = f"{t.relation} {bounds} {row.unit}"
            cells.append("-" if value is None else
                         f"{number(value) if t.of is None else ratio_text(value)} "
                         + ("holds" if t.met(value, n) else "*misses*"))
        table.append(cells)
    one, two = rows.get((1, "divide")), rows.get((2, "divide"))
    if one and two and SPINDLE in one.values and SPINDLE in two.values:
        speed_up = one.median(SPINDLE) / two.median(SPINDLE)
        table.append(["divide", f"2 threads at least {LEAST_SPEED_UP} times as fast as 1"]
                     + ["-"] * (len(tables) - 1)
                     + [f"{speed_up:.2f} " + ("holds" if speed_up >= LEAST_SPEED_UP
                                             else "*misses*")])
    return table


def as_text(table):
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in table)


def as_asciidoc(title, table):
    lines = [f".{title}", f'[%header,cols="2{",1" * (len(table[0]) - 1)}"]', "|==="]
    lines += ["|" + " |".join(line) for line in table]
    return "\n".join(lines + ["|==="])


def titled_tables(tables):
    """tables: threads -> rows."""
    for threads, rows in tables.items():
        yield f"Medians, {threads} {thread_or_threads(threads)}", medians_table(rows)
        yield f"Ratios, {threads} {thread_or_threads(threads)}", ratios_table(rows)
    yield "Targets", targets_table(tables)


# --- The machine ---------------------------------------------------------------

def cpu_model():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


def system_name():
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())


def go_version(program):
    """Of the Go that the peer was built with."""
    try:
        return subprocess.run(["go", "version", program], capture_output=True, text=True,
                              check=True).stdout.split()[-1].removeprefix("go")
    except (OSError, subprocess.CalledProcessError):
        return "-"


def machine(build):
    """Pairs of what there is and which."""
    facts = json.loads((build / "build.json").read_text())
    return [
        ("Processor", cpu_model()),
        ("Processors", str(len(os.sched_getaffinity(0)))),
        ("System", f"{system_name()}, {platform.system()} {platform.release()}"),
        ("Compiler", f"{facts['compiler']}, {facts['flags']}"),
        ("Boost", facts["boost"]),
        ("Boost.Fiber and Boost.Context in spindle", facts["linking"]),
        ("Go", go_version(build / f"bench_peer_{GO}")),
        ("Date", datetime.date.today().isoformat()),
    ]


# --- The document --------------------------------------------------------------



def measured_part(build, tables, command, repeats):
    parts = ['[cols="1,2"]\n|===\n'
             + "\n".join(f"|{what} |{which}" for what, which in machine(build)) + "\n|===",
             f"Command, each value the median of {repeats}, "
             "± half the distance from the least to the greatest:\n\n"
             f"----\n{command}\n----"]
    parts += [as_asciidoc(title, table) for title, table in titled_tables(tables)]
    return "\n\n".join(parts)


def write_document(path, measured, what):
    """Replaces what lies between the two marks, and nothing else."""
    begin, end = f"// {what}: begin", f"// {what}: end"
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        sys.exit(f"{path}: needs one line '{begin}' and below it one line '{end}'")
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    path.write_text(f"{head}{begin}\n\n{measured}\n\n{end}{tail}")


def committed_ratios(path):
    """Spindle by the best peer, by threads and row, as the document has it."""
    ratios = {}
    threads = None
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith((".", "==")): # the next table, or its section
            title = re.fullmatch(r"\.Ratios, (\d+) threads?", line)
            threads = int(title[1]) if title else None
        cells = line.lstrip("|").split(" |")
        if threads and line.startswith("|") and re.fullmatch(r"[\d.]+", cells[-1]):
            ratios[threads, cells[0]] = float(cells[-1])
    return ratios


def compare_with_committed(tables, committed):
    """Says what got worse by more than a third: a report, since machines differ, and a run
    of small counts is no measurement."""
    compared, worse = 0, []
    for threads, rows in tables.items():
        for row in rows:
            before = committed.get((threads, row.name))
            ratio = row.ratio(SPINDLE, row.best_peer())
            if not before or not ratio:
                continue
            compared += 1
            factor = before / ratio if more_is_better(row.unit) else ratio / before
            if factor > 4 / 3:
                worse.append(f"{row.name}, threads {threads}: {ratio:.2f} of the best peer's, "
                             f"was {before:.2f}")
    print(f"\n{compared} ratios compared with the document, {len(worse)} are worse by more "
          "than a third")
    for line in worse:
        print(f"  {line}")


# -------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(description="Compares Spindle with its peers.")
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where the programs are")
    parser.add_argument("--doc", type=pathlib.Path, required=True, help="the document to update")
    parser.add_argument("--quick", action="store_true",
                        help="small counts, three repeats; leaves the document alone, and "
                             "says what is worse than there")
    parser.add_argument("--workload", action="append", choices=[c.name for c in CASES],
                        help="only this one (may be repeated); leaves the document alone")
    parser.add_argument("--threads", default=",".join(map(str, DEFAULT_THREADS)),
                        type=lambda text: [int(n) for n in text.split(",")],
                        help="such as 1,2; any other list leaves the document alone")
    parser.add_argument("--repeat", type=int, default=0, help="runs of each, at least five")
    return parser.parse_args()


def main():
    args = arguments()
    least = LEAST_REPEATS_QUICK if args.quick else LEAST_REPEATS
    repeats = max(args.repeat, least)
    cases = [c for c in CASES if not args.workload or c.name in args.workload]
    if args.quick:
        cases = [c for c in cases if c.quick_count is not None]

    bench = Bench(args.build, args.quick)
    tables = {}
    for threads in args.threads:
        tables[threads] = []
        for case in cases:
            print(f"{case.name}, threads {threads} ...", file=sys.stderr)
            tables[threads] += run_case(bench, case, threads, repeats)
    for title, table in titled_tables(tables):
        print(f"\n{title}\n{as_text(table)}")

    if not args.quick and not args.workload and args.threads == DEFAULT_THREADS:
        command = "./test/bench/run" + (f" --repeat {args.repeat}" if args.repeat else "")
        write_document(
            args.doc, measured_part(args.build, tables, command, repeats), "measured")
        print(f"\nwritten to {args.doc}", file=sys.stderr)
    if args.quick:
        compare_with_committed(tables, committed_ratios(args.doc))
    if bench.failures:
        sys.exit(f"{len(bench.failures)} workloads have failed: {'; '.join(bench.failures)}")


if __name__ == "__main__":
    main()
