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

import concurrent.futures
import contextlib
import os
import select
import ssl

from clients import *

KEEPS, GAINS, NOW = {}, {}, {}


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


def now(*programs):
    """It holds after; what was before is nobody's business."""
    return of(NOW, *programs)


# --- Echo ---------------------------------------------------------------------------

ECHO = ["asio_echo_async", "asio_echo_blocking", "asio_spawn_echo"]


@keeps(*ECHO)
def echoes_what_it_gets(server):
    with server.connect() as c:
        for size in 1, 100, 1024, 20000:
            data = os.urandom(size)
            answers(c, data, data)


@keeps(*ECHO)
def serves_fifty_while_fifty_say_nothing(server):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(50)]
        busy = [stack.enter_context(server.connect()) for _ in range(50)]
        for c in busy + silent:
            answers(c, b"hello", b"hello")
        if server.side == "after":
            expect(server.threads() == 1, f"{server.threads()} threads")


@keeps(*ECHO)
def hangs_up_when_the_client_does(server):
    with server.connect() as c:
        answers(c, b"bye", b"bye")
        c.end()
        expect(c.all() == b"", "more than the echo")


@gains("asio_echo_blocking", "beast_http_sync", "beast_websocket_sync")
def takes_no_thread_for_a_connection(server):
    put_files(server)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            if server.program.name == "beast_websocket_sync":
                stack.enter_context(WebSocket(server.port)).echoes(b"hello")
            elif server.program.name == "beast_http_sync":
                c = stack.enter_context(server.connect())
                c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                until(lambda: c.line() == b"\r\n", "the end of the head")
            else:
                answers(stack.enter_context(server.connect()), b"hello", b"hello")
        expect(server.threads() < 10, f"{server.threads()} threads for 50 connections")


@keeps("asio_spawn_echo")
def hangs_up_on_silence(server):
    with server.connect() as silent, server.connect() as busy:
        for _ in range(12):  # longer than the limit, in all
            answers(busy, b"hello", b"hello")
            time.sleep(0.5)
        expect(silent.all() == b"", "more than the end")


@keeps("asio_echo_udp")
def answers_datagrams(server):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(20)]
        for s in sockets:
            s.connect(("127.0.0.1", server.port))
            s.settimeout(0.2)

        def asks(s, data):
            with contextlib.suppress(OSError):  # not yet there, or lost
                s.send(data)
                return s.recv(2000) == data

        until(lambda: asks(sockets[0], b"there?"), "the server to answer")
        for i, s in enumerate(sockets):
            data = b"%d " % i + os.urandom(900)
            until(lambda: asks(s, data), f"datagram {i}")


# --- HTTP ---------------------------------------------------------------------------

# Of Asio's and of Beast's.
ASIO = ["asio_http_server", "asio_http_server2", "asio_http_server3", "asio_http_server4"]
BEAST = ["beast_http_async", "beast_advanced", "beast_http_sync"]
HTTP = ASIO + BEAST


def put_files(server):
    (server.root / "index.html").write_text("<p>index</p>")
    (server.root / "big.txt").write_bytes(b"0123456789abcdef" * 20000)


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


@keeps(*HTTP)
def ends_by_a_signal(server):
    put_files(server)
    with server.connect() as c:  # a request has begun
        c.send(b"GET ")
        expect(http_get(server.port, "/")[0] == 200, "another client")
        how = server.stop()
        untold = server.program.name.startswith("beast_http")  # they do not ask for it
        expect(how == (-signal.SIGTERM if untold else 0),
               f"it ended with {how}")


def ask_for_the_index(c, pipelined):
    c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * pipelined)
    for _ in range(pipelined):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += c.exactly(1)
        expect(head.startswith(b"HTTP/1.1 200 "), head)
        expect(c.exactly(12) == b"<p>index</p>", "the index")


@keeps(*BEAST)
def keeps_connections_alive(server):
    put_files(server)
    with server.connect() as c:
        for _ in range(5):
            ask_for_the_index(c, 1)
        c.send(b"nonsense\r\n\r\n")
        c.ends()


# Beast's own advanced server, as of 1.81, reads while it reads when its queue is full.
@keeps("beast_http_async", "beast_http_sync")
@now("beast_advanced")
def answers_requests_that_come_at_once(server):
    put_files(server)
    with server.connect() as c:
        for pipelined in 3, 20:
            ask_for_the_index(c, pipelined)


def write_to_fifo(path, data):
    """Once somebody reads it, or waits to."""
    def opened():
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    fd = until(opened, "the server to open the slow file")
    os.write(fd, data)
    os.close(fd)


