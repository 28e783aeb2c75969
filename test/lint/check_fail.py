#!/usr/bin/env python3
#
# lint/check_fail.py
# ~~~~~~~~~~~~~~~~~~
# Fails unless the compiler rejects a source, and for the reason that the
# source's first line names: "// expect: regex".
# Usage: check_fail.py SOURCE FLAGS_FILE COMPILER...
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import subprocess
import sys


def main():
    source, flags_file, compiler = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    first = source.read_text().split("\n", 1)[0]
    expect = re.fullmatch(r"// expect: (.+)", first)
    if not expect:
        sys.exit(f"{source}: the first line is not '// expect: regex'")
    flags = [f for f in pathlib.Path(flags_file).read_text().splitlines() if f]
    run = subprocess.run(
        [*compiler, *flags, "-fsyntax-only", str(source)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode == 0:
        sys.exit(f"{source}: compiles, and must not")
    # Compilers quote names in ways of their own.
    said = re.sub("[‘’`]", "'", run.stdout)
    if not re.search(expect[1], said):
        sys.exit(f"{source}: rejected, but nothing matches '{expect[1]}':\n{said}")
    print(f"{source}: rejected, as it should be")


main()
