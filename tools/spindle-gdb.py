#
# spindle-gdb.py
# ~~~~~~~~~~~~~~
# Fibers for gdb, on a live process or a core file:
#
#   (gdb) source spindle-gdb.py
#   (gdb) info fibers
#   (gdb) fiber 12 bt
#   (gdb) fiber all bt
#
# The program needs no debugging information for the list, and what gdb always needs
# for good backtraces. Backtraces of fibers that do not run: x86-64. A core file must be
# the kernel's own: gdb's generate-core-file stops at the guard pages between stacks.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import re
import struct
import time

import gdb
import gdb.unwinder

# As in spindle/detail/fiber/debug_table.hpp.
ENTRIES = ("magic root node id life state reason name spawn_site spawner context waits_on since "
           "stack_size saved rbx rbp r12 r13 r14 r15 rip state_names reason_names string_data "
           "string_size").split()
MAGIC = struct.unpack("<q", b"SPINDLE1")[0]
KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15")
SHORT = 120  # of names, in a list


def read(address, size=8):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, size), "little")


def read_text(address, size=None):
    memory = gdb.selected_inferior()
    if size is not None:
        return bytes(memory.read_memory(address, size)).decode(errors="replace")
    text = b""
    while not text.endswith(b"\0"):
        text += bytes(memory.read_memory(address + len(text), 1))
    return text[:-1].decode(errors="replace")


class Table:
    """What the program says of its records."""

    def __init__(self):
        try:
            at = int(gdb.parse_and_eval("(long)&spindle_debug"))
        except gdb.error:
            raise gdb.GdbError("this program has no Spindle in it, or it was stripped")
        memory = bytes(gdb.selected_inferior().read_memory(at, 8 * len(ENTRIES)))
        self.__dict__.update(zip(ENTRIES, struct.unpack(f"<{len(ENTRIES)}q", memory)))
        if self.magic == 0:
            raise gdb.GdbError("there are no fibers yet")
        if self.magic != MAGIC:
            raise gdb.GdbError("this script is of another version of Spindle")
        self.states = self.names(self.state_names)
        self.reasons = self.names(self.reason_names)

    @staticmethod
    def names(at):
        found = []
        while read(at):
            found.append(read_text(read(at)))
            at += 8
        return found


class Fiber:
    def __init__(self, table, record):
        self.table, self.record = table, record
        self.number = read(record + table.id)
        self.life = read(record + table.life)
        self.state = table.states[read(record + table.state, 1)]
        self.reason = table.reasons[read(record + table.reason, 1)]
        self.spawn_site = read(record + table.spawn_site)
        self.spawner = read(record + table.spawner)
        self.waits_on = read(record + table.waits_on)
        self.since = read(record + table.since)
        self.context = read(record + table.context)
        self.stack_size = read(record + table.stack_size)
        self.saved = read(self.context + table.saved) if self.context else 0
        self.name = ""
        if table.string_data >= 0 and table.string_size >= 0:
            at = record + table.name
            if size := read(at + table.string_size):
                self.name = read_text(read(at + table.string_data), size)

    def alive(self):
        return self.life & 2 == 0

    def registers(self):
        """Of a fiber that does not run: what its caller has, by name."""
        if not self.saved or self.table.rip < 0:
            return None
        found = {r: read(self.saved + 8 * getattr(self.table, r)) for r in KEPT + ("rip",)}
        found["rsp"] = self.saved + 8 * (self.table.rip + 1)
        return found

    def thread(self):
        """The thread whose stack pointer lies on the fiber's stack."""
        if self.saved:
            return None
        before = gdb.selected_thread()
        try:
            for t in gdb.selected_inferior().threads():
                t.switch()
                sp = int(gdb.newest_frame().read_register("rsp"))
                if self.context - (self.stack_size or 0) < sp < self.context:
                    return t
        finally:
            before.switch()
        return None

    def __str__(self):
        text = f"{self.number}"
        if self.name:
            text += f' "{self.name}"'
        if self.state == "waiting":
            text += f", waiting: {self.reason}"
            if age := self.age():
                text += f", for {age:.1f} s"
        elif self.state == "running" and self.saved:
            text += ", waiting: boost.fiber primitive"
        else:
            text += f", {self.state}"
            if t := self.thread():
                text += f" on thread {t.num} (LWP {t.ptid[1] or t.ptid[2]})"
        if self.spawn_site:
            text += f", spawned from {place(self.spawn_site)}"
        if self.spawner:
            text += f", by {self.spawner >> 32}"
        return text

    def age(self):
        """In seconds; None where there is no clock to compare with: in a core file."""
        connection = getattr(gdb.selected_inferior(), "connection", None)
        if self.since and connection and connection.type == "native":
            return (time.monotonic_ns() - self.since) / 1e9
        return None


