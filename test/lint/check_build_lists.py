#!/usr/bin/env python3
#
# lint/check_build_lists.py
# ~~~~~~~~~~~~~~~~~~~~~~~~~
# Fails unless CMakeLists.txt and Jamroot list the same sources, and these are
# the files below src/. With --fix it writes both lists from src/.
# Usage: check_build_lists.py REPO [--fix]
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import sys

# Each list: what opens it, its lines, what closes it.
LISTS = {
    "CMakeLists.txt": (re.compile(r"(^set\(SPINDLE_SOURCES\n)(.*?)(^\)$)", re.M | re.S), "  "),
    "Jamroot": (re.compile(r"(^local sources =\n)(.*?)(^ +;$)", re.M | re.S), "    "),
}


def main():
    args = [a for a in sys.argv[1:] if a != "--fix"]
    fix = len(args) != len(sys.argv) - 1
    repo = pathlib.Path(args[0])
    on_disk = sorted(p.relative_to(repo).as_posix() for p in (repo / "src").rglob("*.cpp"))
    if not on_disk:
        sys.exit("check_build_lists: found no sources in src/")
    bad = 0
    for name, (pattern, indent) in LISTS.items():
        path = repo / name
        text = path.read_text()
        match = pattern.search(text)
        if not match:
            sys.exit(f"{name}: found no list of sources")
        listed = match[2].split()
        if fix and listed != on_disk:
            lines = "".join(f"{indent}{s}\n" for s in on_disk)
            path.write_text(text[: match.start(2)] + lines + text[match.end(2):])
            print(f"{name}: written, {len(on_disk)} sources")
            continue
        for s in sorted(set(listed) - set(on_disk)):
            print(f"{name}: lists {s}, which is not there")
            bad += 1
        for s in sorted(set(on_disk) - set(listed)):
            print(f"{name}: does not list {s}")
            bad += 1
        for s in sorted({s for s in listed if listed.count(s) > 1}):
            print(f"{name}: lists {s} more than once")
            bad += 1
        if set(listed) == set(on_disk) and listed != sorted(listed):
            print(f"{name}: the list is not sorted")
            bad += 1
    print(f"build lists: {len(on_disk)} sources, {bad} faults")
    return 1 if bad else 0


sys.exit(main())
