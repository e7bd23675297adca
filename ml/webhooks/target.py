"""The URL of a webhook: what may stand in one, and the addresses that it leads to."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from ml.webhooks.addresses import is_public

MAX_URL = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}
#: A name is looked up within this many seconds, or not at all.
LOOK_UP_SECONDS = 5.0

#: The characters of a URL, and of a name in it.
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*\Z")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")

ALLOWED_BY = "private targets are refused unless ALMANAC_WEBHOOK_PRIVATE_TARGETS is set"

#: Gives the addresses of a name and port. Raises OSError.
LookUp = Callable[[str, int], Sequence[str]]
Predicate = Callable[[str], bool]


class BadTarget(ValueError):
    """A URL to which nothing is sent; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL. `path` has the query in it; `host` is lower case, and without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """The parts of an absolute http or https URL. Raises BadTarget."""
    if len(url) > MAX_URL:
        raise BadTarget(f"expected at most {MAX_URL} characters, got {len(url)}")
    if not _CHARACTERS.match(url):
        raise BadTarget("expected a URL in ASCII without spaces and fragment, other characters as %XX or xn--")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget(f"expected an http or https URL: {error}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise BadTarget("expected an absolute http or https URL")
    if "@" in parts.netloc:
        raise BadTarget("expected a URL without user name and password")
    host = (parts.hostname or "").lower()
    if len(host) > 253 or not (_is_address(host) if "[" in parts.netloc else _NAME.match(host)):
        raise BadTarget("expected a host name or address in the URL")
    if port == 0:
        raise BadTarget("expected a port from 1 to 65535, got 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path)


def check(url: str, *, private: bool) -> None:
    """Raise BadTarget for a URL that is none or that, unless `private` targets are allowed, is private as it stands.

    Names are not looked up: what they lead to is checked each time when something is sent.
    """
    host = parse(url).host.rstrip(".")
    if private:
        return
    if host == "localhost" or host.endswith(".localhost"):
        raise BadTarget(f"{host} is this machine itself; {ALLOWED_BY}")
    literal = _literal(host)
    if literal is not None and not is_public(literal):
        raise BadTarget(f"{host} is no public address; {ALLOWED_BY}")


def addresses(target: Target, look_up: LookUp, allowed: Predicate, seconds: float = LOOK_UP_SECONDS) -> list[str]:
    """The addresses of a target, looked up now. Raises BadTarget where there is none or one is not allowed.

    One bad address among good ones is enough: which of them a second look-up gives first is for its owner to choose.
    """
    found: list[str] = []
    problem: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.extend(dict.fromkeys(look_up(target.host, target.port)))
        except (OSError, UnicodeError) as error:
            problem.append(error)

    # The system's resolver knows no time limit; a thread that it holds ends when it gives up by itself.
    asking = threading.Thread(target=ask, name="look-up", daemon=True)
    asking.start()
    asking.join(min(seconds, LOOK_UP_SECONDS))
    if asking.is_alive():
        raise BadTarget(f"the name {target.host} could not be looked up in time")
    if problem or not found:
        raise BadTarget(f"the name {target.host} leads nowhere: {problem[0] if problem else 'no address'}")
    if not all(map(allowed, found)):
        # Which address that is might be no business of the job's owner.
        raise BadTarget(f"{target.host} leads to an address that is not public; {ALLOWED_BY}")
    return found


def look_up(host: str, port: int) -> list[str]:
    """What the system says of a name. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _literal(host: str) -> str | None:
    """The address that a host is in itself, also in the forms that only C knows: 127.1, 0x7f000001."""
    if _is_address(host):
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
