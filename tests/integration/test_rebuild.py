"""A version that was built on another kind of processor is built again for this one, and stays what it is elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml import builder as builder_module
from ml import live as live_module
from ml.build import BuildError, BuildReport
from ml.builder import Builder, BuildLimits
from ml.database.client import database_of
from ml.errors import ModelNotAvailable
from ml.service import Prediction, Service
from ml.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (2,)),))
NEW = {"machine": "x86_64", "features": ["avx", "avx2"]}
OLD = {"machine": "x86_64", "features": ["avx"]}
ARM = {"machine": "aarch64", "features": ["asimd"]}
ASKED = Prediction(model="m", instances=[[1, 2, 3]])


class Machine:
    """What the processor is taken for, and what builds on it give."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processor = NEW
        self.failure: str | None = None
        self.builds = 0
        monkeypatch.setattr(builder_module, "build_model", self._build)
        for module in (builder_module, live_module):
            monkeypatch.setattr(module, "here", lambda: self.processor)

    def _build(self, file: Path, workdir: Path, **kwargs: Any) -> BuildReport:
        self.builds += 1
        if self.failure is not None:
            raise BuildError(self.failure, "a line")
        (workdir / "stub").mkdir()
        (workdir / "stub" / "stub.json").write_text("{}")
        table = [{"executor": "stub", "threads": 1, "ok": True, "worst": 0.0, "rows": 1, "ms": {"1": 0.1}}]
        return BuildReport(SIGNATURE, [{"executor": "stub", "threads": 1}], {"stub": workdir / "stub"}, table, "", 0.5)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def service(client: Any, tmp_path: Path, machine: Machine) -> Iterator[Service]:
    made = Service(database_of(client), tmp_path / "cache")
    made.catalog.register(io.BytesIO(b"keras"), "m", "alice", admin=False)
    assert builder(made, tmp_path).run_pending() == 1
    yield made
    made.close()


def builder(service: Service, tmp_path: Path) -> Builder:
    """A process that builds, just started."""
    return Builder(service.db, tmp_path / "builds", BuildLimits())


def document(service: Service) -> Any:
    return service.db["models"].find_one({"name": "m"})


def test_where_it_fits_nothing_is_built_again(service: Service, machine: Machine, tmp_path: Path) -> None:
    assert document(service)["build"]["processor"] == NEW
    machine.processor = {**NEW, "features": [*NEW["features"], "avx512f"]}
    assert builder(service, tmp_path).run_pending() == 0
    assert service.predict(ASKED).outputs["y"].tolist() == [[6, 7]]
    assert machine.builds == 1


def test_it_is_built_for_a_processor_that_lacks_something(service: Service, machine: Machine, tmp_path: Path) -> None:
    before = document(service)
    machine.processor = OLD
    with pytest.raises(ModelNotAvailable, match="built on another kind of processor"):
        service.predict(ASKED)
    assert builder(service, tmp_path).run_pending() == 1
    service.registry.refresh()
    assert service.predict(ASKED).outputs["y"].tolist() == [[6, 7]]
    after = document(service)
    assert "rebuild" not in after
    assert {key: after[key] for key in ("state", "executor", "artefacts", "build")} == {
        key: before[key] for key in ("state", "executor", "artefacts", "build")
    }
    assert [made["processor"] for made in after["elsewhere"]] == [OLD]
    machine.processor = NEW
    assert builder(service, tmp_path).run_pending() == 0


def test_one_that_cannot_be_built_there_is_told_and_not_tried_again(
    service: Service, machine: Machine, tmp_path: Path
) -> None:
    machine.processor, machine.failure = ARM, "no way of running the model agrees with Keras"
    assert builder(service, tmp_path).run_pending() == 1
    assert builder(service, tmp_path).run_pending() == 0
    service.registry.refresh()
    with pytest.raises(ModelNotAvailable, match="the build for this processor failed: no way of running"):
        service.predict(ASKED)
    assert document(service)["state"] == "available"
    machine.processor = NEW
    service.registry.refresh()
    other = Service(service.db, tmp_path / "other")
    assert other.predict(ASKED).outputs["y"].tolist() == [[6, 7]]
    other.close()


def test_one_that_takes_its_process_down_is_given_up(service: Service, machine: Machine, tmp_path: Path) -> None:
    machine.processor = ARM
    for _ in range(3):
        assert builder(service, tmp_path)._claim() is not None  # and then the process is gone
        service.db["models"].update_one({}, [{"$set": {"rebuild.lease": {"$subtract": ["$$NOW", 1]}}}])
    assert builder(service, tmp_path).run_pending() == 0
    assert document(service)["elsewhere"][0]["error"] == "the build took its process down 3 times"


def test_two_processes_share_the_work(service: Service, machine: Machine, tmp_path: Path) -> None:
    machine.processor = OLD
    assert builder(service, tmp_path)._claim() is not None
    assert builder(service, tmp_path)._claim() is None, "the lease holds"


def test_retiring_takes_the_files_of_all_processors(service: Service, machine: Machine, tmp_path: Path) -> None:
    machine.processor = OLD
    builder(service, tmp_path).run_pending()
    assert service.db["files.files"].count_documents({}) == 3
    service.catalog.retire(document(service))
    assert service.db["files.files"].count_documents({}) == 0


def test_what_a_stale_builder_made_is_thrown_away(service: Service, machine: Machine, tmp_path: Path) -> None:
    machine.processor = OLD
    stale = builder(service, tmp_path)
    claimed = stale._claim()
    assert claimed is not None
    service.db["models"].update_one({}, {"$set": {"rebuild.claim": "another"}})
    stale._build(*claimed)
    assert "elsewhere" not in document(service)
    assert service.db["files.files"].count_documents({}) == 2
