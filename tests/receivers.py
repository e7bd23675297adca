"""Receivers of webhooks for tests: real HTTP servers on loopback addresses that answer as they are told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a receiver answers to its n-th request (from 1): a status, and headers.
Answer = Callable[[int], tuple[int, dict[str, str]]]


@dataclass
class Message:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """One server; `messages` are those that it got, in their order."""

    def __init__(self, answer: Answer, host: str, tls: ssl.SSLContext | None) -> None:
        self.messages: list[Message] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.messages.append(Message(self.path, headers, body))
                status, answered = answer(len(receiver.messages))
                self.send_response(status)
                for name, value in answered.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def do_GET(self) -> None:
                """A redirect that was followed with the other method is to be seen."""
                receiver.messages.append(Message(f"GET {self.path}", {}, b""))
                self.send_error(405)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port: int = self.server.server_address[1]
        self.url = f"http://{host}:{self.port}/hook"


@contextmanager
def receiving(
    answer: Answer = lambda _: (204, {}), host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver that answers with `answer`."""
    receiver = Receiver(answer, host, tls)
    thread = threading.Thread(target=lambda: receiver.server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


@contextmanager
def mute(talk: Callable[[socket.socket], None] | None = None) -> Iterator[str]:
    """The URL of one that takes connections and never answers; `talk` may send what it likes over each."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if talk is not None:
                    threading.Thread(target=_quietly, args=(talk, connection), daemon=True).start()

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def _quietly(talk: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        talk(connection)
    except OSError:
        return
