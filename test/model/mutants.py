#!/usr/bin/env python3
#
# test/model/mutants.py
# ~~~~~~~~~~~~~~~~~~~~~
# Shows that the models look at what they claim to: runs each one as it is,
# where it must pass, and with each mutant of mutants.txt, where it must fail.
#
#   python3 test/model/mutants.py REPO [--jobs 2] [--cxx g++] [--only MODEL]
#
# The last line is `models: N passed, N failed`.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Relacy replaces operator new and delete inline: sized delete bypasses it.
# Its own headers are not clean, so no warnings.
FLAGS = ["-std=c++20", "-w", "-fno-sized-deallocation"]
VERDICT = re.compile(r"[A-Z ]+ \(")  # DATA RACE (data race detected)
LIMIT = 120  # seconds of the processor's; a model that does not end has failed


def level(mutant):
    """Most mutants fail at once: what takes the time is to compile them."""
    return "-O1" if mutant is None else "-O0"


class Mutant:
    def __init__(self, model, path, title, line):
        self.model, self.path, self.title, self.line = model, path, title, line
        self.edits = []  # [old, new] texts


def load(path):
    """The mutants and the number of argued ones."""
    mutants, argued, last = [], [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            last = None
        elif line.startswith("mutant "):
            head, title = line[len("mutant "):].split(": ", 1)
            model, file = head.split()
            mutants.append(Mutant(model, file, title, number))
            last = None
        elif line.startswith("argued "):
            argued.append(line[len("argued "):])
        elif line[0] in "-+" and mutants:
            sign, text = line[0], line[2:]
            edits = mutants[-1].edits
            if sign == "-" and last != "-":
                edits.append([text, None])
            elif sign == "-":
                edits[-1][0] += "\n" + text
            elif edits[-1][1] is None:
                edits[-1][1] = text
            else:
                edits[-1][1] += "\n" + text
            last = sign
        else:
            sys.exit(f"{path}:{number}: not understood: {line}")
    return mutants, argued


def mutate(root, mutant):
    """Applies it below root; returns what is wrong with it, or None."""
    path = root / mutant.path
    text = path.read_text()
    for old, new in mutant.edits:
        if new is None or text.count(old) == 0:
            return "its text is not there"
    for old, new in mutant.edits:
        if text.count(old) != 1:
            # The second edit of a mutant may take out what the first put in
            # elsewhere: then the last one is meant.
            if len(mutant.edits) == 1:
                return f"its text is there {text.count(old)} times"
        at = text.rindex(old)
        text = text[:at] + new + text[at + len(old):]
    path.write_text(text)
    return None


def precompile(repo, cxx, folder):
    """The door and all of Relacy, parsed once for each level."""
    door = folder / "door.hpp"
    shutil.copy(repo / "test/model/relacy_atomic.hpp", door)
    (folder / "door.hpp.gch").mkdir()  # the compiler takes the one that fits
    for o in ("-O0", "-O1"):
        command = [cxx, *FLAGS, o, "-x", "c++-header", str(door), "-o", f"{door}.gch/{o}"]
        subprocess.run(command, check=True)
    return door


def run(repo, cxx, door, model, mutant):
    """Returns (good, message)."""
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        for part in ("include", "src/base", "src/sched", "src/sync", "test/model"):
            shutil.copytree(repo / part, root / part)
        if mutant is not None:
            problem = mutate(root, mutant)
            if problem:
                return False, problem
        program = root / "model"
        command = [cxx, *FLAGS, level(mutant), "-include", str(door), f"-I{root}/include",
                   f"-I{root}/test", f"{root}/test/model/{model}.cpp", "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode != 0:
            errors = [l for l in built.stderr.splitlines() if "error" in l]
            return False, "does not compile: " + (errors or ["?"])[0]
        start = time.monotonic()
        done = subprocess.run(["sh", "-c", f"ulimit -S -t {LIMIT}; exec '{program}'"],
                              capture_output=True, text=True)
        failed, how = done.returncode != 0, reason(done)
        took = f"{time.monotonic() - start:.1f} s"
        if mutant is None:
            return not failed, f"{took}{'' if not failed else ', ' + how}"
        return failed, f"{took}, {how}" if failed else f"{took}, survives"


def reason(done):
    """What Relacy said first, in one line; a signal is as good."""
    if done.returncode == -signal.SIGXCPU:
        return "does not end"
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    lines = [l.strip() for l in done.stdout.splitlines()]
    for i, l in enumerate(lines):
        if VERDICT.match(l):
            return ", ".join([l.split(" (")[0].lower(), *lines[i + 1:i + 2]])
    return f"exit code {done.returncode}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("repo", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cxx", default="g++")
    parser.add_argument("--only", help="one model")
    args = parser.parse_args()
    repo = args.repo.resolve()

    here = repo / "test/model"
    mutants, argued = load(here / "mutants.txt")
    models = sorted(p.stem for p in here.glob("*.cpp"))
    unknown = {m.model for m in mutants} - set(models)
    if not models or unknown:
        sys.exit(f"no model {', '.join(sorted(unknown))}")
    if args.only:
        if args.only not in models:
            sys.exit(f"no model {args.only}")
        models = [args.only]
        mutants = [m for m in mutants if m.model == args.only]
        argued = [a for a in argued if a.startswith(args.only + ":")]

    work = [(m, None) for m in models] + [(m.model, m) for m in mutants]
    passed = 0
    with tempfile.TemporaryDirectory() as tmp, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        door = precompile(repo, args.cxx, pathlib.Path(tmp))
        results = [pool.submit(run, repo, args.cxx, door, *w) for w in work]
        for (model, mutant), result in zip(work, results):
            good, message = result.result()
            passed += good
            what = "as it is" if mutant is None else mutant.title
            print(f"{'ok    ' if good else 'FAILED'} {model}: {what} ({message})", flush=True)
    for a in argued:
        print(f"argued {a}")
    print(f"models: {passed} passed, {len(work) - passed} failed")
    return 0 if passed == len(work) else 1


sys.exit(main())
