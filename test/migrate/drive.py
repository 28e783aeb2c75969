#
# migrate/drive.py
# ~~~~~~~~~~~~~~~~
# Edits, builds and drives the programs; test/migrate/run calls it.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import argparse
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import time
import traceback

import checks
import clients
import edit as edits
import programs as table
from programs import AFTER, BEFORE


# What the documentation says of all programs, as they are in that Boost.
TABLE, TABLE_BOOST = "doc/migrations.csv", "1_81"


HOLDS, FAILS, ENDED, BROKEN = "holds", "fails", "has ended", "is broken"


def run_check(program, side, check, wanted):
    """Which of these, and why. ENDED: the program. BROKEN: the check is at fault."""
    folder = program.work / side / "run" / check.__name__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for data in program.edit.field("data", "").split():
        shutil.copy(program.work / side / data, folder)
    # For what is not to come, it is not waited for long.
    soon = clients.PATIENCE if wanted == HOLDS else clients.SILENCE
    server = clients.Server(program, side, folder, soon)
    verdict, why = HOLDS, ""
    try:
        with server:
            try:
                check(server)
            except (clients.Failed, OSError, subprocess.TimeoutExpired) as e:
                verdict, why = FAILS, repr(e)
            if not server.alive() and not server.stopped:
                verdict, why = ENDED, f"exit code {server.process.returncode}; {why}"
    except clients.Failed as e:
        verdict, why = ENDED, str(e)
    except Exception:  # it is to be seen beside the others
        verdict, why = BROKEN, traceback.format_exc()
    if verdict != HOLDS:
        why += f"; the program says: {server.said().strip() or 'nothing'}"
    return verdict, why


def verdicts(program):
    """(passed, line) for each check of a program."""
    name = program.name
    keeps, gains = checks.KEEPS.get(name, []), checks.GAINS.get(name, [])
    if not keeps:
        yield False, f"{name}: has no checks"
    wanted_of = [(c, side, HOLDS) for c in keeps for side in (BEFORE, AFTER)]
    wanted_of += [(c, AFTER, HOLDS) for c in checks.NOW.get(name, [])]
    wanted_of += [(c, s, w) for c in gains for s, w in ((AFTER, HOLDS), (BEFORE, FAILS))]
    for check, side, wanted in wanted_of:
        verdict, why = run_check(program, side, check, wanted)
        what = f"{name}, {side}: {'' if wanted == HOLDS else 'not yet: '}" \
               f"{check.__name__.replace('_', ' ')}"
        yield verdict == wanted, what if verdict == wanted else f"{what}: {verdict}; {why}"


def build(programs, options):
    table.ninja_file(programs, options.repo, options.build, options.work, options.launcher)
    return subprocess.run(
        ["ninja", "-k", "0", "-j", str(options.jobs), "-C", str(options.work),
         "-f", "build.ninja", "--quiet"]).returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repo", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--source", action="append", default=[], metavar="PACKAGE=FOLDER")
    parser.add_argument("--launcher", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--boost", required=True)
    parser.add_argument("--diffs", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    sources = {p: pathlib.Path(f) for p, f in (s.split("=", 1) for s in options.source)}

    try:
        programs, missing = table.load(
            options.repo / "test/migrate/edits", options.names, sources, options.work)
        for program in programs:
            program.prepare()
            table.put(options.work / "diff" / f"{program.name}.diff",
                      "\n".join(program.diff) + "\n")
    except edits.EditError as e:
        print(f"migrate: {e}")
        print("0 passed, 1 failed")
        return 1
    everything = not options.names
    if everything:
        table.put(options.work / "diff" / "all.adoc", table.chapter(programs))
    if options.table:
        table.put(options.repo / TABLE, table.table(programs))
    if options.table or options.diffs:
        return 0

    for reason in missing:
        print(f"skip  {reason}")
    passed, failed = 0, int(not programs)
    if everything and options.boost == TABLE_BOOST:
        current = (options.repo / TABLE).read_text() == table.table(programs)
        print(f"{'ok   ' if current else 'FAIL '} {TABLE} says what is changed"
              f"{'' if current else ': test/migrate/run --table makes it'}")
        passed, failed = passed + current, failed + (not current)
    start = time.monotonic()
    built = build(programs, options)
    print(f"--- built in {time.monotonic() - start:.0f} s")
    start = time.monotonic()
    for program in programs:
        print(f"--- {program.name}: {program.title}; "
              f"{program.removed} lines went, {program.added} came")
        if options.names:
            print("\n".join(program.diff))
    runnable = [p for p in programs if p.binary(BEFORE).exists() and p.binary(AFTER).exists()]
    for program in programs:
        if program not in runnable:
            built = False
            print(f"FAIL  {program.name}: is not built")
            failed += 1
    # They wait more than they compute.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda p: list(verdicts(p)), runnable):
            for good, line in results:
                print("ok   " if good else "FAIL ", line, flush=True)
                passed, failed = passed + good, failed + (not good)
    print(f"--- driven in {time.monotonic() - start:.0f} s")
    if not built and not failed:
        failed = 1
    print(f"migrate: {passed} checks passed, {failed} failed")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
