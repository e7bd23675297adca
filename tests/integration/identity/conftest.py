"""Fixtures of the tests of identity: apps that ask for real keys, and an administrator of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api import create_app
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import Client


@pytest.fixture
def replica(client: Client, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes apps over one database, as many processes have them, each with what it knows of keys."""
    services = []

    def make(over: Any = client, **settings: Any) -> Api:
        app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None, **settings), over)
        services.append(app.extensions["service"])
        return Api(app.test_client())

    yield make
    for service in services:
        service.close()


@pytest.fixture
def admin(replica: Callable[..., Api]) -> Api:
    """An app that asks for real keys; this caller is its administrator."""
    return replica()
