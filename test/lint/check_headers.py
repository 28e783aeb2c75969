#!/usr/bin/env python3
#
# lint/check_headers.py
# ~~~~~~~~~~~~~~~~~~~~~
# Derives from each file's path what its banner and its include guard must be,
# and from each public header's path where its test is: test/<room>/<name>.cpp.
# Headers without a test are in headers.txt, with the reason. Compares the
# version in version.hpp with CMakeLists.txt.
# Usage: check_headers.py REPO
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import sys

import check_layers

LICENSE = """\
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//
"""


class Check:
    def __init__(self, repo):
        self.repo, self.bad = repo, 0

    def say(self, path, what):
        print(f"{path.relative_to(self.repo)}: {what}")
        self.bad += 1

    def banner(self, path, name):
        """What each file starts with: its name, tildes below it, the licence."""
        lines = path.read_text().split("\n")
        at = 0
        while at < len(lines) and re.match(r"// (build|expect): ", lines[at]):
            at += 1
        head = "\n".join(lines[at:at + 3])
        if head != f"//\n// {name}\n// {'~' * len(name)}":
            self.say(path, f"the banner does not name {name}, with as many tildes below it")
        comment = re.match(r"(//[^\n]*\n)*", "\n".join(lines[at:]) + "\n")[0]
        if not comment.endswith(LICENSE):
            self.say(path, "the banner does not end in the licence")

    def guard(self, path, name):
        guard = re.sub(r"[^A-Z0-9]", "_", name.upper())
        text = path.read_text()
        directives = re.findall(r"^[ \t]*#[^\n]*", text, re.M)
        if directives[:2] != [f"#ifndef {guard}", f"#define {guard}"]:
            self.say(path, f"does not open with the guard {guard}")
        if not text.endswith(f"\n#endif // {guard}\n"):
            self.say(path, f"does not end in #endif // {guard}")


def check_version(check):
    cmake = (check.repo / "CMakeLists.txt").read_text()
    major, minor, patch = map(int, re.search(r"VERSION (\d+)\.(\d+)\.(\d+)", cmake[cmake.index("project(spindle"):]).groups())
    path = check.repo / "include/spindle/version.hpp"
    found = re.search(r"#define SPINDLE_VERSION (\d+)$", path.read_text(), re.M)
    if not found or int(found[1]) != major * 100000 + minor * 100 + patch:
        check.say(path, f"SPINDLE_VERSION is not CMakeLists.txt's {major}.{minor}.{patch}")


def main():
    repo = pathlib.Path(sys.argv[1]).resolve()
    check = Check(repo)
    layers = check_layers.Layers.default()

    exceptions = {}
    data = pathlib.Path(__file__).with_name("headers.txt")
    for line in data.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            header, reason = line.split(":", 1)
            if not reason.strip():
                sys.exit(f"{data}: {header} has no reason")
            exceptions[header] = reason

    headers = sorted((repo / "include").rglob("*.hpp"))
    if not headers:
        sys.exit("check_headers: found no headers")
    files = 0
    for top in ("include", "src", "test", "example"):
        for path in sorted((repo / top).rglob("*.[hci]pp")):
            rel = path.relative_to(repo / top).as_posix()
            files += 1
            # The benches have contenders in other languages: paths in full there.
            check.banner(path, f"test/{rel}" if top == "test" and rel.startswith("bench/") else rel)
            if path.suffix == ".hpp" and not rel.startswith("fiber_suite/shim_"):
                check.guard(path, {"include": "", "test": "spindle/test/"}.get(top, f"spindle/{top}/") + rel)

    for path in headers:
        rel = path.relative_to(repo).as_posix()
        below = path.relative_to(repo / "include").as_posix()
        if "/" not in below or "/detail/" in f"/{below}":
            continue  # an umbrella; or private, tested where it pays
        if rel in exceptions:
            del exceptions[rel]
            continue
        room = layers.room_of(below.split("/", 1)[1])
        if room is None:
            continue  # check_layers complains
        # The header's own folder; its room's, if it lies at the top.
        folder = path.parent.name if path.parent.name != "spindle" else room.rsplit("/", 1)[-1]
        test = repo / "test" / folder / f"{path.stem}.cpp"
        if not test.exists():
            check.say(path, f"has no {test.relative_to(repo)}, and headers.txt does not say why")
    for rel in exceptions:
        if not (repo / rel).exists():
            print(f"{data.name}: there is no {rel}")
            check.bad += 1

    check_version(check)
    print(f"headers: {files} files, {check.bad} faults")
    return 1 if check.bad else 0


sys.exit(main())
