"""The registry: which version is meant, loading on demand, following the database, what is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from ml import readings, registry
from ml.database.blobs import Blobs
from ml.database.client import database_of
from ml.errors import ModelNotAvailable, StorageUnavailable, UnknownModel
from ml.service import Prediction, Service
from tests.integration.conftest import Gate
from tests.waiting import until


@pytest.fixture
def service(client: Any, tmp_path: Path) -> Iterator[Service]:
    made = Service(database_of(client), tmp_path / "cache")
    yield made
    made.close()


def test_stable_then_the_highest_available_version(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client, version=1)
    stub(client, version=2)
    stub(client, version=3, state="loading")
    assert service.registry.find("sums").number == 2
    database_of(client)["registry"].update_one({"_id": "sums"}, {"$set": {"aliases": {"stable": 1, "canary": 2}}})
    service.registry.refresh()
    assert service.registry.find("sums").number == 1
    assert service.registry.find("sums", alias="canary").number == 2
    assert service.registry.find("sums", version=3).state == "loading"


def test_what_is_not_there_is_told_with_what_is(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client, aliases={"stable": 1})
    stub(client, name="other")
    with pytest.raises(UnknownModel, match="no model 'nope'; there are: other, sums"):
        service.registry.find("nope")
    with pytest.raises(UnknownModel, match="no version 7; there are: 1"):
        service.registry.find("sums", version=7)
    with pytest.raises(UnknownModel, match="no alias 'beta'; there are: stable"):
        service.registry.find("sums", alias="beta")


def test_an_alias_that_another_program_mangled_is_none(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client)
    targets = {"stable": [1], "old": {"a": 1}, "canary": 1}
    database_of(client)["registry"].update_one({"_id": "sums"}, {"$set": {"aliases": targets}})
    service.registry.refresh()
    assert service.registry.find("sums").number == 1
    assert service.registry.find("sums", alias="canary").number == 1
    with pytest.raises(UnknownModel, match="no alias 'old'; there are: canary"):
        service.registry.find("sums", alias="old")


@pytest.mark.parametrize("state", ["loading", "failed", "retired"])
def test_a_version_that_is_not_available_tells_its_state(
    service: Service, client: Any, stub: Callable[..., Any], state: str
) -> None:
    stub(client, state=state)
    with pytest.raises(ModelNotAvailable, match=f"sums:1 is {state}"):
        service.registry.resolve("sums")


def test_a_model_that_cannot_be_loaded_tells_why_and_others_go_on(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    stub(client, name="odd")
    database_of(client)["models"].update_one({"name": "odd"}, {"$set": {"executor": "odd"}, "$unset": {"x": ""}})
    database_of(client)["models"].update_one({"name": "odd"}, [{"$set": {"artefacts.odd": "$artefacts.stub"}}])
    with pytest.raises(ModelNotAvailable, match="there is no executor 'odd'"):
        service.registry.resolve("odd")
    service.start()
    until(lambda: not service.registry.reasons_not_ready())
    assert service.predict(Prediction(model="sums", instances=[[1, 2, 3]])).outputs["y"].tolist() == [[6, 7]]


def test_ready_once_the_kept_versions_were_tried_and_a_later_upload_changes_nothing(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    assert service.registry.reasons_not_ready() == ["the models collection was not read yet"]
    service.start()
    until(lambda: not service.registry.reasons_not_ready())
    stub(client, version=2, state="loading")
    stub(client, version=3, state="failed")
    service.registry.refresh()
    assert service.registry.reasons_not_ready() == []


def test_a_change_made_elsewhere_is_followed(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client, version=1)
    stub(client, version=2)
    service.start()
    until(lambda: service.registry.find("sums").number == 2)
    models, registry = database_of(client)["models"], database_of(client)["registry"]
    registry.update_one({"_id": "sums"}, {"$set": {"aliases": {"stable": 1}}})
    until(lambda: service.registry.find("sums").number == 1)
    registry.update_one({"_id": "sums"}, {"$set": {"aliases": {}}})
    models.update_one({"version": 2}, {"$set": {"state": "retired"}})
    until(lambda: service.registry.find("sums", version=2).state == "retired")
    assert service.registry.find("sums").number == 1
    with pytest.raises(ModelNotAvailable, match="sums:2 is retired"):
        service.registry.resolve("sums", version=2)


def test_many_threads_load_a_version_once(service: Service, client: Any, stub: Callable[..., Any], gate: Gate) -> None:
    stub(client, add=100.0)
    gate.shut(1)
    models: list[Any] = []
    threads = [threading.Thread(target=lambda: models.append(service.registry.resolve("sums"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: gate.loads)
    gate.open()
    for thread in threads:
        thread.join()
    assert (gate.loads, len(models)) == ([1], 8)
    assert len({id(model) for model in models}) == 1


def test_a_version_that_cannot_be_fetched_now_is_fetched_the_next_time(
    service: Service, client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)

    def refuse(*args: Any) -> Any:
        raise AutoReconnect("db-17")

    with monkeypatch.context() as broken:
        broken.setattr(Blobs, "fetch_directory", refuse)
        with pytest.raises(StorageUnavailable, match="sums:1 cannot be fetched: AutoReconnect"):
            service.registry.resolve("sums")
    assert service.registry.resolve("sums").version.number == 1


def test_a_document_that_makes_no_sense_is_told_and_harms_no_other(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    stub(client, name="odd")
    database_of(client)["models"].update_one({"name": "odd"}, {"$set": {"inputs": 5, "artefacts": []}})
    service.start()
    until(lambda: not service.registry.reasons_not_ready())
    with pytest.raises(ModelNotAvailable, match="odd:1 cannot be loaded here: TypeError"):
        service.registry.resolve("odd")
    assert service.registry.resolve("sums").version.number == 1


def test_what_is_retired_while_it_is_loaded_does_not_become_live(
    service: Service, client: Any, stub: Callable[..., Any], gate: Gate
) -> None:
    stub(client, add=100.0)
    gate.shut(1)
    load = service.registry.meant("sums")
    until(lambda: gate.loads)
    database_of(client)["models"].update_one({}, {"$set": {"state": "retired"}})
    service.registry.refresh()
    gate.open()
    with pytest.raises(ModelNotAvailable, match="sums:1 was retired while it was being loaded"):
        load.wait()  # type: ignore[union-attr]
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "batch-sums:1"])


def test_what_is_not_known_is_looked_for_only_so_often(
    service: Service, client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client, state="failed")
    reads: list[int] = []
    real = registry.read

    def counted(db: Any) -> Any:
        reads.append(1)
        return real(db)

    monkeypatch.setattr(registry, "read", counted)
    monkeypatch.setattr(readings, "SECONDS", 60.0)
    for number in range(3):  # something new is found at once, a few times
        stub(client, name=f"new-{number}", state="failed")
        assert service.registry.find(f"new-{number}").number == 1
    for _ in range(20):
        with pytest.raises(UnknownModel):
            service.registry.find("nope")
        with pytest.raises(ModelNotAvailable):
            service.registry.resolve("sums")
    assert len(reads) == readings.MOST
    monkeypatch.setattr(readings, "SECONDS", 1e-9)
    stub(client, name="newest", state="failed")
    assert service.registry.find("newest").number == 1
