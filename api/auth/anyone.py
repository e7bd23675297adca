"""ALMANAC_AUTH=off: whoever reaches the server acts as the administrator; it listens on loopback alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.errors import ApiError
from ml.identity.caller import Caller
from settings import LOOPBACK_NAMES

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: The administrator, without having shown a key.
ANYONE = Caller("admin", "admin", via="anyone")


class Anyone:
    """Takes everyone for the administrator, but not the pages of other sites in a browser on this machine."""

    def authenticate(self, environ: WSGIEnvironment) -> Caller:
        """The administrator. Raises a 403 for what a browser sends in another site's name."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not _is_local(origin):
            raise ApiError(403, f"this server asks for no key, so it does nothing for pages of {origin[:100]}")
        return ANYONE


def _is_local(origin: str) -> bool:
    try:
        return urlsplit(origin).hostname in {name.strip("[]") for name in LOOPBACK_NAMES}
    except ValueError:
        return False
