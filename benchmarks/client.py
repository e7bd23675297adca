"""The load generator's own process: one thread, epoll and raw sockets; it sends one request over and over.

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

#: Nothing that is measured here takes this long for one answer.
SILENCE = 120.0
MOST = 1 << 18
OK = b"HTTP/1.1 200 "
REFUSED = b"HTTP/1.1 503 "
END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


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
    """One connection: sends the request again as soon as the last was answered."""

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

    def begin(self) -> None:
        self.began = time.perf_counter()
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


def loop(
    port: int, request: bytes, connections: int, seconds: float, *, refusals: bool = False
) -> tuple[array[float], array[float], float]:
    """The time of every answer, of every refusal where `refusals` are expected too, and how long all took.

    No request begins after `seconds`; those that have begun are waited for. Who is refused asks again at once.
    """
    times, refused = array("d"), array("d")
    expected = (OK, REFUSED) if refusals else (OK,)
    clock = time.perf_counter
    with select.epoll() as poll:
        view = memoryview(request)
        clients = {
            one.socket.fileno(): one for one in [Connection(port, view, poll, expected) for _ in range(connections)]
        }
        began = clock()
        end = began + seconds
        for one in clients.values():
            one.begin()
        while clients:
            events = poll.poll(SILENCE)
            if not events:
                raise Broken(f"no answer within {SILENCE:.0f} s")
            for number, what in events:
                one = clients[number]
                if what & select.EPOLLOUT:
                    one.go_on_sending()
                if what & ~select.EPOLLOUT and one.answered():
                    now = clock()
                    (refused if one.refused else times).append(now - one.began)
                    if now < end:
                        one.begin()
                    else:
                        # Now, not at the end: a server may close one on which nothing comes.
                        clients.pop(number).socket.close()
        took = clock() - began
    return times, refused, took


def main() -> None:
    options = json.loads(sys.stdin.buffer.readline())
    request = sys.stdin.buffer.read()
    gc.disable()  # nothing here is a cycle
    cpu = time.process_time()
    try:
        times, refused, took = loop(
            options["port"], request, options["connections"], options["seconds"], refusals=options["refusals"]
        )
    except (Broken, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    facts = {"took": took, "cpu": time.process_time() - cpu, "answers": len(times)}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + times.tobytes() + refused.tobytes())


if __name__ == "__main__":
    main()
