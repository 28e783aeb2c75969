#!/usr/bin/env python3
#
# example/http_server/hostile_client.py
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
# Does to an HTTP server what the Internet does. Whatever that is, it wants a clear
# status or a clean close, and an answer to whoever asks after it.
#
# Usage: hostile_client.py PORT [--tls CERTIFICATE] [--pid PID]
#   --tls   the server speaks TLS, and has this certificate
#   --pid   the server's process, whose descriptors are counted
#
# The server is expected to have /hello, /api/echo, /api/status, /big.bin of some MiB
# that are too much for the system's buffers, a body limit of 1 MiB, a header limit of
# 8 KiB, and timeouts of a second or two. The status is 0 if every check has passed.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

import argparse
import contextlib
import json
import os
import socket
import ssl
import struct
import sys
import time

PATIENCE = 20  # seconds for anything to happen

arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("--tls")
arguments.add_argument("--pid", type=int)
arguments = arguments.parse_args()

passed = failed = 0


def check(what, good, but=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAIL  hostile: {what}: {but!r}", flush=True)


# --- a client -------------------------------------------------------------------------


def connect_plain():
    return socket.create_connection(("127.0.0.1", arguments.port), PATIENCE)


def connect():
    s = connect_plain()
    if arguments.tls:
        context = ssl.create_default_context(cafile=arguments.tls)
        s = context.wrap_socket(s, server_hostname="localhost")
    return s


def send(s, data):
    # The server may have said its last word before it has heard ours.
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        s.sendall(data)


# Until the server closes; None: it has reset the connection.
def receive_all(s):
    received = b""
    try:
        while part := s.recv(65536):
            received += part
    except (ConnectionError, ssl.SSLError):
        return received or None
    return received


# The statuses and bodies of the answers, and what is left that is none.
def answers_in(data, heads=()):
    found = []
    while data.startswith(b"HTTP/1."):
        header, there, data = data.partition(b"\r\n\r\n")
        if not there:
            return found, header
        status = int(header.split()[1])
        length = 0
        for line in header.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if status == 304 or len(found) in heads:
            length = 0
        if len(data) < length:
            return found, header + there + data
        found.append((status, data[:length]))
        data = data[length:]
    return found, data


# Sends it, half-closes if told to, and wants these statuses, and then the end. A set
# stands for any of its members.
def statuses(what, data, *wanted, half_close=False, heads=()):
    with connect() as s:
        send(s, data)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        try:
            received = receive_all(s)
        except TimeoutError:
            return check(what, False, "it hangs")
    if received is None:
        return check(what, wanted == () or not all(wanted), "reset")
    found, rest = answers_in(received, heads)
    fits = len(found) == len(wanted) and all(
        f[0] in (w if isinstance(w, set) else {w}) for f, w in zip(found, wanted))
    check(what, fits and not rest, ([f[0] for f in found], rest[:80]))
    return found


def request(target="/hello", *headers, method="GET", body=b"", close=True):
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines + ["", ""]).encode("latin-1") + body


def post(length, body, *headers):
    return request("/api/echo", f"Content-Length: {length}", *headers, method="POST", body=body)


def chunked(body, *headers):
    return request(
        "/api/echo", "Transfer-Encoding: chunked", *headers, method="POST", body=body)


def answers_others(what):
    try:
        with connect() as s:
            send(s, request())
            found, _ = answers_in(receive_all(s) or b"")
            check(f"after {what}: it answers", found == [(200, b"hello\n")], found)
    except OSError as e:
        check(f"after {what}: it answers", False, e)


def server_status():
    with connect() as s:
        send(s, request("/api/status"))
        found, _ = answers_in(receive_all(s))
        return json.loads(found[0][1])


