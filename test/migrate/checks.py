#
# migrate/checks.py
# ~~~~~~~~~~~~~~~~~
# What is asked of each program. What it KEEPS holds before and after; what it
# GAINS holds after, and not before: so each of those checks is known to be able
# to fail.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import contextlib
import os
import threading

from clients import *

KEEPS, GAINS = {}, {}


def of(table, *programs):
    def add(check):
        for p in programs:
            table.setdefault(p, []).append(check)
        return check
    return add


def keeps(*programs):
    return of(KEEPS, *programs)


def gains(*programs):
    return of(GAINS, *programs)


# --- Echo ---------------------------------------------------------------------------

ECHO = ["asio_echo_async"]


@keeps(*ECHO)
def echoes_what_it_gets(server):
    with server.connect() as c:
        for size in 1, 100, 1024, 5000:
            data = os.urandom(size)
            answers(c, data, data)


@keeps(*ECHO)
def serves_fifty_while_fifty_say_nothing(server):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(50)]
        busy = [stack.enter_context(server.connect()) for _ in range(50)]
        for c in busy + silent:
            answers(c, b"hello", b"hello")


@keeps(*ECHO)
def hangs_up_when_the_client_does(server):
    with server.connect() as c:
        answers(c, b"bye", b"bye")
        c.end()
        expect(c.all() == b"", "more than the echo")


# --- HTTP ---------------------------------------------------------------------------

HTTP = ["asio_http_server"]


def put_files(server):
    (server.root / "index.html").write_text("<p>index</p>")
    (server.root / "big.txt").write_bytes(b"0123456789abcdef" * 20000)
    fifo = server.root / "slow.txt"
    if not fifo.exists():
        os.mkfifo(fifo)


@keeps(*HTTP)
def serves_files(server):
    put_files(server)
    expect(http_get(server.port, "/") == (200, b"<p>index</p>"), "the index")
    status, body = http_get(server.port, "/big.txt")
    expect((status, body) == (200, b"0123456789abcdef" * 20000), "a large file")
    expect(http_get(server.port, "/none.txt")[0] == 404, "a file that is not there")
    expect(http_get(server.port, "/../etc/passwd")[0] == 400, "a path that leads out")


@keeps(*HTTP)
def waits_for_the_rest_of_a_request(server):
    put_files(server)
    with server.connect() as c:
        c.send(b"GET / HT")
        expect(http_get(server.port, "/")[0] == 200, "another client meanwhile")
        c.send(b"TP/1.0\r\n\r\n")
        expect(c.all().endswith(b"<p>index</p>"), "the index")


@contextlib.contextmanager
def slow_file(server, path="/slow.txt"):
    """A client waits for a file that nobody writes yet; then it gets that."""
    put_files(server)
    got = []

    def ask():
        try:
            got.append(http_get(server.port, path))
        except Failed as e:
            got.append(e)

    writer = []

    def opened():
        # Fails unless somebody reads it, or waits to.
        with contextlib.suppress(OSError):
            writer.append(os.open(server.root / "slow.txt", os.O_WRONLY | os.O_NONBLOCK))
        return writer

    client = threading.Thread(target=ask)
    client.start()
    try:
        until(opened, "the server to open the slow file")
        yield
    finally:
        if writer:
            os.write(writer[0], b"at last")
            os.close(writer[0])
        client.join()
    expect(got == [(200, b"at last")], f"the slow file was {got}")


@gains(*HTTP)
def serves_others_while_a_file_is_slow(server):
    with slow_file(server):
        for _ in range(3):
            expect(http_get(server.port, "/", SILENCE)[0] == 200, "a quick file meanwhile")
