"""Where a webhook may lead: URLs, addresses and what names lead to."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ml.webhooks.addresses import is_public
from ml.webhooks.target import BadTarget, Target, addresses, check, parse


@pytest.mark.parametrize(
    "address",
    """0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
    198.51.100.1 203.0.113.1 224.0.0.1 224.0.1.5 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1
    64:ff9b:1::1 100::1 2001::1 2001:0:5ef5:79fd::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 4000::1
    fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 x localhost 1 127.1 1.2.3.4.5""".split(),
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    """1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
    169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255
    2606:4700::1111 2001:4860:4860::8888 2a00:1450:4001:830::200e ::ffff:8.8.8.8 64:ff9b::8.8.8.8""".split(),
)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://a.example", Target("https", "a.example", 443, "/"), "a.example"),
        ("HTTP://A.Example:8080/p?q=1&r=%20", Target("http", "a.example", 8080, "/p?q=1&r=%20"), "a.example:8080"),
        ("https://a.example:443/x", Target("https", "a.example", 443, "/x"), "a.example"),
        ("http://a.example:443?q", Target("http", "a.example", 443, "/?q"), "a.example:443"),
        ("http://[2606:4700::1111]:81/", Target("http", "2606:4700::1111", 81, "/"), "[2606:4700::1111]:81"),
        ("http://1.1.1.1/", Target("http", "1.1.1.1", 80, "/"), "1.1.1.1"),
        ("http://a_b-c.example./", Target("http", "a_b-c.example.", 80, "/"), "a_b-c.example."),
    ],
)
def test_the_parts_of_a_url(url: str, target: Target, authority: str) -> None:
    assert parse(url) == target
    assert parse(url).authority == authority


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "absolute http or https"),
        ("a.example/x", "absolute http or https"),
        ("//a.example/x", "absolute http or https"),
        ("ftp://a.example/x", "absolute http or https"),
        ("file:///etc/passwd", "absolute http or https"),
        ("javascript:alert(1)", "absolute http or https"),
        ("http://", "a host name"),
        ("http:///x", "a host name"),
        ("http://:80/", "a host name"),
        ("http://a..example/", "a host name"),
        ("http://-a.example/", "a host name"),
        ("http://[::1/", "http or https"),
        ("http://[]/", "http or https|a host name"),
        ("http://[a.example]/", "http or https|a host name"),
        ("http://[v1.x]/", "http or https|a host name"),
        ("http://a.example%00/", "a host name"),
        (f"http://{'a' * 64}.example/", "a host name"),
        (f"http://{'a.' * 130}example/", "a host name"),
        ("http://u:p@a.example/", "without user name"),
        ("http://u@a.example/", "without user name"),
        ("http://@a.example/", "without user name"),
        ("http://a.example:0/", "a port from 1 to 65535, got 0"),
        ("http://a.example:65536/", "out of range"),
        ("http://a.example:x/", "http or https"),
        ("http://a.example/ x", "in ASCII without spaces"),
        ("http://a.example/\r\nX: y", "in ASCII without spaces"),
        ("ht\ntp://a.example/", "in ASCII without spaces"),
        ("http://a.example\\@127.0.0.1/", "in ASCII without spaces"),
        ("http://bücher.example/", "in ASCII without spaces"),
        ("http://a.example/#f", "fragment"),
        ("http://a.example/" + "x" * 2000, "at most 2000"),
    ],
)
def test_what_is_no_url_of_a_webhook(url: str, reason: str) -> None:
    for private in (False, True):
        with pytest.raises(BadTarget, match=reason):
            check(url, private=private)


@pytest.mark.parametrize(
    "host",
    """localhost LOCALHOST localhost. x.localhost 127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 0 10.1 [::1]
    [::ffff:127.0.0.1] [fe80::1] 169.254.169.254 192.168.0.1 127.0.0.1.""".split(),
)
def test_what_is_private_as_it_stands(host: str) -> None:
    with pytest.raises(BadTarget, match="ALMANAC_WEBHOOK_PRIVATE_TARGETS"):
        check(f"http://{host}:8080/x", private=False)
    check(f"http://{host}:8080/x", private=True)


@pytest.mark.parametrize(
    "host", ["a.example", "8.8.8.8", "[2606:4700::1111]", "localhost.example", "xn--bcher-kva.example"]
)
def test_what_may_be_public(host: str) -> None:
    check(f"https://{host}/x", private=False)


def of(found: list[str], **kwargs: Any) -> list[str]:
    return addresses(parse("http://a.example/"), lambda host, port: found, is_public, **kwargs)


def test_a_name_leads_to_all_of_its_addresses_once() -> None:
    assert of(["8.8.8.8", "2606:4700::1111", "8.8.8.8"]) == ["8.8.8.8", "2606:4700::1111"]


def test_one_private_address_among_many_is_enough() -> None:
    for bad in ("127.0.0.1", "::1", "fe80::1%eth0", "10.0.0.1", "nonsense"):
        for found in ([bad], ["8.8.8.8", bad], [bad, "8.8.8.8"]):
            with pytest.raises(BadTarget, match=r"^a\.example leads to an address that is not public") as caught:
                of(found)
            assert bad not in str(caught.value)


def test_a_name_that_leads_nowhere() -> None:
    with pytest.raises(BadTarget, match="leads nowhere: no address"):
        of([])

    def fail(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(BadTarget, match="leads nowhere: no such name"):
        addresses(parse("http://a.example/"), fail, is_public)


def test_a_look_up_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(20)
        return ["8.8.8.8"]

    with pytest.raises(BadTarget, match="in time"):
        addresses(parse("http://a.example/"), hang, is_public, 0.05)
    release.set()
