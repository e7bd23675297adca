"""Fixtures of the tests of identity: apps that ask for real keys, and an administrator of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Api
from tests.integration.apps import replicas
from tests.integration.rest import Client


@pytest.fixture
def replica(client: Client, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes apps over one database, as many processes have them, each with what it knows of keys."""
    with replicas(client, tmp_path) as make:
        yield make


@pytest.fixture
def admin(replica: Callable[..., Api]) -> Api:
    """An app that asks for real keys; this caller is its administrator."""
    return replica()
