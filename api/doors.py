"""Keeps threads for health: every other request needs one of a number of places, or is refused at once."""

from __future__ import annotations

from flask import Flask, g, request

from ml.service import Admission

#: Threads that only health may use. A database that hangs would otherwise hold them all, one list each.
FOR_HEALTH = 4


def guard(app: Flask, threads: int) -> None:
    """Refuse what would take the last threads. Registered before everything that may wait for the database."""
    places = Admission(threads - FOR_HEALTH, "requests")

    def enter() -> None:
        if not request.environ["PATH_INFO"].startswith("/health/"):
            places.take()
            g.inside = True

    def leave(_: BaseException | None) -> None:
        # With a streamed answer this comes at the stream's end.
        if g.pop("inside", False):
            places.give()

    app.before_request(enter)
    app.teardown_request(leave)