# Within the time, the condition holds.
def comes_true(condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


# Whoever has asked for this is then the only one.
def only_this_connection():
    return server_status()["open"] == 1


# --- what is wrong with one request ------------------------------------------------------


def malformed():
    if not arguments.tls:
        statuses("nothing at all", b"", half_close=True)
        statuses("half a request line", b"GET /he", 400, half_close=True)
        statuses("half a header", b"GET / HTTP/1.1\r\nHost: loc", 400, half_close=True)
        statuses("half a body", post(100, b"x" * 50), 400, half_close=True)
        statuses("half a chunk", chunked(b"64\r\nxxx"), 400, half_close=True)
        statuses("a whole one, then a half-close", request(close=False), 200, half_close=True)
    statuses("bare line feeds", b"GET /hello HTTP/1.1\nHost: localhost\n\n", 400)
    statuses("a line feed in a field", request("/hello", "A: b\nC: d"), 400)
    statuses("a carriage return in a field", request("/hello", "A: b\rC: d"), 400)
    statuses("NUL in the method", b"G\0T /hello HTTP/1.1\r\n\r\n", 400)
    statuses("NUL in the target", request("/hel\0lo"), 400)
    statuses("NUL in a field's name", request("/hello", "A\0: b"), 400)
    statuses("NUL in a field's value", request("/hello", "A: \0"), 400)
    statuses("nothing but NUL", b"\0" * 5000, 400)
    statuses("all bytes", bytes(range(256)) * 100, 400)
    statuses("no method", b" /hello HTTP/1.1\r\n\r\n", 400)
    statuses("no target", b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)
    statuses("a space in the target", request("/hel lo"), 400)
    statuses("HTTP/0.9", b"GET /hello\r\n\r\n", 400)
    statuses("HTTP/1.2", b"GET /hello HTTP/1.2\r\nHost: localhost\r\n\r\n", {400, 505})
    statuses("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505})
    statuses("HTTP/1.0", b"GET /hello HTTP/1.0\r\n\r\n", 200)
    statuses("no host", b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n", 400)
    statuses("two hosts", request("/hello", "Host: elsewhere"), 400)
    statuses("an unknown method", request(method="BREW"), 501)
    statuses("a method in lower case", request(method="get"), 501)
    statuses("a method too many", request(method="DELETE"), 405)
    statuses("no colon", request("/hello", "Colon"), 400)
    statuses("a space before the colon", request("/hello", "A : b"), 400)
    statuses("a field without a name", request("/hello", ": b"), 400)
    statuses("a folded field", request("/hello", "A: b", " c"), {200, 400})
    statuses("an empty line first", b"\r\n" + request(), {200, 400})
    statuses("the target of a proxy", request("http://localhost/hello"), 200)
    statuses("the target of a tunnel", request("localhost:80", method="CONNECT"), {400, 405})
    statuses("an asterisk", request("*", method="OPTIONS"), {204, 400, 405})
    answers_others("malformed requests")


def lengths():
    same = "Content-Length: 5"
    statuses("a length", post(5, b"hello"), 200)
    statuses("a negative length", post(-5, b"hello"), 400)
    statuses("a length with a plus", post("+5", b"hello"), 400)
    statuses("a length in hexadecimal", post("0x5", b"hello"), 400)
    statuses("a length of nothing", post("", b"hello"), 400)
    statuses("a length of words", post("five", b"hello"), 400)
    statuses("two lengths in one", post("5, 6", b"hello"), 400)
    statuses("two lengths", post(6, b"hello!", same), 400)
    statuses("one length twice", post(5, b"hello", same), {200, 400})
    statuses("a length of 2^63", post(2**63, b"hello"), {400, 413})
    statuses("a length of 2^64", post(2**64, b"hello"), {400, 413})
    statuses("a length of 2^64 + 5", post(2**64 + 5, b"hello"), {400, 413})
    statuses("a length with 5000 digits", post("9" * 5000, b"hello"), {400, 413})
    statuses("a byte more than the limit", post(2**20 + 1, b"x" * (2**20 + 1)), 413)
    statuses("a length and chunks", chunked(b"5\r\nhello\r\n0\r\n\r\n", same), 400)
    statuses("a body that is not expected", request("/hello", same, body=b"hello"), {200, 400})
    full = statuses("as much as the limit", post(2**20, b"x" * 2**20), 200)
    check("all of that comes back", full and len(full[0][1]) == 2**20)
    # What comes after a body is another request, and what is inside of it is none.
    smuggled = request("/smuggled")
    found = statuses("a request in a body", post(len(smuggled), smuggled), 200)
    check("and it is but a body", found and found[0][1] == smuggled)
    answers_others("strange lengths")


def chunks():
    statuses("chunks", chunked(b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), 200)
    statuses("a chunk's extension", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), 200)
    statuses("a trailer", chunked(b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"), {200, 400})
    for size in "zz", "-5", "+5", "0x5", "5 5", "", "f" * 17, "f" * 5000:
        statuses(f"a chunk of {size[:20]}", chunked(size.encode() + b"\r\nhello\r\n"),
                 {400, 408, 413})
    statuses("a chunk of 2^60", chunked(b"1" + b"0" * 15 + b"\r\nhello"), {400, 413})
    statuses("a chunk that is longer than it says", chunked(b"5\r\nhello!\r\n0\r\n\r\n"), 400)
    statuses("chunks with bare line feeds", chunked(b"5\nhello\n0\n\n"), {400, 408})
    statuses("an endless extension", chunked(b"5;" + b"a" * 100000), {400, 408, 413, 431})
    statuses("chunks without end", chunked(b"1000\r\n" + b"x" * 4096 + b"\r\n" + (
        b"1000\r\n" + b"x" * 4096 + b"\r\n") * 300), 413)
    statuses("tiny chunks without end", chunked(b"1\r\nx\r\n" * 300000), {408, 413})
    for coding in ("xchunked", "chunked, identity", "gzip", "identity", "chunked, gzip",
                   "gzip, chunked", "chunked\r\nTransfer-Encoding: identity",
                   "identity\r\nTransfer-Encoding: chunked"):
        statuses(f"the coding {coding!r}", request(
            "/api/echo", f"Transfer-Encoding: {coding}", method="POST",
            body=b"5\r\nhello\r\n0\r\n\r\n"), {400, 501})
    statuses("chunks in HTTP/1.0", b"POST /api/echo HTTP/1.0\r\nTransfer-Encoding: chunked"
             b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", {400, 501})
    answers_others("strange chunks")


def too_large():
    statuses("a target of 100 KB", request("/" + "a" * 100000), {414, 431})
    statuses("a method of 100 KB", request(method="A" * 100000), {400, 431})
    statuses("a field of 100 KB", request("/hello", "A: " + "b" * 100000), 431)
    statuses("a field's name of 100 KB", request("/hello", "a" * 100000 + ": b"), 431)
    statuses("20 000 fields", request("/hello", *["A: b"] * 20000), 431)
    statuses("1 MB without a line's end", b"A" * 1000000, {400, 431})
    answers_others("what is too large")


def traversals():
    for target in (
        "/../../../../../../etc/passwd", "/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5c..%5cetc%5cpasswd",
        "/%252e%252e/%252e%252e/etc/passwd", "//etc/passwd", "/./../../../etc/passwd",
        "/%2fetc%2fpasswd", "/..;/..;/etc/passwd", "/index.html/../../../../etc/passwd",
        "/.../...//.../etc/passwd", "/\\..\\..\\etc\\passwd", "/%c0%ae%c0%ae/etc/passwd",
        "/link", "/folder/passwd", "/etc/passwd%00.html", "http://localhost/../../etc/passwd",
        "/%", "/%4", "/%zz", "/pipe",
    ):
        statuses(f"the file {target}", request(target), {400, 403, 404})
    answers_others("paths that lead out")


def pipelines():
    many = request(close=False) * 200 + request()
    statuses("201 requests at once", many, *[200] * 201)
    mixed = (request("/nothing", close=False) + post(5, b"hello").replace(
        b"Connection: close\r\n", b"") + request(method="HEAD", close=False) + request())
    statuses("four kinds at once", mixed, 404, 200, 200, 200, heads={2})
    statuses("a request, and what is none", request(close=False) + b"\0\0\0\r\n\r\n", 200, 400)
    statuses("a last one, and more", request() * 1000, 200)
    if not arguments.tls:
        statuses("three, then a half-close", request(close=False) * 3, 200, 200, 200,
                 half_close=True)
    # The client never reads what it has asked for.
    with connect() as s:
        s.settimeout(0.2)
        with contextlib.suppress(OSError):
            for _ in range(2000):
                s.sendall(request("/index.html", close=False) * 100)
    check("answers that nobody reads: it lets go", comes_true(only_this_connection))
    answers_others("pipelines")


# --- what is wrong with the connection ------------------------------------------------------


# A close that sends RST.
def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def resets():
    for data in (b"", b"GET", request(close=False), post(1000000, b"x" * 5000),
                 chunked(b"1000\r\nxxxx"), request("/big.bin", close=False)):
        for _ in range(10):
            s = connect()
            send(s, data)
            reset(s)
    answers_others("resets")
    for _ in range(10):  # amidst what comes
        s = connect()
        send(s, request("/big.bin"))
        s.recv(1000)
        reset(s)
    answers_others("resets amidst an answer")
    check("resets: it lets go", comes_true(only_this_connection))


def drops():
    for _ in range(5):
        crowd = [connect_plain() for _ in range(200)]
        for s in crowd[::2]:
            with contextlib.suppress(ConnectionError):
                s.sendall(request("/big.bin", close=False))
        for s in crowd:
            s.close()
    check("1000 connections dropped: it lets go", comes_true(only_this_connection))
    answers_others("1000 connections dropped")


# Each sends a byte of it now and then, until the server has had enough.
def drip(what, data, forever, wanted, n=20):
    crowd = [connect() for _ in range(n)]
    for s in crowd:
        send(s, data)
    waiting, ends = list(crowd), []
    end = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < end:
        for s in list(waiting):
            s.settimeout(0.001)
            received = b""
            try:
                while part := s.recv(65536):
                    received += part
            except (TimeoutError, ssl.SSLWantReadError):
                if received == b"":
                    send(s, forever)
                    continue
            except (ConnectionError, ssl.SSLError):
                pass
            found, _ = answers_in(received)
            ends.append([f[0] for f in found])
            waiting.remove(s)
        answers_others(what)
    for s in crowd:
        s.close()
    check(f"{what}: all are told or let go", not waiting, len(waiting))
    check(f"{what}: a clear status, or none", all(e in ([], [wanted]) for e in ends), ends)


def slow():
    drip("slow headers", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n", 408)
    drip("slow request lines", b"GET /", b"a", 408)
    drip("slow bodies", post(100000, b""), b"x", 408)
    drip("slow chunks", chunked(b""), b"1\r\nx\r\n", 408)
    drip("the same answer asked for", b"", b"", 408, n=5)
    with connect() as s:  # reads nothing
        send(s, request("/big.bin"))
        check("a slow reader: it lets go", comes_true(only_this_connection))
        found, rest = answers_in(receive_all(s) or b"")
        check("a slow reader: it was cut", not found, rest[:80])
    with connect() as s:  # says nothing more
        send(s, request(close=False))
        found, rest = answers_in(receive_all(s) or b"")
        check("an idle client: it lets go", [f[0] for f in found] == [200] and not rest, rest)


def not_tls():
    for what, data in (
        ("plain HTTP", request()),
        ("nothing but NUL", b"\0" * 1000),
        ("a record that is too long", b"\x16\x03\x01\xff\xff" + b"\x01" * 70000),
        ("a record without end", b"\x16\x03\x01\x40\x00\x01"),
        ("a record of an unknown kind", b"\x99\x03\x03\x00\x05hello"),
        ("data before the handshake", b"\x17\x03\x03\x00\x05hello"),
        ("random bytes", os.urandom(3000)),
    ):
        with connect_plain() as s:
            send(s, data)
            try:
                received = receive_all(s) or b""
                check(f"{what}, to TLS", not received.startswith(b"HTTP/1.1 2"), received[:80])
            except TimeoutError:
                check(f"{what}, to TLS", False, "it hangs")
    with connect_plain() as s:  # says nothing
        check("a handshake that does not come", receive_all(s) == b"")
    with connect() as s:  # garbage in the middle of a connection
        send(s, request(close=False))
        raw = socket.socket(fileno=os.dup(s.fileno()))
        raw.sendall(os.urandom(500))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while s.recv(65536):
                pass
        raw.close()
    check("garbage within TLS: it lets go", comes_true(only_this_connection))
    answers_others("what is not TLS")


def tls_to_plain():
    statuses("TLS, to plain HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400)


def descriptors():
    return len(os.listdir(f"/proc/{arguments.pid}/fd"))


answers_others("nothing")
before = descriptors() if arguments.pid else None
for attack in (malformed, lengths, chunks, too_large, traversals, pipelines, resets, drops, slow,
               not_tls if arguments.tls else tls_to_plain):
    attack()
if arguments.pid:
    check("no descriptor is left", comes_true(lambda: descriptors() <= before), descriptors())
print(f"hostile: {passed} passed, {failed} failed")
sys.exit(0 if failed == 0 and passed > 100 else 1)
