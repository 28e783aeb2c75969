#
# migrate/clients.py
# ~~~~~~~~~~~~~~~~~~
# A server under test, and clients that know no more than the protocol.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import base64
import contextlib
import hashlib
import os
import pty
import signal
import socket
import struct
import subprocess
import time

# What an answer may take on a busy machine before it is none.
PATIENCE = float(os.environ.get("MIGRATE_PATIENCE", "120"))
# How long it is waited for an answer that is not to come.
SILENCE = 1.0


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def until(condition, what, patience=PATIENCE):
    """Waits for what another process does."""
    end = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > end:
            raise Failed(f"waited for {what}")
        time.sleep(0.01)
    return result


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A program that runs, until the block is left."""

    def __init__(self, program, side, folder, soon):
        self.program, self.side, self.folder = program, side, folder
        self.soon = soon  # how long to wait for what comes soon
        self.binary = program.binary(side)
        self.datagrams = program.edit.field("socket", "tcp") == "udp"
        self.listens = program.edit.field("ready", "listens") == "listens"
        self.log = folder / "log"
        self.stopped = False

    def __enter__(self):
        self.port = free_port(socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM)
        self.root = self.folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        command = [str(self.binary)] + self.filled("arguments")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env=os.environ | self.environment())
        try:
            if self.listens and not self.datagrams:
                until(self._listens, f"{self.binary} to listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def filled(self, field):
        return [word.replace("{port}", str(self.port)).replace("{root}", str(self.root))
                for word in self.program.edit.field(field, "").split()]

    def environment(self):
        return dict(word.split("=", 1) for word in self.filled("environment"))

    def _listens(self):
        expect(self.alive(), f"it has ended: {self.said()}")
        # /proc, not a connection: that would be a client like another.
        wanted = f":{self.port:04X} "
        for table in "/proc/net/tcp", "/proc/net/tcp6":
            with open(table) as f:
                if any(wanted in line and line.split()[3] == "0A" for line in f):
                    return True
        return False

    def alive(self):
        return self.process.poll() is None

    def said(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def stop(self, how=signal.SIGTERM):
        """Its exit code."""
        self.stopped = True
        self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("it does not end") from None

    def client(self, *arguments):
        """The program's own."""
        return Client(str(self.program.client()), *arguments)

    def connect(self, receive_buffer=None):
        return Connection(self.port, receive_buffer)


class Client:
    """A program that talks to the server, told what to say."""

    def __init__(self, *command):
        # A terminal: what is written to a pipe would come when the program ends.
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=other, stderr=other)
        os.close(other)
        os.set_blocking(self.terminal, False)
        self.heard = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        os.close(self.terminal)

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hears(self, text):
        def heard():
            with contextlib.suppress(BlockingIOError):
                self.heard += os.read(self.terminal, 65536).decode()
            return text in self.heard
        until(heard, f"a client to hear {text!r}; it has heard {self.heard!r}")


class Connection:
    """TCP, with timeouts that are failures."""

    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError as e:
            raise Failed(f"connect: {e}") from None
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            raise Failed(f"send: {e}") from None

    def is_read(self):
        """The server has taken from the kernel all that has been sent."""
        here, there = (f":{s[1]:04X}" for s in (self.socket.getsockname(),
                                                self.socket.getpeername()))
        for table in "/proc/net/tcp", "/proc/net/tcp6":
            with open(table) as f:
                for line in f:
                    fields = line.split()
                    if fields[1].endswith(there) and fields[2].endswith(here):
                        return fields[4].endswith(":00000000")
        return False

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def some(self, patience=PATIENCE):
        """What has come, or b"" at the end."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        self.socket.settimeout(patience)
        try:
            return self.socket.recv(65536)
        except TimeoutError:
            raise Failed(f"nothing came for {patience} s") from None
        except ConnectionError:
            return b""
        except OSError as e:
            raise Failed(f"receive: {e}") from None

    def exactly(self, n, patience=PATIENCE):
        data = bytearray()
        while len(data) < n:
            more = self.some(patience)
            expect(more, f"the end, after {len(data)} bytes: {bytes(data[-100:])!r}")
            data += more
        self.rest = bytes(data[n:]) + self.rest
        return bytes(data[:n])

    def line(self, patience=PATIENCE):
        data = b""
        while not data.endswith(b"\n"):
            data += self.exactly(1, patience)
        return data

    def all(self, patience=PATIENCE):
        data = bytearray()
        while more := self.some(patience):
            data += more
        return bytes(data)

    def ends(self, patience=PATIENCE):
        """Reads on until the other side has closed."""
        return self.all(patience) is not None

    def silent(self, seconds=SILENCE):
        """Nothing comes for that long."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return True
        self.rest += data
        return False


def answers(connection, request, reply, patience=PATIENCE):
    connection.send(request)
    got = connection.exactly(len(reply), patience)
    expect(got == reply, f"{got!r} instead of {reply!r}")


# --- HTTP -------------------------------------------------------------------------


def http_get(port, path, patience=PATIENCE, extra=()):
    """curl's status and body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(patience),
         "--path-as-is", "--write-out", "\n%{http_code}", *extra,
         f"http://127.0.0.1:{port}{path}"], capture_output=True)
    if done.returncode != 0:
        raise Failed(f"curl: {done.stderr.decode()}")
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


# --- WebSocket ----------------------------------------------------------------------


class WebSocket(Connection):
    """RFC 6455, as far as a test needs it."""

    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, port, path="/"):
        super().__init__(port)
        key = base64.b64encode(os.urandom(16))
        self.send(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.exactly(1)
        expect(head.startswith(b"HTTP/1.1 101 "), f"no upgrade: {head!r}")
        accept = base64.b64encode(
            hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        expect(accept in head, "a wrong Sec-WebSocket-Accept")

    def frame(self, opcode, payload=b"", fin=True):
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", size)
        masked = bytes(c ^ mask[i % 4] for i, c in enumerate(payload))
        self.send(bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked)

    def message(self, patience=PATIENCE):
        """Opcode and payload; the pieces of a message are put together."""
        first, whole = None, b""
        while True:
            a, b = self.exactly(2, patience)
            expect(not b & 0x80, "a server's frame is masked")
            size = b & 0x7F
            if size == 126:
                size, = struct.unpack(">H", self.exactly(2, patience))
            elif size == 127:
                size, = struct.unpack(">Q", self.exactly(8, patience))
            opcode = a & 0x0F
            payload = self.exactly(size, patience)
            if opcode >= 8:
                return opcode, payload
            first = opcode if opcode else first
            whole += payload
            if a & 0x80:
                return first, whole

    def echoes(self, text, patience=PATIENCE):
        self.frame(self.TEXT, text)
        got = self.message(patience)
        expect(got == (self.TEXT, text), f"{got!r} instead of {text!r}")

    def finish(self):
        self.frame(self.CLOSE, struct.pack(">H", 1000))
        opcode, _ = self.message()
        expect(opcode == self.CLOSE, "a close frame is not answered")
