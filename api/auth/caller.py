"""Who is asking."""

from __future__ import annotations

from flask import g

from ml.identity.caller import Caller as Caller
from ml.identity.caller import Role as Role


def current_caller() -> Caller:
    """The caller of the request that is being answered; there is one on every route that is not public."""
    caller: Caller = g.caller
    return caller
