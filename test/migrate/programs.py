#
# migrate/programs.py
# ~~~~~~~~~~~~~~~~~~~
# The programs of test/migrate/edits: where they come from, what becomes of their
# files, and how ninja builds them, before and after.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import pathlib
import re
import shutil

import edit as edits

# Once as it was, once changed: the two that everything is done with.
BEFORE, AFTER = "before", "after"


class NotHere(edits.EditError):
    """This release of the package has no such program."""


class Program:
    """What one edit changes. Its files are in <work>/<name>/before and .../after."""

    def __init__(self, path, sources, work):
        self.edit = edits.Edit(path)
        self.name = path.stem
        self.title = self.edit.field("title")
        self.gain = self.edit.field("gain")
        self.work = work / self.name
        self.origin = self._origin(sources)
        self.removed = self.added = 0
        self.diff = []

    def _origin(self, sources):
        package, *folders = self.edit.field("from").split()
        for folder in folders:
            path = sources[package] / folder
            if any(path.glob(p) for p in self.edit.field("files").split()):
                return path
        raise NotHere(f"{self.name}: {package} has none of {' '.join(folders)}")

    def files(self):
        for pattern in self.edit.field("files").split():
            found = sorted(p for p in self.origin.glob(pattern) if p.is_file())
            if not found:
                raise edits.EditError(f"{self.name}: no {pattern} in {self.origin}")
            yield from found

    def prepare(self):
        """Copies, edits, compares."""
        names = {}
        for file in self.files():
            names[file.name] = file
        for name in sorted(names.keys() | self.edit.changes.keys()):
            if name in names and name not in self.edit.changes:
                for side in BEFORE, AFTER:
                    (self.work / side).mkdir(parents=True, exist_ok=True)
                    copy(names[name], self.work / side / name)
                continue
            text = names[name].read_text() if name in names else ""
            after = self.edit.apply(name, text, given=False)
            if name in names:
                put(self.work / BEFORE / name, self.edit.apply(name, text, given=True))
            if after is None:
                (self.work / AFTER / name).unlink(missing_ok=True)
            else:
                put(self.work / AFTER / name, self.edit.apply(name, after, given=True))
            diff = edits.difference(name, text, after)
            removed, added = edits.touched(diff)
            self.removed += removed
            self.added += added
            self.diff += diff
        if not self.diff:
            raise edits.EditError(f"{self.name}: nothing is changed")
        self._check_includes()

    def _check_includes(self):
        """The precompiled header would hide that one is missing."""
        texts = {name: (self.work / AFTER / name).read_text()
                 for name in self.edit.changes if (self.work / AFTER / name).exists()}
        have = {name for name, text in texts.items() if "#include <spindle" in text}
        for name, text in texts.items():
            if "spindle::" in text and name not in have \
                    and not any(f'#include "{h}"' in text for h in have):
                raise edits.EditError(f"{self.name}: {name} includes nothing of Spindle's")

    def binary(self, side):
        return self.work / side / "program"

    def client(self):
        """Another program of the same folder, not changed, that talks to it."""
        return self.work / "client"

    def _differs(self, name, seen=()):
        """Whether the file is another one afterwards, or includes one that is."""
        before, after = self.work / BEFORE / name, self.work / AFTER / name
        if name in self.edit.changes or not before.exists():
            return True
        included = re.findall(r'^ *# *include "(.*)"', after.read_text(), re.M)
        return any(self._differs(i, {*seen, name}) for i in included
                   if i not in seen and (self.work / AFTER / i).exists())

    def rules(self):
        """Ninja's statements for both."""
        clients = self.edit.field("client", "").split()
        for side in BEFORE, AFTER:
            folder = self.work / side
            objects = []
            for source in sorted(folder.glob("*.cpp")):
                if source.name in clients:
                    continue
                if side == AFTER and not self._differs(source.name):
                    objects.append((self.work / BEFORE / source.name).with_suffix(".o"))
                    continue
                fields = self.edit.fields
                standard = fields.get(f"standard {source.name}", fields.get("standard", "20"))
                # No more than what the source itself would have read.
                pch = side if standard == "20" and fields.get("pch") != "no" else "none"
                objects.append(source.with_suffix(".o"))
                yield from statement("compile_" + pch, source.with_suffix(".o"), [source], {
                    "flags": f"-std=c++{standard} -I{self.work / side} -I{self.origin.parent}"
                             f" {self._includes()}"})
            yield from statement("link_" + side, self.binary(side), objects,
                                 {"libs": self.edit.field("libs", "")})
        if clients:
            for name in clients:
                source = self.work / BEFORE / name
                yield from statement("compile_none", source.with_suffix(".o"), [source], {
                    "flags": f"-std=c++17 -I{self.work / BEFORE}"})
            yield from statement(
                "link_before", self.client(),
                [self.work / BEFORE / pathlib.Path(n).with_suffix(".o") for n in clients],
                {"libs": self.edit.field("libs", "")})

    def _includes(self):
        return " ".join(f"-I{(self.origin / i).resolve()}"
                        for i in self.edit.field("include", "").split())


