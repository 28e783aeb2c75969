#!/usr/bin/env python3
#
# doc/simulation_picture.py
# ~~~~~~~~~~~~~~~~~~~~~~~~~
# Draws what test/sched/simulation.cpp has found out, for doc/design/scheduler.adoc.
#
#   SPINDLE_SIMULATION=numbers.csv build/dev/test/test_sched_simulation
#   doc/simulation_picture.py numbers.csv doc/design/simulation.svg
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import collections
import csv
import math
import sys

PANELS = [  # title, column, least and greatest power of ten; None: from 0 to 1
    ("work / (processors * time)", 2, None),
    ("steals a slice", 3, (-6, 0)),
    ("wake-ups a slice", 4, (-6, 0)),
    ("looks round the others a slice", 5, (-6, 1)),
    ("searching / work", 6, (-6, 1)),
    ("starving / work", 7, (-6, 1)),
]
COLORS = {"burst": "#4e79a7", "tree": "#59a14f", "arrivals": "#f28e2b", "pairs": "#b07aa1"}
COLUMNS, WIDTH, HEIGHT = 3, 300, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 30, 30


def load(path):
    series = collections.defaultdict(list)
    with open(path, encoding="utf-8") as f:
        for row in csv.reader(f):
            series[row[0]].append([float(cell) if cell else 0 for cell in [0] + row[1:]])
    return series


def text(x, y, what, anchor="middle", size=11, fill="#24292f"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{fill}">{what}</text>')


def panel(series, title, column, powers, x0, y0):
    sizes = sorted({row[1] for rows in series.values() for row in rows})
    span = math.log(sizes[-1] / sizes[0])

    def x(n):
        return x0 + LEFT + math.log(n / sizes[0]) / span * (WIDTH - LEFT - RIGHT)

    def y(v):
        if powers:
            low, high = powers
            part = (max(math.log10(v), low) - low) / (high - low) if v > 0 else 0
        else:
            part = v
        return y0 + HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    parts = [text(x0 + LEFT, y0 + 18, title, "start", 12)]
    marks = [10.0 ** p for p in range(powers[0], powers[1] + 1)] if powers else [0, 0.5, 1]
    for v in marks:
        parts.append(f'<line x1="{x(sizes[0]):.1f}" x2="{x(sizes[-1]):.1f}" y1="{y(v):.1f}" '
                     f'y2="{y(v):.1f}" stroke="#e3e6ea"/>')
        parts.append(text(x0 + LEFT - 5, y(v) + 4, f"{v:g}", "end", 10))
    for n in sizes:
        parts.append(text(x(n), y0 + HEIGHT - BOTTOM + 15, f"{n:g}", size=10))
    for name, rows in series.items():
        points = [(x(row[1]), y(row[column])) for row in sorted(rows, key=lambda r: r[1])]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLORS[name]}" '
                     'stroke-width="1.8"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.4" fill="{COLORS[name]}"/>'
                  for px, py in points]
    return parts


def main():
    series = load(sys.argv[1])
    lines = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * WIDTH, lines * HEIGHT + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif">', f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for i, (title, column, powers) in enumerate(PANELS):
        parts += panel(series, title, column, powers,
                       i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT)
    at = LEFT
    for name in series:
        parts.append(f'<rect x="{at}" y="{height - 18}" width="12" height="3" '
                     f'fill="{COLORS[name]}"/>')
        parts.append(text(at + 17, height - 12, name, "start"))
        at += 90
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write("\n".join(parts + ["</svg>"]) + "\n")


main()
