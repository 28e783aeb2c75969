#
# migrate/edit.py
# ~~~~~~~~~~~~~~~
# The edits of test/migrate/edits: how a program of somebody else's is changed,
# without that program. A file is
#
#   # banner
#   title: Asio's chat server        what the documentation calls it
#   from: asio cpp11/chat            package, and folders to look in, in this order
#   files: *.hpp chat_server.cpp     what is copied from there
#   ...                              more of these; programs.py knows them all
#
# and then, for each file of the program that is changed, `--- NAME` and below it
# operations, in the order of the file's lines:
#
#   after ANCHOR                  puts lines behind the next line with ANCHOR in it
#   before ANCHOR                 ... in front of it
#   replace ANCHOR                puts lines in its place
#   replace whole ANCHOR          ... in the place of the statement or definition
#                                 that begins there, up to its last bracket
#   replace ANCHOR ... ANCHOR     ... of all from the one to the other
#   delete, delete whole, ...     the same, with nothing in its place
#   each TEXT => TEXT             in the whole file; nothing else moves on for it
#   again                         looks from the file's top once more
#   remove                        the file
#   file                          a new file: the lines are all of it
#   given OPERATION               what the test needs and the migration does not: a
#                                 port, a shorter time. Applied last, before and
#                                 after, and not part of what is shown
#
# An operation's own lines follow it, each behind a `|`. Without any it only moves on.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import difflib
import re


class EditError(Exception):
    pass


class Operation:
    def __init__(self, verb, text, given, where):
        self.verb, self.text, self.given, self.where = verb, text, given, where
        self.lines = []


class Edit:
    """One file of test/migrate/edits."""

    def __init__(self, path):
        self.path = path
        self.fields = {}
        self.changes = {}  # file -> operations
        operations = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.name}:{number}"
            if line.startswith("#") or not line.strip():
                continue
            if line.startswith("--- "):
                operations = self.changes.setdefault(line[4:].strip(), [])
            elif line.startswith("|"):
                if not operations:
                    raise EditError(f"{where}: a line that belongs to no operation")
                operations[-1].lines.append(line[1:])
            elif operations is None:
                name, colon, value = line.partition(":")
                if not colon:
                    raise EditError(f"{where}: neither a field nor a file")
                self.fields[name] = " ".join(
                    filter(None, [self.fields.get(name), value.strip()]))
            else:
                given = line.startswith("given ")
                verb, _, text = line.removeprefix("given ").partition(" ")
                operations.append(Operation(verb, text, given, where))

    def field(self, name, default=None):
        value = self.fields.get(name, default)
        if value is None:
            raise EditError(f"{self.path.name}: no {name}")
        return value

    def apply(self, name, text, given):
        """The file with the operations applied: the given ones, or the others. None: it is gone."""
        lines = text.splitlines()
        at = 0
        for operation in self.changes.get(name, []):
            if operation.verb == "remove" and not given:
                return None
            if operation.given == given:
                lines, at = perform(operation, lines, at)
        return "".join(line + "\n" for line in lines)


def find(lines, anchor, at, where):
    for i in range(at, len(lines)):
        if anchor in lines[i]:
            return i
    raise EditError(f"{where}: found no '{anchor}' below line {at}")


def code_of(line):
    """The line without what its strings, characters and comments have in them."""
    return re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])+\'|//.*', "", line).rstrip()


def end_of(lines, begin, where):
    """The last line of the statement or definition that begins at this line."""
    depth, begun = 0, False
    for i in range(begin, len(lines)):
        code = code_of(lines[i])
        for c in code:
            if c in "({[":
                depth += 1
            elif c in ")}]":
                depth -= 1
        begun = begun or bool(code.strip())
        if begun and depth <= 0 and code.endswith(("}", ";")):
            return i
    raise EditError(f"{where}: brackets are not closed")


def perform(operation, lines, at):
    verb, text, where = operation.verb, operation.text, operation.where
    if verb == "again":
        return lines, 0
    if verb == "file":
        return operation.lines, 0
    if verb == "each":
        old, arrow, new = text.partition(" =>")
        new = new.removeprefix(" ")
        if not arrow or not any(old in line for line in lines):
            raise EditError(f"{where}: nothing to replace")
        return [line.replace(old, new) for line in lines], at
    if verb in ("after", "before"):
        place = find(lines, text, at, where) + (verb == "after")
        return (lines[:place] + operation.lines + lines[place:],
                place + len(operation.lines))
    if verb not in ("replace", "delete") or (verb == "delete") != (not operation.lines):
        raise EditError(f"{where}: {verb} cannot be understood")
    if text.startswith("whole "):
        begin = find(lines, text.removeprefix("whole "), at, where)
        end = end_of(lines, begin, where)
    elif " ... " in text:
        first, last = text.split(" ... ")
        begin = find(lines, first, at, where)
        end = find(lines, last, begin, where)
    else:
        begin = end = find(lines, text, at, where)
    if verb == "delete" and begin and lines[begin - 1].strip() in ("", "{", "private:") \
            and end + 1 < len(lines) and not lines[end + 1].strip():
        end += 1  # one of the two empty lines around it
    elif verb == "delete" and begin and not lines[begin - 1].strip() \
            and end + 1 < len(lines) and lines[end + 1].strip().startswith("}"):
        begin -= 1
    return (lines[:begin] + operation.lines + lines[end + 1:],
            begin + len(operation.lines))


def difference(name, before, after):
    if after is None:
        return [f"--- {name}", "+++ /dev/null"] + [
            "-" + code_of(line) for line in before.splitlines() if code_of(line).strip()]
    return list(difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, name, n=1, lineterm=""))


def touched(diff):
    """How many lines of code went, and how many came: no comments, no empty ones."""
    body = [line for line in diff if not line.startswith(("---", "+++"))
            and code_of(line[1:]).strip()]
    return (sum(line.startswith("-") for line in body),
            sum(line.startswith("+") for line in body))
