"""Fixtures of the tests that need a real mongod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml.database.client import database_of
from tests.integration.rest import Client


@pytest.fixture
def serve(client: Client, stub: Callable[..., Any]) -> Callable[..., Any]:
    """Registers a stub model."""

    def add(**kwargs: Any) -> Any:
        return stub(client, **kwargs)

    return add


@pytest.fixture
def inputs(client: Client) -> Any:
    """The collection."""
    return database_of(client)["inputs"]
