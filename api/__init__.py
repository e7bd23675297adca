"""Everything HTTP. Imports Flask and Eve, and of ml/ the service and the database; never TensorFlow or Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eve import Eve
    from pymongo import MongoClient

    from api.auth.credentials import Authenticator
    from settings import Settings


def create_app(
    settings: Settings, client: MongoClient[dict[str, Any]], authenticator: Authenticator | None = None
) -> Eve:
    """The WSGI application over one database client.

    `app.extensions["service"]` is the service; `start()` it to follow the database and to build, `close()` it to drain.
    `authenticator` says who asks; without one it is what the settings say: keys and users, or nobody is asked.
    """
    from api.app import make_app

    return make_app(settings, client, authenticator)
