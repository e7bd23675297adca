"""Apps over one database, as many processes have them, each with what it knows of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api import create_app
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import Client


@contextmanager
def replicas(client: Client, directory: Path, **always: Any) -> Iterator[Callable[..., Api]]:
    """What makes them, with these settings; `over` is another client of the database. They are closed at the end."""
    services = []

    def make(over: Any = client, **settings: Any) -> Api:
        given = {"data_dir": directory, "admin_key": ADMIN_KEY, **always, **settings}
        app = create_app(Settings(_env_file=None, **given), over)
        services.append(app.extensions["service"])
        return Api(app.test_client())

    yield make
    for service in services:
        service.close()
