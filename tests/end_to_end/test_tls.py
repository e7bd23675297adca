"""A real server that speaks TLS, and what a raw socket gets from it: nothing of what is inside."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cli.health import health_server
from tests.end_to_end.almanac import ROOT, Almanac, free_port

CERTIFICATES = ROOT / "tests" / "certificates"
CERT, KEY = CERTIFICATES / "server.crt", CERTIFICATES / "server.key"


@pytest.fixture(scope="module")
def almanac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """With TLS, a name of its own, and a limit."""
    data = tmp_path_factory.mktemp("tls") / "data"
    made = Almanac(
        data,
        free_port(),
        "--no-jobs",
        ALMANAC_TLS_CERT=str(CERT),
        ALMANAC_TLS_KEY=str(KEY),
        ALMANAC_TRUSTED_HOSTS="localhost",
        ALMANAC_RATE_LIMIT="1000/minute",
        ALMANAC_LOG_LEVEL="warning",
    )
    made.url = made.url.replace("http://", "https://")
    made.wait_for(f"^Almanac serves at {made.url} ")
    yield made
    assert made.stop() == 0


def port_of(almanac: Almanac) -> int:
    return int(almanac.url.rpartition(":")[2])


def ask(almanac: Almanac, path: str, **kwargs: object) -> requests.Response:
    url = f"https://localhost:{port_of(almanac)}{path}"
    return requests.get(url, verify=str(CERT), timeout=10, **kwargs)  # type: ignore[arg-type]


def raw(almanac: Almanac, data: bytes) -> bytes:
    """All that comes back over a connection on which these bytes were sent."""
    context = ssl.create_default_context(cafile=str(CERT))
    plain = socket.create_connection(("127.0.0.1", port_of(almanac)), 10)
    with context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
            while part := connection.recv(65536):
                received += part
        return received


def test_answers_over_tls_tell_browsers_to_stay_with_it(almanac: Almanac) -> None:
    answer = ask(almanac, "/api/v1/inputs", headers=almanac.headers)
    assert (answer.status_code, answer.json()["_items"]) == (200, [])
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert (answer.headers["RateLimit-Limit"], answer.headers.get("Server", "")) == ("1000", "")
    other = requests.get(f"{almanac.url}/api/v1/inputs", verify=str(CERT), headers=almanac.headers, timeout=10)
    assert (other.status_code, other.json()["_error"]["message"]) == (400, "the request is for another host")
    for name in ("admin.key", "secret.key"):
        assert (almanac.data / name).stat().st_mode & 0o777 == 0o600


def test_nothing_is_answered_in_the_clear(almanac: Almanac) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(almanac.url.replace("https", "http") + "/health/live", timeout=10)


@pytest.mark.parametrize(
    ("version", "spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_old_versions_of_tls_are_not_spoken(almanac: Almanac, version: ssl.TLSVersion, spoken: bool) -> None:
    context = ssl.create_default_context(cafile=str(CERT))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port_of(almanac)), 10) as plain:
        if spoken:
            context.wrap_socket(plain, server_hostname="localhost").close()
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="localhost")


def test_the_healthcheck_of_the_containers_follows(almanac: Almanac) -> None:
    command = [sys.executable, str(ROOT / "docker" / "health.py"), str(port_of(almanac))]
    for environment, code in (({"ALMANAC_TLS_CERT": str(CERT)}, 0), ({}, 1)):
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr


MALFORMED = {
    "no HTTP": b"NONSENSE\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a header with a space": b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: 1\r\n\r\n",
    "a header with a zero character": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "a path of 100,000 characters": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "300 headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 300 + b"\r\n",
    "a chunk that is none": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a path that is not ASCII": b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /api/v1/inputs HTTP/1.0\r\n\r\n",
    "another host in the path": b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "a tunnel": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "a method in small letters": b"get /api/v1/inputs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_gets_an_answer_that_says_nothing_of_the_inside(almanac: Almanac, name: str) -> None:
    head, _, body = raw(almanac, MALFORMED[name]).partition(b"\r\n\r\n")
    assert head.split(b" ")[1].startswith(b"4"), head
    if body:
        assert b'"_error"' in body
    said = (head + body).lower()
    for inside in (b"granian", b"python", b"werkzeug", b"rust", b"traceback", b"hyper", b"/root", b".py"):
        assert inside not in said
    lines = [line for line in head.lower().splitlines() if line.startswith(b"server:")]
    assert all(line.strip() == b"server:" for line in lines)
    assert ask(almanac, "/health/live").status_code == 200


def test_a_worker_speaks_tls_too_and_has_no_banner(tmp_path: Path) -> None:
    def app(environ: object, start: object) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        return [b"ok"]

    server = health_server("127.0.0.1", 0, app, (CERT, KEY))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        answer = requests.get(f"https://localhost:{server.port}/", verify=str(CERT), timeout=10)
        assert (answer.text, answer.headers["Server"]) == ("ok", "")
        context = ssl.create_default_context(cafile=str(CERT))
        plain = socket.create_connection(("127.0.0.1", server.port), 10)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n")
            head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
        assert (head.split(b" ")[1], body) == (b"431", b"")
        assert b"Python" not in head
        assert b"Werkzeug" not in head
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
