"""The benchmarks' own arithmetic, and their load generator against a small server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.client import Broken, whole
from benchmarks.load import figures_of, percentile, request_bytes, run
from benchmarks.report import Options, median, ratio
from benchmarks.servers import NAMES, threads_for
from benchmarks.serving import options_from
from benchmarks.table import rows_lines

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def say(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: str) -> None:
    handler.send_response(code)
    for name, value in (headers or {"Content-Length": str(len(body))}).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """The port of a server that answers each POST with `answer(handler, body)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_answer_is_counted_and_the_request_is_the_one_that_was_given() -> None:
    seen: list[tuple[str, str | None, bytes]] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((handler.path, handler.headers["X-Mine"], body))
        say(handler, 200, b"x" * 300_000)

    with serving(answer) as port:
        figures = run(port, "/there?a=b", b"rows", {"X-Mine": "yes"}, 2, 0.2)
    assert figures.requests == len(seen) > 2
    assert set(seen) == {("/there?a=b", "yes", b"rows")}
    assert 0 < figures.p50 <= figures.p99
    # Each of two clients was nearly always waiting for an answer, and nothing began after the time was over.
    assert figures.requests / figures.rate >= 0.19
    assert figures.client_us > 0


def test_a_body_larger_than_the_sockets_take_at_once_arrives_in_whole() -> None:
    sizes: list[int] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        sizes.append(len(body))
        say(handler, 200, b"ok")

    with serving(answer) as port:
        assert run(port, "/", b"r" * 20_000_000, {}, 1, 0.01).requests == len(sizes)
    assert set(sizes) == {20_000_000}


def test_as_many_connections_as_asked_for_are_inside_at_once() -> None:
    # Nobody is answered before seven are inside: fewer connections would break the barrier.
    barrier = threading.Barrier(7, timeout=10)
    clients: set[Any] = set()

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        clients.add(handler.client_address)
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            say(handler, 500, b"not all came")
        else:
            say(handler, 200, b"ok")

    with serving(answer) as port:
        # No second round: each is answered after the time is over.
        figures = run(port, "/", b"row", {}, 7, 1e-9)
    assert figures.requests == len(clients) == 7


def test_one_connection_that_a_server_closes_once_it_has_nothing_more_to_ask_is_no_failure() -> None:
    closed = threading.Event()
    first = threading.Lock()

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if first.acquire(blocking=False):
            handler.close_connection = True
            say(handler, 200, b"ok")
            handler.connection.shutdown(socket.SHUT_WR)
            closed.set()
        else:
            assert closed.wait(10)
            say(handler, 200, b"ok")

    with serving(answer) as port:
        assert run(port, "/", b"row", {}, 2, 1e-9).requests == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda handler, _: say(handler, 503, b"too much is under way"), "503 .*too much is under way"),
        (lambda handler, _: say(handler, 200, b"2\r\nok\r\n0\r\n\r\n", Transfer_Encoding="chunked"), "Content-Length"),
        (lambda handler, _: handler.connection.shutdown(2), "closed the connection"),
    ],
)
def test_what_is_no_plain_200_raises_and_says_so(answer: Answer, message: str) -> None:
    with serving(answer) as port, pytest.raises(RuntimeError, match=message):
        run(port, "/predict", b"row", {}, 3, 5)


def test_a_port_without_a_server_raises() -> None:
    with ExitStack() as stack:
        port = stack.enter_context(serving(lambda handler, _: say(handler, 200, b"")))
    with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
        run(port, "/", b"row", {}, 1, 5)


def test_an_answer_is_whole_where_its_length_says_so() -> None:
    head = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5\r\nDate: now\r\n\r\n"
    assert whole(head) == whole(head + b"hel") == whole(head + b"hello") == len(head) + 5
    assert whole(head[:-2]) == 0
    for wrong in (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"):
        with pytest.raises(Broken):
            whole(wrong)


def test_a_request_is_built_once_in_whole() -> None:
    built = request_bytes("/p", b"body", {"A": "1"})
    assert built == b"POST /p HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nA: 1\r\n\r\nbody"


def test_rate_and_percentiles() -> None:
    figures = figures_of([number / 1000 for number in range(200, 0, -1)], took=4.0, cpu=0.02)
    assert (figures.rate, figures.requests) == (50.0, 200)
    assert figures.p50 == pytest.approx(100.5)
    assert figures.p99 == pytest.approx(198)
    assert figures.client_us == pytest.approx(100)
    assert [percentile([1.0], 99), percentile([1.0, 2.0], 50), percentile([1.0, 2.0], 51)] == [1.0, 1.0, 2.0]


def measured(name: str, *rates: float, connections: int = 1) -> list[dict[str, Any]]:
    return [{"run": run, "name": name, "connections": connections, "rate": rate} for run, rate in enumerate(rates)]


def test_medians_are_of_what_was_selected() -> None:
    found = measured("a", 3, 1, 2) + measured("a", 30, 10, 20, connections=32) + measured("b", 9, 9, 9)
    assert median(found, "rate", name="a", connections=32) == 20
    with pytest.raises(ValueError, match="nothing was measured"):
        median(found, "rate", name="c")


def test_a_ratio_is_taken_within_each_run() -> None:
    # The machine was half as quick in the second run, for both; the ratio does not see it.
    found = measured("a", 20, 10, 24) + measured("b", 10, 5, 8)
    of = ratio(found, "rate", {"name": "a"}, {"name": "b"})
    assert (of.median, of.least, of.most) == (2, 2, 3)
    assert str(of) == "2.00 (2.00 to 3.00)"
    with pytest.raises(ValueError, match="same runs"):
        ratio(measured("a", 1, 2) + measured("b", 1), "rate", {"name": "a"}, {"name": "b"})


def test_the_table_has_a_line_for_each_alternative_and_number_of_connections() -> None:
    options = Options(seconds=1, connections=(1, 32), runs=3)
    figures = {"p50": 1.0, "p99": 2.0, "client_us": 3.0}
    found = [
        {**one, **figures}
        for name in NAMES
        for connections in options.connections
        for one in measured(name, 1000.4, 1234.6, 2000, connections=connections)
    ]
    lines = rows_lines(found, options)
    assert len(lines) == 1 + len(NAMES) * 2
    assert lines[1].split()[-5:] == ["1", "1,235", "1.00", "2.00", "3"]


def test_no_connection_is_refused_for_want_of_threads() -> None:
    assert threads_for((1, 32)) == 64  # the default, as it comes
    assert threads_for((1, 64)) == 72


def test_options() -> None:
    options, target = options_from(["--connections", "1", "8", "8", "--runs", "2"])
    assert (options.connections, options.runs, options.seconds, target) == ((1, 8), 2, 5.0, None)
    with pytest.raises(SystemExit):
        options_from(["--runs", "0"])


def test_refusals_are_counted_apart_where_they_are_expected() -> None:
    lock, answers = threading.Lock(), {200: 0, 503: 0}

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with lock:
            code = 200 if sum(answers.values()) % 3 == 0 else 503
            answers[code] += 1
        say(handler, code, b"ok")

    with serving(answer) as port:
        figures = run(port, "/", b"row", {}, 2, 0.2, refusals=True)
    assert figures.requests == answers[200] > 0
    assert round(figures.refused_rate * figures.requests / figures.rate) == answers[503] > 0
    assert figures.refused_p99 > 0


def test_at_a_rate_requests_are_sent_whether_or_not_those_before_are_answered() -> None:
    # The first is not answered before the fifth has come.
    came, enough = threading.Semaphore(0), 4

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if body and not first.acquire(blocking=False):
            came.release()
        elif not all(came.acquire(timeout=10) for _ in range(enough)):
            say(handler, 500, b"nobody else came")
            return
        say(handler, 200, b"ok")

    first = threading.Lock()
    with serving(answer) as port:
        figures = run(port, "/", b"row", {}, 3, 0.2, rate=50)
    assert figures.requests == 10
    assert figures.p99 >= 60 > figures.p50


def test_where_no_connection_is_free_the_time_of_a_request_runs_from_its_moment() -> None:
    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        threading.Event().wait(0.02)
        say(handler, 200, b"ok")

    with serving(answer) as port:
        figures = run(port, "/", b"row", {}, 1, 0.1, rate=100)
    # Ten, 10 ms apart, of which each takes 20: the last is 90 ms late and more.
    assert figures.requests == 10
    assert figures.p99 >= 100