@keeps("beast_http_sync")
@gains(*ASIO, "beast_http_async", "beast_advanced")
def serves_others_while_files_are_slow(server):
    put_files(server)
    # As many as the server has threads to read files with, were they not in fibers.
    paths = [server.root / f"slow{i}.txt"
             for i in range({"asio_http_server3": 2}.get(server.program.name, 1))]
    with contextlib.ExitStack() as stack:
        slow = []
        for path in paths:
            os.mkfifo(path)
            slow.append(stack.enter_context(server.connect()))
            slow[-1].send(b"GET /" + path.name.encode() + b" HTTP/1.0\r\n\r\n")
            until(slow[-1].is_read, "the server to read the request")
        for _ in range(3):
            expect(http_get(server.port, "/", server.soon)[0] == 200, "a quick file meanwhile")
        for path, c in zip(paths, slow):
            write_to_fifo(path, b"at last")
            got = c.all()
            # To Beast a pipe is no file, once it is open.
            expect(b" 500 " in got if server.program.name in BEAST else
                   b" 200 " in got and got.endswith(b"\r\n\r\nat last"),
                   f"the slow file was {got}")


# --- WebSocket ------------------------------------------------------------------------


@keeps("beast_advanced", "beast_websocket_sync")
def echoes_messages(server):
    with WebSocket(server.port) as idle, WebSocket(server.port) as w:
        for size in 0, 1, 125, 126, 70000:
            w.echoes(b"x" * size)
        w.frame(w.PING, b"are you there")
        expect(w.message() == (w.PONG, b"are you there"), "no pong")
        w.frame(w.TEXT, b"in ", fin=False)
        w.frame(0, b"pieces")
        expect(w.message() == (w.TEXT, b"in pieces"), "not what was sent in pieces")
        w.finish()
        idle.echoes(b"still there")


@keeps("websocketpp")
def echoes_messages_and_files(server):
    (server.root / "file").write_text("what is in it")
    with WebSocket(server.port) as idle, WebSocket(server.port) as w:
        for size in 1, 125, 126, 70000:
            w.echoes(b"x" * size)
        w.frame(w.TEXT, b"@" + bytes(server.root / "file"))
        expect(w.message() == (w.TEXT, b"what is in it"), "not the file")
        w.finish()
        idle.echoes(b"still there")


@gains("websocketpp")
def answers_others_while_a_file_is_slow(server):
    path = server.root / "slow"
    os.mkfifo(path)
    with WebSocket(server.port) as slow, WebSocket(server.port) as quick:
        slow.frame(slow.TEXT, b"@" + bytes(path))
        until(slow.is_read, "the server to read the message")
        for _ in range(3):
            quick.echoes(b"a quick one", server.soon)
        write_to_fifo(path, b"at last")
        expect(slow.message() == (slow.TEXT, b"at last"), "not the slow file")


# --- Chat -----------------------------------------------------------------------------


def chat_message(text):
    return b"%4d%s" % (len(text), text)


@keeps("asio_chat")
def passes_lines_on(server):
    # Asio's own client, and one of ours.
    with server.client("127.0.0.1", str(server.port)) as ann, server.connect() as bob:
        ann.say("hello")
        expect(bob.exactly(9) == b"   5hello", "what ann said")
        bob.send(chat_message(b"hi, ann"))
        ann.hears("hi, ann")
        expect(bob.exactly(11) == chat_message(b"hi, ann"), "what bob said")
        with server.connect() as late:
            expect(late.exactly(9) == b"   5hello", "what was said before")


