#!/usr/bin/env python3
#
# doc/trace_picture.py
# ~~~~~~~~~~~~~~~~~~~~
# Draws a trace of Spindle's as a picture for the documentation, roughly as Perfetto
# shows it: doc/guide/tracing.adoc says which one, and how it was made.
#
# Usage: doc/trace_picture.py TRACE.json PICTURE.svg [FROM_MS TO_MS]
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import collections
import html
import json
import sys

WIDTH, LEFT, ROW, GAP, TOP = 1180, 190, 24, 30, 14
PALETTE = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7"]
STATES = {"running": "#59a14f", "runnable": "#f28e2b", "in a blocking call": "#e15759"}
WAITING, ASIO, SLEEP = "#e3e6ea", "#8e959d", "#f2f3f5"


def load(path):
    with open(path, encoding="utf-8") as f:
        events = json.load(f)["traceEvents"]
    groups, lines, spans = {}, {}, collections.defaultdict(list)
    instants, flows = [], collections.defaultdict(dict)
    for e in events:
        at = e["pid"], e["tid"]
        if e["ph"] == "M" and e["name"] == "process_name":
            groups[e["pid"]] = e["args"]["name"]
        elif e["ph"] == "M" and e["name"] == "thread_name":
            lines[at] = e["args"]["name"]
        elif e["ph"] == "X":
            spans[at].append(e)
        elif e["ph"] == "i":
            instants.append(e)
        elif e["ph"] in "sf":
            flows[e["id"]][e["ph"]] = e
    return groups, lines, spans, instants, flows


class Picture:
    def __init__(self, start, end):
        self.start, self.end, self.parts, self.y = start, end, [], TOP

    def x(self, us):
        return LEFT + (us - self.start) / (self.end - self.start) * (WIDTH - LEFT - 10)

    def text(self, x, y, what, size=11, anchor="start", fill="#24292f", weight="normal"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{fill}" font-weight="{weight}">{html.escape(what)}</text>')

    def box(self, e, y, height, fill, label, ink="#fff"):
        a = max(e["ts"], self.start)
        b = min(e["ts"] + e["dur"], self.end)
        if b < self.start or a > self.end:
            return
        x, width = self.x(a), max(self.x(b) - self.x(a), 0.6)
        title = f'{e["name"]}: {e["dur"]:.1f} us'
        for key, value in e.get("args", {}).items():
            title += f", {key}: {value}"
        self.parts.append(
            f'<rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{height}" fill="{fill}" '
            f'stroke="#fff" stroke-width="0.3"><title>{html.escape(title)}</title></rect>')
        if width > 6.2 * len(label) + 6:
            self.text(x + 4, y + height - 6, label, 10, fill=ink)

    def axis(self, height):
        span = (self.end - self.start) / 1000
        step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if span / s <= 14)
        ms = -(-self.start // (step * 1000)) * step
        lines = []
        while ms * 1000 <= self.end:
            x = self.x(ms * 1000)
            lines.append(
                f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height}" stroke="#d8dee4" '
                f'stroke-width="0.7"/>')
            self.text(x, height + 13, f"{ms:g} ms", 10, "middle", "#57606a")
            ms += step
        self.parts[:0] = lines


def draw(path, start, end):
    groups, lines, spans, instants, flows = load(path)
    last = max(e["ts"] + e["dur"] for line in spans.values() for e in line)
    p = Picture(start, min(end, last) if end else last)

    names = sorted({e["name"] for line in spans.values() for e in line if e["cat"] == "run"})
    colour = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    where = {}
    for pid in sorted(groups):
        mine = sorted(at for at in lines if at[0] == pid)
        if not mine:
            continue
        p.text(8, p.y + 12, groups[pid], 12, weight="bold")
        p.y += 18
        for at in mine:
            where[at] = p.y
            label = lines[at].split(", ")[0].replace("M", "thread ", 1) \
                if groups[pid] == "threads" else lines[at].split(", ")[0]
            p.text(LEFT - 8, p.y + ROW - 9, label.split(" (")[0], 11, "end")
            inner = {"blocking"}
            for e in sorted(spans[at], key=lambda e: (e["cat"] in inner, e["ts"])):
                if e["cat"] == "fiber":
                    fill = STATES.get(e["name"], WAITING)
                    ink = "#57606a" if fill == WAITING else "#fff"
                    label = e["name"].removeprefix("waiting: ")
                    p.box(e, p.y, ROW - 6, fill, label, ink)
                elif e["cat"] == "run":
                    p.box(e, p.y, ROW - 6, colour[e["name"]], e["name"])
                elif e["cat"] == "blocking":
                    p.box(e, p.y + 4, ROW - 14, "#e15759", "")
                else:
                    fill = SLEEP if e["cat"] == "sleep" else ASIO
                    p.box(e, p.y, ROW - 6, fill, e["name"], "#8c959f")
            p.y += ROW
        p.y += GAP - 18

    for pair in flows.values():
        if set(pair) != {"s", "f"}:
            continue
        a, b = pair["s"], pair["f"]
        ya, yb = where[a["pid"], a["tid"]], where[b["pid"], b["tid"]]
        if ya == yb or b["ts"] < p.start or a["ts"] > p.end:
            continue # on its own line the order says it
        xa, xb = p.x(max(a["ts"], p.start)), p.x(min(b["ts"], p.end))
        p.parts.append(
            f'<path d="M{xa:.1f},{ya + 9} C{xa + 8:.1f},{ya + 9} {xb - 8:.1f},{yb + 9} '
            f'{xb:.1f},{yb + 9}" fill="none" stroke="#24292f" stroke-width="0.6" '
            f'marker-end="url(#tip)"/>')
    written = {}
    for e in sorted(instants, key=lambda e: e["ts"]):
        at = e["pid"], e["tid"]
        if at not in where or not p.start <= e["ts"] <= p.end:
            continue
        x, y = p.x(e["ts"]), where[at]
        title = e["name"] + "".join(f", {k}: {v}" for k, v in e.get("args", {}).items())
        p.parts.append(
            f'<path d="M{x:.1f},{y - 1} l4,-5 l-8,0 z" fill="#cf222e">'
            f"<title>{html.escape(title)}</title></path>")
        if e["cat"] == "retake" and groups[e["pid"]] != "threads" and x > written.get(at, 0):
            written[at] = x + 5.5 * len(e["name"]) + 12
            p.text(x + 5, y - 1, e["name"], 9, fill="#cf222e")

    p.axis(p.y)
    x = LEFT
    p.y += 30
    legend = [("running", STATES["running"]), ("runnable: ready, no processor yet",
              STATES["runnable"]), ("waiting", WAITING), ("in a blocking call", "#e15759"),
              ("Asio", ASIO)]
    for label, fill in legend:
        p.parts.append(f'<rect x="{x}" y="{p.y - 9}" width="11" height="11" fill="{fill}"/>')
        p.text(x + 16, p.y, label, 11)
        x += 16 + 6.4 * len(label) + 22
    height = p.y + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif">\n<defs><marker id="tip" markerWidth="6" markerHeight="6" '
        f'refX="5" refY="3" orient="auto"><path d="M0,0 L6,3 L0,6 z" fill="#24292f"/></marker>'
        f'</defs>\n<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
        + "\n".join(p.parts) + "\n</svg>\n")


def main():
    if len(sys.argv) not in (3, 5):
        sys.exit("usage: doc/trace_picture.py TRACE.json PICTURE.svg [FROM_MS TO_MS]")
    start, end = (float(a) * 1000 for a in sys.argv[3:5]) if len(sys.argv) == 5 else (0, 0)
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(draw(sys.argv[1], start, end))


main()
