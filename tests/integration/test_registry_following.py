"""How the processes on a database learn of a change: by the change stream, by polling, by the safety net."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.change_stream import ChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ml import following, registry
from ml.database.client import database_of
from ml.service import Prediction, Service
from tests.conftest import Api
from tests.integration.rest import Client
from tests.waiting import until

#: All replicas agree within so many seconds.
AGREED = 2.0


def answering(service: Service) -> int:
    return service.predict(Prediction(model="sums", instances=[[1, 2, 3]], store="none")).version


def move(service: Service, version: int) -> None:
    """Move `stable`, as another process would."""
    before = service.db["models"].find_one({"version": version})
    assert before is not None
    service.catalog.update(before, {"aliases": ["stable"]})


def two(replica: Callable[..., Service], serve: Callable[..., Any]) -> tuple[Service, Service]:
    for version in (1, 2):
        serve(version=version, add=100.0 * version, aliases={"stable": 1})
    one, other = replica(), replica()
    for service in (one, other):
        service.start()
        until(lambda service=service: not service.registry.reasons_not_ready())
    return one, other


def agree(one: Service, other: Service) -> None:
    for version in (2, 1, 2):
        move(one, version)
        until(lambda version=version: answering(other) == answering(one) == version, AGREED, "both agree")


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise OperationFailure("the $changeStream stage is only supported on replica sets", 40573)


def test_two_replicas_agree_within_two_seconds(
    replica: Callable[..., Service], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POLL_SECONDS", "SAFETY_SECONDS"):  # so that nothing but the stream can have told of it
        monkeypatch.setattr(following, name, 60)
    agree(*two(replica, serve))


def test_without_a_change_stream_they_agree_as_well(
    replica: Callable[..., Service], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "watch", refuse)
    agree(*two(replica, serve))


def test_a_stream_that_breaks_is_opened_again_and_meanwhile_they_agree(
    replica: Callable[..., Service], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 3.0)
    opened: list[int] = []
    watch = Database.watch

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(1)
        return watch(self, *args, **kwargs)

    monkeypatch.setattr(Database, "watch", counted)
    one, other = two(replica, serve)
    until(lambda: len(opened) == 2)
    with monkeypatch.context() as broken:
        broken.setattr(ChangeStream, "try_next", refuse)
        agree(one, other)
    until(lambda: len(opened) >= 4, what="both follow a stream again")
    agree(one, other)


def test_a_change_that_no_stream_told_of_is_found_by_the_safety_net(
    replica: Callable[..., Service], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChangeStream, "try_next", lambda stream: None)
    monkeypatch.setattr(following, "SAFETY_SECONDS", 0.5)
    agree(*two(replica, serve))


def test_a_database_in_memory_is_polled(mock_client: Any, make_api: Callable[..., Api], stub: Any) -> None:
    stub(mock_client, version=1)
    api = make_api(mock_client)
    api.http.application.extensions["service"].start()
    until(lambda: api.get("/health/ready").status_code == 200)
    stub(mock_client, version=2)
    until(lambda: api.post("models/sums/predict", json={"instances": [[1, 2, 3]]}).json["version"] == 2)


def test_stopping_does_not_wait_for_the_stream(replica: Callable[..., Service], serve: Callable[..., Any]) -> None:
    one, _ = two(replica, serve)
    began = time.monotonic()
    one.registry.close()
    assert time.monotonic() - began < 1


def test_many_changes_at_once_are_read_once(
    replica: Callable[..., Service], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = registry.read

    def counted(db: Any) -> Any:
        reads.append(1)
        return real(db)

    serve(version=1)
    service = replica()
    service.start()
    until(lambda: not service.registry.reasons_not_ready())
    monkeypatch.setattr(registry, "read", counted)
    for number in range(2, 42):
        service.db["models"].insert_one({"name": "sums", "version": number, "state": "failed"})
    service.db["registry"].update_one({"_id": "sums"}, {"$set": {"aliases": {"stable": 41}}})
    until(lambda: service.registry.find("sums").number == 41)
    assert len(reads) < 20


def test_the_stream_tells_of_what_matters_alone(client: Client) -> None:
    models, names = database_of(client)["models"], database_of(client)["registry"]
    with database_of(client).watch(following.PIPELINE, max_await_time_ms=1000) as stream:

        def told() -> Any:
            change = stream.try_next()
            return change and change["operationType"]

        id_ = models.insert_one({"name": "m", "version": 1, "state": "loading"}).inserted_id
        assert told() == "insert"
        # What a build writes while it goes on, in each of its forms.
        for build in (
            {"claim": "c", "log": [], "lease": 1},
            {"log": ["a"]},
            {"log": ["a", "b"]},
            {"log": ["c"]},
            {"lease": 2},
        ):
            for place in ("build", "rebuild"):
                changes = {f"{place}.{field}": {"$literal": value} for field, value in build.items()}
                assert models.update_one({"_id": id_}, [{"$set": changes}]).modified_count == 1
        database_of(client)["inputs"].insert_one({"data": [1]})
        models.update_one({"_id": id_}, {"$set": {"state": "available", "build.seconds": 1}})
        assert told() == "update"
        names.update_one({"_id": "m"}, {"$set": {"aliases": {"stable": 1}}}, upsert=True)
        names.update_one({"_id": "m"}, {"$set": {"aliases.stable": 2}})
        models.update_one({"_id": id_}, {"$unset": {"state": ""}})
        models.delete_one({"_id": id_})
        assert [told() for _ in range(4)] == ["insert", "update", "update", "delete"]