def statement(rule, output, inputs, variables):
    implicit = "" if not rule.startswith("compile_") or rule.endswith("none") else \
        " | $pch_" + rule.removeprefix("compile_")
    if rule == "link_after":
        implicit = " | $library"
    yield f"build {output}: {rule} {' '.join(map(str, inputs))}{implicit}"
    for name, value in variables.items():
        yield f"  {name} = {value}"


def put(path, text):
    """Nothing is built again for a file that has not changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def copy(source, target):
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)


def by_size(programs):
    """What changes least comes first."""
    return sorted(programs, key=lambda p: (p.removed + p.added, p.name))


def table(programs):
    """For the documentation, as CSV."""
    def quoted(text):
        return '"' + text.replace('"', '""') + '"'

    lines = ["program,lines that went,lines that came,what it has gained"]
    lines += [f"{quoted(p.title)},{p.removed},{p.added},{quoted(p.gain)}"
              for p in by_size(programs)]
    return "\n".join(lines) + "\n"


def chapter(programs):
    """For the documentation: a section for each program."""
    lines = []
    for p in by_size(programs):
        lines += [f"[#{p.name}]", f"=== {p.title}", "", f"{p.gain}.", "",
                  f"{p.removed} lines of code went, {p.added} came.", "",
                  "[source,diff]", "----", *p.diff, "----", ""]
    return "\n".join(lines)


def load(folder, names, sources, work):
    """The programs, and why there are not more of them."""
    paths = [p for p in sorted(folder.glob("*.edit")) if not names or p.stem in names]
    unknown = set(names) - {p.stem for p in paths}
    if unknown or not paths:
        raise edits.EditError(f"there is no edit {' '.join(sorted(unknown))}")
    programs, missing = [], []
    for path in paths:
        try:
            programs.append(Program(path, sources, work))
        except NotHere as e:
            missing.append(str(e))
    return programs, missing


def ninja_file(programs, repo, build, work, launcher):
    """All of it, for ninja."""
    boost = " ".join(["-l:libboost_fiber.a", "-l:libboost_context.a"])
    common = "-O0 -g1 -pthread -w -DBOOST_ALL_NO_LIB"
    lines = [
        f"launcher = {launcher}",
        "cxx = g++",
        f"library = {build}/libspindle.a",
        f"spindle = -I{repo}/include",
    ]
    headers = {BEFORE: "boost/asio.hpp", AFTER: "spindle.hpp"}
    for side, header in headers.items():
        put(work / f"pch_{side}" / "all.hpp",
            f"#include <boost/asio.hpp>\n#include <{header}>\n")
        lines += [
            f"pch_{side} = {work}/pch_{side}/all.hpp.gch",
            f"rule pch_{side}",
            f"  command = $cxx -std=c++20 {common} $spindle -MMD -MF $out.d -x c++-header $in"
            " -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            f"build $pch_{side}: pch_{side} {work}/pch_{side}/all.hpp",
        ]
    for kind, extra in {BEFORE: "-fpch-preprocess -include " + f"{work}/pch_{BEFORE}/all.hpp",
                        AFTER: "-fpch-preprocess $spindle -include "
                               + f"{work}/pch_{AFTER}/all.hpp",
                        "none": "$spindle"}.items():
        lines += [
            f"rule compile_{kind}",
            f"  command = $launcher $cxx $flags {common} {extra} -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
        ]
    lines += [
        "rule link_before",
        "  command = $cxx -pthread $in $libs -o $out",
        "rule link_after",
        f"  command = $cxx -pthread $in $library {boost} $libs -o $out",
    ]
    for program in programs:
        lines += program.rules()
    put(work / "build.ninja", "\n".join(lines) + "\n")
