"""One cluster for all tests here: what each of them does to it, it must recover from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.cluster import Cluster


@pytest.fixture(scope="session")
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