@gains("asio_chat")
def lets_go_who_does_not_read(server):
    many, text = 20000, chat_message(b"." * 512)
    with server.connect(receive_buffer=4096) as slow, server.connect() as loud:
        slow.send(chat_message(b"here I am"))
        expect(loud.exactly(13) == chat_message(b"here I am"), "what slow said")
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            read = other.submit(loud.exactly, many * len(text))
            for _ in range(many // 100):
                loud.send(text * 100)
            read.result()
        # It is behind by more than the kernel holds for it. It may read on to the
        # end of that, but not to the end of all.
        got = slow.all(server.soon)
        expect(len(got) < many * len(text), "it got everything")


@keeps("asio_coroutine_chat")
def passes_text_on(server):
    with server.connect() as ann, server.connect() as bob:
        ann.send(b"hello\nworld\n")
        for c in ann, bob:
            expect(c.line() + c.line() == b"hello\nworld\n", "what ann said")
        bob.send(b"in pie")
        expect(ann.silent(0.2), "half a line was passed on")
        bob.send(b"ces\n")
        expect(ann.line() == b"in pieces\n", "what bob said")
        with server.connect() as late:
            expect(late.line() == b"hello\n", "what was said before")
        bob.send(b"x" * 5000)
        bob.ends()  # too long for a line
        ann.send(b"who is there?\n")
        expect(ann.line() == b"who is there?\n", "the server's next line")
    expect(server.stop() == 0, "it did not end well")


@keeps("asio_timeouts")
def passes_on_what_comes_in_time(server):
    with server.connect() as ann, server.connect() as bob:
        for c in ann, bob:
            answers(c, b"\n", b"\n")  # so both are there
        for i in range(12):  # longer than the limit, in all
            ann.send(b"line %d\n" % i)
            for c in ann, bob:
                expect(c.line() == b"line %d\n" % i, "what ann said")
            bob.send(b"\n")
            expect(bob.line() == b"\n", "the heartbeat")
            time.sleep(0.5)


@keeps("asio_timeouts")
def hangs_up_on_who_says_nothing(server):
    with server.connect() as c:
        start = time.monotonic()
        expect(c.all() == b"", "more than the end")
        expect(time.monotonic() - start > 4, "too soon")


# --- The others -----------------------------------------------------------------------


@keeps("asio_ssl")
def echoes_over_tls(server):
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_ciphers("DEFAULT:@SECLEVEL=0")
    with server.connect(), contextlib.ExitStack() as stack:  # the first one does not shake hands
        both = [stack.enter_context(trusting.wrap_socket(
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))))
            for _ in range(2)]
        for c in both:
            for data in b"hello", os.urandom(50000):
                c.sendall(data)
                got = b""
                while len(got) < len(data):
                    more = c.recv(65536)
                    expect(more, "the end")
                    got += more
                expect(got == data, "another echo")


@keeps("asio_ssl")
def talks_to_openssl_and_to_its_own_client(server):
    openssl = subprocess.Popen(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        openssl.stdin.write(b"hello, tls\n")
        openssl.stdin.flush()
        until(lambda: select.select([openssl.stdout], [], [], 0)[0], "openssl to say something")
        expect(openssl.stdout.readline() == b"hello, tls\n", "another line")
    finally:
        openssl.kill()
        openssl.communicate()
    # Whether its certificate is still good is for the client to say.
    own = subprocess.run(
        [str(server.program.client()), "127.0.0.1", str(server.port)], input=b"hello\n",
        cwd=server.program.work / "before", capture_output=True, timeout=PATIENCE)
    expect(b"Verifying" in own.stdout, f"Asio's client says {own.stdout!r}")


@gains("asio_ssl")
def lets_go_who_does_not_shake_hands(server):
    with server.connect() as c:
        expect(c.all(max(server.soon, 5)) == b"", "more than the end")


@keeps("asio_porthopper")
def sends_frames_where_it_is_told(server):
    def listener():
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        s.settimeout(PATIENCE)
        return s

    def request(old, new):
        return b"%4x%4x" % (old, new)

    def number(s):
        data = s.recv(100)
        expect(len(data) == 40, f"a frame of {len(data)} bytes")
        return int(data[:8], 16)

    with contextlib.ExitStack() as stack:
        first, second, other = (stack.enter_context(listener()) for _ in range(3))
        ports = [s.getsockname()[1] for s in (first, second, other)]
        ann, bob = (stack.enter_context(server.connect()) for _ in range(2))
        ann.send(request(0, ports[0]))
        bob.send(request(0, ports[2]))
        for s in first, other:
            n = number(s)
            expect(number(s) > n, "frames that go back")
        # While this one is delayed, frames go on.
        ann.send(request(ports[0], ports[1]))
        n = number(first)
        expect(number(first) > n, "frames that go back")
        n = number(second)
        until(lambda: number(other) > n, "frames for those who have not moved")


@keeps("asio_timer5")
def counts_to_ten(server):
    expect(server.process.wait(PATIENCE) == 0, "it failed")
    server.stopped = True
    lines = server.said().splitlines()
    expect(lines[-1] == "Final count is 10", server.said())
    expect([line.split()[2] for line in lines[:-1]] == [str(i) for i in range(10)], lines)
    expect({line.split()[1] for line in lines[:-1]} == {"1:", "2:"}, lines)


@keeps("asio_daytime3")
def tells_the_time(server):
    with server.connect() as c, server.connect() as d:
        for got in d.all(), c.all():
            expect(time.strptime(got.decode().strip()), "no time")
