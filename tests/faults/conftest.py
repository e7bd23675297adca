"""One cluster for all tests here: what each of them does to it, it must recover from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.faults.cluster import OPEN_TRANSACTION_SECONDS, Cluster


@pytest.fixture(scope="package")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Whole, with no job that is not ended."""
    _cluster.wait_until_whole()
    for job in _cluster.db["jobs"].find({"status": {"$nin": ["succeeded", "failed", "canceled"]}}, {"_id": True}):
        _cluster.wish(job["_id"], "canceled")  # a failed test left it
    return _cluster


@pytest.fixture
def short_transactions(cluster: Cluster) -> Iterator[None]:
    """mongod ends a transaction that its worker left open after 2 s, not 20."""
    uri = (cluster.data / "mongo.uri").read_text().strip()
    password = (cluster.data / "root.pw").read_text().strip()
    root: MongoClient[dict[str, Any]] = MongoClient(uri, username="root", password=password, authSource="admin")
    with root:
        root.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=2)
        yield
        root.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=OPEN_TRANSACTION_SECONDS)