def place(address):
    """The function that the address, behind a call, lies in, and the line."""
    text = gdb.execute(f"info symbol {address - 1:#x}", to_string=True).strip()
    name = re.sub(r"( \+ \d+)? in section .*", "", text)
    if name.startswith("No symbol"):
        name = f"{address:#x}"
    if len(name) > SHORT:
        name = name[:SHORT] + "..."
    line = gdb.find_pc_line(address - 1)
    if line.symtab and line.line:
        name += f" ({line.symtab.filename}:{line.line})"
    return name


def fibers():
    table = Table()
    at = read(table.root)
    while at != table.root:
        f = Fiber(table, at - table.node)
        if f.alive():
            yield f
        at = read(at)


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class FromFiber(gdb.unwinder.Unwinder):
    """While a fiber is selected: whatever the thread runs was called by what the fiber
    waits in. So nothing is written, and it works on a core file."""

    def __init__(self):
        super().__init__("spindle fiber")
        self.registers = None
        self.innermost = None

    def __call__(self, pending):
        if self.registers is None or int(pending.read_register("rsp")) != self.innermost:
            return None
        # Further in than what called it, as gdb wants it: wherever the thread's is.
        sp = gdb.Value(self.registers["rsp"] - 8).cast(pending.read_register("rsp").type)
        info = pending.create_unwind_info(FrameId(sp, pending.read_register("rip")))
        for name, value in self.registers.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info


FROM_FIBER = FromFiber()
gdb.unwinder.register_unwinder(None, FROM_FIBER, replace=True)


def backtrace(fiber):
    registers = fiber.registers()
    if registers is None:
        if thread := fiber.thread():
            before = gdb.selected_thread()
            try:
                thread.switch()
                return gdb.execute("bt", to_string=True)
            finally:
                before.switch()
        return "  (it is neither at rest nor on a thread: look again)\n"
    try:
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        FROM_FIBER.innermost = int(frame.read_register("rsp"))
        FROM_FIBER.registers = registers
        gdb.invalidate_cached_frames()
        text = gdb.execute("bt", to_string=True)
    finally:
        FROM_FIBER.registers = None
        gdb.invalidate_cached_frames()
    # Frame 0 is the thread's.
    lines = re.split(r"(?m)^(?=#\d)", text)[2:]
    # From there on each fiber has the same.
    end = next((i for i, li in enumerate(lines) if re.search(r"\bfiber_main \(", li)), None)
    lines = lines[:end]
    return "".join(re.sub(r"^#(\d+) *", lambda m: f"#{int(m[1]) - 1:<3}", li) for li in lines)


class InfoFibers(gdb.Command):
    """List the fibers: number, name, state, what each waits for, where it was spawned."""

    def __init__(self):
        super().__init__("info fibers", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        n = 0
        for n, f in enumerate(fibers(), 1):
            gdb.write(f"  {f}\n")
        gdb.write(f"{n} fibers\n")


class FiberCommand(gdb.Command):
    """fiber NUMBER bt: the call stack of a fiber. fiber all bt: of each one."""

    def __init__(self):
        super().__init__("fiber", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 2 or words[1] not in ("bt", "backtrace") or not (
                words[0] == "all" or words[0].isdigit()):
            raise gdb.GdbError("usage: fiber NUMBER bt, or fiber all bt")
        found = [f for f in fibers() if words[0] == "all" or f.number == int(words[0])]
        if not found:
            raise gdb.GdbError(f"there is no fiber {words[0]}: info fibers lists them")
        for f in found:
            gdb.write(f"fiber {f}\n{backtrace(f)}\n")


InfoFibers()
FiberCommand()
