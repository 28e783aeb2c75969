#!/usr/bin/env python3
#
# test/bench/scaling.py
# ~~~~~~~~~~~~~~~~~~~~~
# Runs Spindle with as many processors as the machine has cores and with many more, prints
# what that costs and writes it into the documentation. Called by run --scaling.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import argparse
import pathlib
import sys

from compare import (CASES, SPINDLE, Bench, Row, as_asciidoc, as_text, number, ratio_text,
                     write_document)

PROCESSORS = [2, 8, 16, 32]
WORKLOADS = ["spawn", "yield", "pingpong", "buffered44", "mutex", "skynet"]
WORSE = 1.25  # a collapse: so much slower than on as many processors as there are cores


def measure(bench, case, repeats):
    """A row whose contenders are the numbers of processors. They take turns."""
    values = {n: [] for n in PROCESSORS}
    for repeat in range(repeats):
        turn = repeat % len(PROCESSORS)
        for n in PROCESSORS[turn:] + PROCESSORS[:turn]:
            result = bench.measure(SPINDLE, case, n)
            values[n].append(result["value"])
    return Row(case.name, result["unit"], values)


def table_of(rows):
    base = PROCESSORS[0]
    table = [["workload", "unit", f"{base} processors"] + [f"{n} / {base}" for n in PROCESSORS[1:]]]
    for row in rows:
        table.append([row.name, row.unit, f"{number(row.median(base))} ±{row.spread(base):.0%}"]
                     + [ratio_text(row.ratio(n, base)) for n in PROCESSORS[1:]])
    return table


def main():
    parser = argparse.ArgumentParser(description="Spindle on more processors than cores.")
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where the programs are")
    parser.add_argument("--doc", type=pathlib.Path, required=True, help="the document to update")
    parser.add_argument("--quick", action="store_true",
                        help="small counts; leaves the document alone")
    parser.add_argument("--repeat", type=int, default=7, help="runs of each")
    args = parser.parse_args()

    bench = Bench(args.build, args.quick)
    rows = []
    for case in (c for c in CASES if c.name in WORKLOADS):
        print(f"{case.name} ...", file=sys.stderr)
        rows.append(measure(bench, case, args.repeat))
    table = table_of(rows)
    print(as_text(table))
    for row in rows:
        for n in PROCESSORS[1:]:
            if row.ratio(n, PROCESSORS[0]) > WORSE:
                print(f"{row.name}: collapses on {n} processors")
    if not args.quick:
        title = f"Spindle on more processors than cores, medians of {args.repeat}"
        write_document(args.doc, as_asciidoc(title, table), "scaling")
        print(f"\nwritten to {args.doc}", file=sys.stderr)


if __name__ == "__main__":
    main()
