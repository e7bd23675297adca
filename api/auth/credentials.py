"""How a request says who asks: a key as a Bearer token, or a user's name and password by HTTP Basic."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Protocol

from api.errors import ApiError
from ml.identity.caller import ADMIN, Caller
from ml.identity.identity import Identity

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Basic works too and is not offered: a browser would ask for a password, keep it, and send it with whatever form
#: another site makes it send here.
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="almanac"'}

#: In a request's environment: the same where its form has it, and no header.
SHOWN = "almanac.shown"


class Authenticator(Protocol):
    """Tells who asks."""

    def authenticate(self, environ: WSGIEnvironment) -> Caller:
        """The caller. Raises a 401, or what keeps it from being told: too many failures, the database away."""


class Credentials:
    """The administrator's key of the settings, and the keys and users in the database."""

    def __init__(self, admin_key: str, identity: Identity) -> None:
        self._admin = _digest(admin_key)
        self._identity = identity

    def authenticate(self, environ: WSGIEnvironment) -> Caller:
        """The caller; takes microseconds for one that was known not long ago."""
        scheme, token = credentials_of(environ)
        address = environ.get("REMOTE_ADDR", "")
        if scheme == "basic":
            name, password = _name_and_password(token)
            caller = self._identity.of_user(name, password, address)
            if caller is None:
                raise refusal("the name or the password is wrong")
            return caller
        # Digests, which are all of one length, and compared in constant time.
        if hmac.compare_digest(_digest(token), self._admin):
            return ADMIN
        caller = self._identity.of_key(token, address)
        if caller is None:
            raise refusal("the key is not valid")
        return caller


def credentials_of(environ: WSGIEnvironment) -> tuple[str, str]:
    """The scheme, `bearer` or `basic`, and what follows it. Raises a 401."""
    given = environ.get("HTTP_AUTHORIZATION", "")
    if given.startswith("Bearer alm_"):  # as nearly all are
        return "bearer", given[7:].rstrip()
    scheme, _, token = given.partition(" ")
    scheme, token = scheme.lower(), token.strip()
    if scheme not in ("bearer", "basic") or not token:
        raise refusal("a key is needed: Authorization: Bearer <key>")
    return scheme, token


def shown_by(environ: WSGIEnvironment) -> tuple[str, str | None]:
    """What a request that was refused showed, `key`, `password` or `nothing`, and the name with a password."""
    if SHOWN in environ:
        shown: tuple[str, str | None] = environ[SHOWN]
        return shown
    try:
        scheme, token = credentials_of(environ)
        return ("password", _name_and_password(token)[0]) if scheme == "basic" else ("key", None)
    except ApiError:
        return "nothing", None


def refusal(message: str) -> ApiError:
    """The 401 that says how to ask."""
    return ApiError(401, message, headers=CHALLENGE)


def _name_and_password(token: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise refusal("the name and password are not understood: expected base64 of name:password in UTF-8")
    return name, password


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
