"""The load generator's own process: one thread, epoll and raw sockets; it sends one request over and over.

Either a closed loop, where each connection sends its next request when its last was answered, or an open one, where
requests are sent at a rate, whatever becomes of those before.

Reads a line of JSON and then the request's bytes from standard input; writes a line of JSON and then the time of every
answer and of every refusal, in seconds as doubles. Only the standard library's quick parts are imported, so that it
starts at once.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator

#: Nothing that is measured here takes this long for one answer.
SILENCE = 120.0
#: Bytes that are read at once. Python makes room for all of them, and has to ask the system for more than this.
MOST = 1 << 16
OK = b"HTTP/1.1 200 "
REFUSED = b"HTTP/1.1 503 "
END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"

#: Seconds of the answers, and of the refusals.
Took = tuple["array[float]", "array[float]"]


class Broken(Exception):
    """An answer that is not 200, or not of the one form that is read here; the message is for a person."""


def whole(data: bytes) -> int:
    """How many bytes the answer that `data` begins with has, head and body; 0 where the head is not all there yet."""
    at = data.find(END)
    if at < 0:
        if len(data) > 1 << 16:
            raise Broken(f"an answer's head has no end: {data[:200]!r}")
        return 0
    head = data[: at + 2].lower()
    found = head.find(LENGTH)
    if found < 0 or not head.startswith(b"http/1.1 "):
        raise Broken(f"what is not HTTP/1.1 with Content-Length (chunked?) is not read here: {data[: at + 300]!r}")
    length = head[found + len(LENGTH) : head.index(b"\r\n", found + 2)].strip()
    if not length.isdigit():
        raise Broken(f"Content-Length is {length!r}")
    return at + 4 + int(length)


class Connection:
    """One connection, which has at most one request under way."""

    __slots__ = ("_expected", "_request", "_sent", "began", "data", "poll", "refused", "socket", "wanted")

    def __init__(self, port: int, request: memoryview, poll: select.epoll, expected: tuple[bytes, ...]) -> None:
        self._expected = expected
        #: Whether the last answer was a refusal.
        self.refused = False
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.poll = poll
        poll.register(self.socket, select.EPOLLIN)
        self._request = request
        self._sent = 0
        self.began = 0.0
        self.data = b""
        self.wanted = 0

    def begin(self, due: float | None = None) -> None:
        """Send; the answer's time counts from `due`, where it was to be sent before now."""
        self.began = time.perf_counter() if due is None else due
        self.data, self.wanted, self._sent = b"", 0, 0
        self._sent = self._send(self._request)
        if self._sent < len(self._request):
            self.poll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)

    def go_on_sending(self) -> None:
        """The socket takes more of a large request."""
        self._sent += self._send(self._request[self._sent :])
        if self._sent == len(self._request):
            self.poll.modify(self.socket, select.EPOLLIN)

    def _send(self, part: memoryview) -> int:
        try:
            return self.socket.send(part)
        except BlockingIOError:
            return 0

    def answered(self) -> bool:
        """Read what is there; True where that ends the answer."""
        try:
            data = self.socket.recv(MOST)
        except BlockingIOError:
            return False
        if not data:
            raise Broken(f"the server closed the connection in the middle, after {self.data[:300]!r}")
        if self.data:
            data = self.data + data
        wanted = self.wanted or whole(data)
        if wanted and len(data) == wanted and self._sent == len(self._request):
            self.refused = not data.startswith(OK)
            if not data.startswith(self._expected):
                head, _, body = data.partition(END)
                raise Broken(f"expected a 200, got {head[:40].splitlines()[0].decode()}: {body[:300]!r}")
            return True
        if wanted and len(data) >= wanted:
            raise Broken(f"an answer that is longer than it says, or came before the request was sent: {data[:300]!r}")
        self.data, self.wanted = data, wanted
        return False


def connected(port: int, request: bytes, connections: int, poll: select.epoll, *, refusals: bool) -> list[Connection]:
    expected = (OK, REFUSED) if refusals else (OK,)
    view = memoryview(request)
    return [Connection(port, view, poll, expected) for _ in range(connections)]


def answered(poll: select.epoll, clients: dict[int, Connection], timeout: float) -> Iterator[Connection]:
    """Those whose answer is there in whole, once there is something or `timeout` is over."""
    for number, what in poll.poll(timeout):
        one = clients[number]
        if what & select.EPOLLOUT:
            one.go_on_sending()
        if what & ~select.EPOLLOUT and one.answered():
            yield one


def closed_loop(poll: select.epoll, clients: dict[int, Connection], seconds: float, took: Took) -> float:
    """Note the time of every answer; how long all took.

    No request begins after `seconds`; those that have begun are waited for. Who is refused asks again at once.
    """
    clock = time.perf_counter
    began = heard = clock()
    end = began + seconds
    for one in clients.values():
        one.begin()
    while clients:
        for one in answered(poll, clients, SILENCE):
            heard = clock()
            took[one.refused].append(heard - one.began)
            if heard < end:
                one.begin()
            else:
                # Now, not at the end: a server may close one on which nothing comes.
                clients.pop(one.socket.fileno()).socket.close()
        if clock() - heard > SILENCE:
            raise Broken(f"no answer within {SILENCE:.0f} s")
    return clock() - began


def open_loop(poll: select.epoll, clients: dict[int, Connection], seconds: float, took: Took, rate: float) -> float:
    """Note the time of every answer to `rate` requests a second for `seconds`, evenly spaced; how long all took.

    A request is sent when its moment has come, on any connection that is free; where none is, its time runs already.
    """
    clock = time.perf_counter
    free = deque(clients.values())
    sent, total = 0, int(rate * seconds)
    began = heard = clock()
    while sent < total or len(free) < len(clients):
        due = min(total, int((clock() - began) * rate) + 1)
        while sent < due and free:
            free.popleft().begin(began + sent / rate)
            sent += 1
        # What the next moment is, where a connection is there for it; epoll(7) counts in whole milliseconds.
        wait = max(0.0, began + sent / rate - clock()) if sent < total and free else SILENCE
        for one in answered(poll, clients, wait):
            heard = clock()
            took[one.refused].append(heard - one.began)
            free.append(one)
        if clock() - heard > SILENCE:
            raise Broken(f"no answer within {SILENCE:.0f} s")
    return clock() - began


def load(
    port: int, request: bytes, connections: int, seconds: float, rate: float | None, *, refusals: bool
) -> tuple[Took, float]:
    """The time of every answer and of every refusal, where `refusals` are expected too, and how long all took."""
    took: Took = (array("d"), array("d"))
    with select.epoll() as poll:
        made = connected(port, request, connections, poll, refusals=refusals)
        clients = {one.socket.fileno(): one for one in made}
        if rate is None:
            return took, closed_loop(poll, clients, seconds, took)
        return took, open_loop(poll, clients, seconds, took, rate)


def main() -> None:
    options = json.loads(sys.stdin.buffer.readline())
    request = sys.stdin.buffer.read()
    gc.disable()  # nothing here is a cycle
    cpu = time.process_time()
    try:
        (times, refused), took = load(
            options["port"],
            request,
            options["connections"],
            options["seconds"],
            options["rate"],
            refusals=options["refusals"],
        )
    except (Broken, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    facts = {"took": took, "cpu": time.process_time() - cpu, "answers": len(times)}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + times.tobytes() + refused.tobytes())


if __name__ == "__main__":
    main()
