"""Limits put around the application: Flask-Limiter makes the storage, every request is counted by one class."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import parse_many
from pymongo import MongoClient, WriteConcern

from api.auth.caller import Caller
from api.probes import HEALTH
from api.rate_limits.counting import RateLimits, TooMany
from api.rate_limits.storages import DatabaseCounts, MemoryCounts
from ml.database.client import Document, database_of
from settings import Settings

#: A count that a crash of the database loses is no harm, and must not wait for its journal.
QUICK = WriteConcern(w=1, j=False)
#: How long other storages may take, in seconds, under the names that their clients have for it.
PATIENCE: dict[str, dict[str, Any]] = {
    "redis": {"socket_timeout": 1, "socket_connect_timeout": 1},
    "memcached": {"timeout": 1, "connect_timeout": 1},
}


def limits_of(app: Flask, settings: Settings, client: MongoClient[Document]) -> RateLimits | None:
    """The limits that the settings ask for; None where they ask for none."""
    if settings.rate_limit is None:
        return None
    given = settings.rate_limit_storage
    uri = given.get_secret_value() if given is not None else ""
    options: dict[str, Any] = {}
    if given is None:
        (uri,), counts = (f"{scheme}://" for scheme in DatabaseCounts.STORAGE_SCHEME), database_of(client)["limits"]
        options = {"counts": counts.with_options(write_concern=QUICK)}
    elif uri.startswith("memory:"):
        (uri,) = (f"{scheme}://" for scheme in MemoryCounts.STORAGE_SCHEME)
    else:
        options = next((more for scheme, more in PATIENCE.items() if uri.startswith(scheme)), {})
    # It has no limits of its own but those that a route may ask for by its decorator.
    limiter = Limiter(lambda: "", app=app, storage_uri=uri, storage_options=options, strategy="fixed-window")
    return RateLimits(parse_many(settings.rate_limit), limiter.storage)


def before_authentication(app: Flask, limits: RateLimits) -> None:
    """Look at no more passwords of an address that has sent too many wrong ones. To be called before `protect`."""

    def refuse() -> None:
        # A key cannot be guessed, and is looked up in no time: others at the same address may have good ones.
        if not request.environ.get("HTTP_AUTHORIZATION", "").lower().startswith("bearer "):
            limits.refuse_address(request.environ)

    app.before_request(refuse)


def after_authentication(app: Flask, limits: RateLimits) -> None:
    """Count every request for its key, and what has none, or a wrong one, for its address."""

    def count() -> None:
        # An orchestrator that is refused would kill the server.
        if not request.environ["PATH_INFO"].startswith(HEALTH):
            caller: Caller | None = g.get("caller")
            limits.count_caller(request.environ, caller)

    def count_refused(response: Response) -> Response:
        if response.status_code == 401:
            try:
                limits.count_address(request.environ)
            except TooMany as error:
                return error.response()
        return response

    app.before_request(count)
    app.after_request(count_refused)
