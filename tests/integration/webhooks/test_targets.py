"""What a sender connects to: addresses that were checked, after a redirect and a second look-up too, with TLS."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ml.webhooks import target
from ml.webhooks.addresses import is_public
from ml.webhooks.post import Poster
from tests.integration.webhooks.deliveries import a_delivery, ended


def here(address: str) -> bool:
    """As if 127.0.0.2 were public."""
    return address == "127.0.0.2" or is_public(address)


class Names:
    """A resolver that gives these answers in turn, the last again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        try:
            return target.look_up(host, port) if host[0].isdigit() else self._answers.pop(0)
        finally:
            self._answers = self._answers or [["127.0.0.1"]]


def test_a_private_target_is_refused_and_tried_again(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    delivery = a_delivery(db, receiver.url)
    send(Poster(), pauses=(0.02,))
    after = ended(db, delivery)
    assert (after["status"], after["attempt"]) == ("failed", 2)
    assert "not public" in after["error"]
    assert "response_code" not in after
    assert receiver.messages == []


@pytest.mark.parametrize("code", [307, 308, 301, 302, 303])
def test_a_redirect_to_this_machine_is_refused(db: Any, send: Any, receive: Any, code: int) -> None:
    inside = receive()
    names = Names(["127.0.0.1"])
    for location in (inside.url, f"http://localhost:{inside.port}/hook", f"http://[::ffff:127.0.0.1]:{inside.port}/"):
        outside = receive(lambda _, location=location: (code, {"Location": location}), "127.0.0.2")
        delivery = a_delivery(db, outside.url)
        sender = send(Poster(look_up=names, allowed=here), pauses=())
        after = ended(db, delivery)
        sender.close()
        assert (after["status"], after["response_code"]) == ("failed", code)
        assert ("redirected, and" in after["error"]) is (code in (307, 308))
        assert len(outside.messages) == 1
    assert inside.messages == []


def test_a_redirect_that_keeps_the_method_is_followed(receive: Any) -> None:
    last = receive(host="127.0.0.2")
    first = receive(lambda _: (307, {"Location": f"{last.url}?x=1"}))
    outcome = Poster(private=True).post(first.url, {"webhook-id": "1"}, b'{"a":1}')
    assert (outcome.code, outcome.error) == (204, None)
    [message] = last.messages
    assert (message.path, message.body) == ("/hook?x=1", b'{"a":1}')
    assert message.headers["webhook-id"] == "1"
    assert message.headers["host"] == f"127.0.0.2:{last.port}"
    assert not {"authorization", "cookie", "referer"} & message.headers.keys()


def test_redirects_in_a_circle_end(receive: Any) -> None:
    receiver = receive(lambda _: (308, {"Location": "/hook"}))
    outcome = Poster(private=True).post(receiver.url, {}, b"{}")
    assert (outcome.code, outcome.error) == (308, "more than 3 redirects")
    assert len(receiver.messages) == 4


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://a.example/", "http://u:p@a.example/", "//", "http://["]
)
def test_a_redirect_to_what_is_no_target(receive: Any, location: str) -> None:
    receiver = receive(lambda _: (307, {"Location": location}))
    outcome = Poster(private=True).post(receiver.url, {}, b"{}")
    assert outcome.code == 307
    assert outcome.error


def test_the_name_is_looked_up_once_an_attempt_and_checked_each_time(db: Any, send: Any, receive: Any) -> None:
    """A name that is public when it is checked and private when it is connected to: it is looked up only once."""
    inside = receive()
    outside = receive(lambda n: (500, {}), "127.0.0.2")
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    # Both servers on their own ports: what is connected to is told by who got the message.
    url = f"http://rebind.example:{outside.port}/hook"
    delivery = a_delivery(db, url)
    send(Poster(look_up=names, allowed=here), pauses=(0.02,))
    after = ended(db, delivery)
    assert names.asked == ["rebind.example"] * 2
    assert len(outside.messages) == 1
    assert outside.messages[0].headers["host"] == f"rebind.example:{outside.port}"
    assert (after["attempt"], "response_code" in after) == (2, False)
    assert after["error"].startswith("rebind.example leads to an address that is not public")
    assert inside.messages == []


def test_the_next_address_is_tried_where_one_does_not_answer(receive: Any) -> None:
    receiver = receive(host="127.0.0.2")
    poster = Poster(private=True, look_up=lambda host, port: ["127.0.0.3", "127.0.0.2"])
    assert poster.post(f"http://two.example:{receiver.port}/", {}, b"{}").code == 204


def test_proxies_of_the_environment_are_not_asked(receive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, proxy = receive(), receive(host="127.0.0.2")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.2:{proxy.port}")
    assert Poster(private=True).post(receiver.url, {}, b"{}").code == 204
    assert proxy.messages == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for receiver.example."""
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example",
             "-keyout", path, "-out", path],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
    except FileNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("no openssl")
    return path


def test_tls_is_with_the_name_not_the_address(receive: Any, certificate: Path) -> None:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    asked: list[str] = []
    ours.sni_callback = lambda socket, name, context: asked.append(name)
    receiver = receive(tls=ours)
    trusting = ssl.create_default_context(cafile=certificate)
    poster = Poster(private=True, look_up=lambda host, port: ["127.0.0.1"], tls=trusting)
    assert poster.post(f"https://receiver.example:{receiver.port}/x", {}, b"{}").code == 204
    assert asked == ["receiver.example"]
    assert receiver.messages[0].headers["host"] == f"receiver.example:{receiver.port}"
    for url, tls in (
        (f"https://other.example:{receiver.port}/", trusting),
        (f"https://receiver.example:{receiver.port}/", None),
    ):
        outcome = Poster(private=True, look_up=lambda host, port: ["127.0.0.1"], tls=tls).post(url, {}, b"{}")
        assert "CertificateVerification" in (outcome.error or "") or "CERTIFICATE_VERIFY" in (outcome.error or "")
    assert len(receiver.messages) == 1


def test_a_redirect_from_https_to_http_is_refused(receive: Any, certificate: Path) -> None:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    plain = receive()
    receiver = receive(lambda _: (307, {"Location": plain.url}), tls=ours)
    poster = Poster(
        private=True, look_up=lambda host, port: ["127.0.0.1"], tls=ssl.create_default_context(cafile=certificate)
    )
    outcome = poster.post(f"https://receiver.example:{receiver.port}/x", {}, b"{}")
    assert (outcome.code, outcome.error) == (307, "redirected, and redirected from https to what is not")
    assert plain.messages == []
