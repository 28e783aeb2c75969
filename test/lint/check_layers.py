#!/usr/bin/env python3
#
# lint/check_layers.py
# ~~~~~~~~~~~~~~~~~~~~
# Fails when a file includes a room, or an outside library, that
# test/lint/layers.txt does not grant to the file's own room.
# Usage: check_layers.py REPO [LAYERS]
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import sys

LIB = "spindle"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)
# Granted to everybody: the standard library, the compiler's and the operating
# system's headers.
SYSTEM = re.compile(r"[a-z_0-9]+|[a-z_]+\.h|(sys|linux|asm|netinet|arpa|sanitizer)/[a-z_]+\.h")
# How the names of outside libraries start in layers.txt.
OUTSIDE = ("boost/", "valgrind/", "openssl/")


class Layers:
    """What layers.txt says: the grants of each room, and what lies in which."""

    def __init__(self, path):
        self.grants, self.folders, self.files = {}, {}, {}
        room = None
        for number, raw in enumerate(path.read_text().splitlines(), 1):
            line = raw.split("#")[0].rstrip()
            if not line:
                continue
            if line[0].isspace():
                if room is None:
                    sys.exit(f"{path}:{number}: grants of no room")
                names = line.split()
            elif ":" in line:
                room, rest = (s.strip() for s in line.split(":", 1))
                self.grants[room] = []
                self.folders[room] = room
                names = rest.split()
            else:
                what, where = (s.strip() for s in line.split("="))
                if where not in self.grants:
                    sys.exit(f"{path}:{number}: no room {where} above")
                (self.files if what.endswith("pp") else self.folders)[what] = where
                room = None
                continue
            for name in names:
                known = name.startswith(OUTSIDE) or name.endswith("pp") or name in self.grants
                if not known or name == room:
                    sys.exit(f"{path}:{number}: {room} names {name}, which is not above it")
            self.grants[room] += names

    def room_of(self, rel):
        """The room of a path below include/spindle, or None."""
        if rel in self.files:
            return self.files[rel]
        folder = rel
        while "/" in folder:
            folder = folder.rsplit("/", 1)[0]
            if folder in self.folders:
                return self.folders[folder]
        return None

    def room_of_source(self, rel):
        """The room of a path below src: that of its header, or of its folder."""
        header = re.sub(r"\.cpp$", ".hpp", rel)
        for path in (f"src/{rel}", header, f"detail/{header}"):
            if path in self.files:
                return self.files[path]
        return self.room_of(header) or self.room_of(f"detail/{header}")

    def may_include(self, room, inc):
        if inc.startswith(LIB + "/"):
            rel = inc[len(LIB) + 1:]
            target = self.room_of(rel)
            return target is not None and (target == room or target in self.grants[room] or rel in self.grants[room])
        if inc.startswith(OUTSIDE):
            granted = (g for g in self.grants[room] if g.startswith(OUTSIDE))
            return any(inc in (g, g + ".hpp") or inc.startswith(g + "/") for g in granted)
        return SYSTEM.fullmatch(inc) is not None

    @staticmethod
    def default():
        return Layers(pathlib.Path(__file__).with_name("layers.txt"))


def main():
    repo = pathlib.Path(sys.argv[1])
    layers = Layers(pathlib.Path(sys.argv[2])) if len(sys.argv) > 2 else Layers.default()
    files = [(p, "umbrella") for p in (repo / "include").glob("*.hpp")]
    base = repo / "include" / LIB
    files += [(p, layers.room_of(p.relative_to(base).as_posix())) for p in base.rglob("*.[hi]pp")]
    base = repo / "src"
    files += [(p, layers.room_of_source(p.relative_to(base).as_posix())) for p in base.rglob("*.[hci]pp")]
    if not files:
        sys.exit("check_layers: found no files")
    bad = 0
    for path, room in sorted(files):
        if room is None:
            print(f"{path}: in no room of layers.txt")
            bad += 1
            continue
        text = path.read_text()
        for m in INCLUDE.finditer(text):
            if not layers.may_include(room, m[1]):
                line = text.count("\n", 0, m.start(1)) + 1
                print(f"{path}:{line}: {room} may not include {m[1]}")
                bad += 1
    print(f"layers: {len(files)} files, {bad} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
