"""Fixtures of the tests of pages: an app with real keys and sessions, and people at browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.database.client import database_of
from ml.database.indexes import prepare
from ml.identity.keys import create_key
from tests.conftest import ADMIN_KEY, Api
from tests.integration.apps import replicas
from tests.integration.console.browser import Visitor
from tests.integration.rest import Client

SECRET = "a secret of tests, which is long enough"


def forget_lists(client: Client) -> None:
    """Make the indexes anew: one that ever had a list in it, as other tests store, has no order and tells no values."""
    db = database_of(client)
    db["results"].drop_indexes()
    prepare(db)


@pytest.fixture
def sound(_client: Client) -> None:
    """Indexes of results as they are where nobody stored lists."""
    forget_lists(_client)


@pytest.fixture
def replica(client: Client, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes apps over one database, as many processes have them."""
    with replicas(client, tmp_path, secret_key=SECRET) as make:
        yield make


@pytest.fixture
def admin(replica: Callable[..., Api]) -> Api:
    """The administrator's programs."""
    return replica()


@pytest.fixture
def visitor(admin: Api) -> Visitor:
    """The administrator at a browser, logged in."""
    made = Visitor(admin.http)
    assert made.log_in(key=ADMIN_KEY).status == 200
    return made


@pytest.fixture
def person(admin: Api) -> Callable[..., Visitor]:
    """Makes somebody at a browser with a key of this role and owner."""

    def make(role: Any = "user", owner: str = "alice") -> Visitor:
        made = Visitor(admin.http)
        key = create_key(admin.http.application.extensions["service"].db, role, owner)[1]
        assert made.log_in(key=key).status == 200
        return made

    return make
