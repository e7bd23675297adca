"""The catalog and the builder: versions, aliases and builds as documents, with the build itself replaced."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from gridfs.errors import NoFile

from ml import builder as builder_module
from ml.build import BuildError, BuildReport
from ml.builder import Builder, BuildLimits
from ml.catalog import Catalog
from ml.database.blobs import Blobs
from ml.errors import Changed, Invalid, NotAllowed, WrongState
from ml.service import Prediction, Service
from ml.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (2,)),))


@pytest.fixture
def catalog(service: Service) -> Catalog:
    return service.catalog


@pytest.fixture
def builder(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """A builder whose builds leave a stub; a file that says so fails."""

    def build(file: Path, workdir: Path, **kwargs: Any) -> BuildReport:
        content = file.read_bytes()
        kwargs["progress"]("a line of the log")
        if content.startswith(b"fail"):
            raise BuildError("it says fail", "line 1\nline 2")
        artefact = workdir / "stub"
        artefact.mkdir()
        (artefact / "stub.json").write_text("{}")
        table = [{"executor": "stub", "threads": 1, "ok": True, "worst": 0.0, "rows": 1, "ms": {"1": 0.1}}]
        ways = [{"executor": "stub", "threads": 1}]
        return BuildReport(SIGNATURE, ways, {"stub": artefact}, table, "line 1\nline 2", 0.5)

    monkeypatch.setattr(builder_module, "build_model", build)
    return Builder(service.db, tmp_path / "builds", BuildLimits())


def register(catalog: Catalog, name: str = "m", owner: str = "alice", content: bytes = b"keras", **fields: Any) -> Any:
    return catalog.register(io.BytesIO(content), name, owner, admin=owner == "admin", **fields)


def model(service: Service, document: Any) -> Any:
    return service.db["models"].find_one({"_id": document["_id"]})


def test_a_registered_file_is_built_and_answers(service: Service, catalog: Catalog, builder: Builder) -> None:
    document = register(catalog, classes=["a", "b"], aliases=["stable"])
    assert (document["version"], document["state"], document["aliases"]) == (1, "loading", [])
    assert document["size"] == 5
    assert builder.run_pending() == 1
    built = model(service, document)
    assert (built["state"], built["executor"], built["aliases"]) == ("available", "stub", ["stable"])
    assert built["inputs"] == [{"name": "x", "dtype": "FP32", "shape": [3]}]
    assert built["build"]["table"][0]["executor"] == "stub"
    assert built["build"]["log"] == ["line 1", "line 2"]
    assert built["_etag"] != document["_etag"]
    answer = service.predict(Prediction(model="m", alias="stable", instances=[[1, 2, 3]]))
    assert answer.outputs["y"].tolist() == [[6, 7]]


def test_a_failed_build_says_why_and_its_number_is_never_used_again(
    service: Service, catalog: Catalog, builder: Builder
) -> None:
    register(catalog)
    bad = register(catalog, content=b"fail", aliases=["stable"])
    third = register(catalog)
    builder.run_pending()
    failed = model(service, bad)
    assert (failed["version"], failed["state"], failed["error"]) == (2, "failed", "it says fail")
    assert failed["build"]["log"] == ["line 1", "line 2"]
    assert model(service, third)["version"] == 3
    catalog.retire(model(service, third))
    assert register(catalog)["version"] == 4
    assert service.db["registry"].find_one({"_id": "m"})["aliases"] == {}  # type: ignore[index]


def test_what_the_kernel_does_not_hold_a_build_with_is_in_the_servers_log_once(
    service: Service, catalog: Catalog, builder: Builder, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    said = f"{builder_module.NOT_HELD}Landlock (today): it can read what Almanac's user can"

    def build(file: Path, workdir: Path, **kwargs: Any) -> BuildReport:
        kwargs["progress"](said)
        raise BuildError("it says fail", f"{said}\n{'x' * 5000}\n" + "line\n" * 300)

    monkeypatch.setattr(builder_module, "build_model", build)
    builder_module.warn_once.cache_clear()
    failed = [register(catalog), register(catalog)]
    builder.run_pending()
    assert [one.levelname for one in caplog.records if one.message == said] == ["WARNING"]
    # The document holds the end of what was said, in lines that it can hold.
    kept = model(service, failed[0])["build"]["log"]
    assert len(kept) == builder_module.LOG_LINES
    assert max(map(len, kept)) <= builder_module.LINE_CHARACTERS


def test_classes_that_do_not_fit_the_output_fail_the_build(
    service: Service, catalog: Catalog, builder: Builder
) -> None:
    document = register(catalog, classes=["a", "b", "c"])
    builder.run_pending()
    assert model(service, document)["error"] == "3 classes were given, but the output 'y' is FP32[2]"


def test_a_build_whose_process_died_is_claimed_by_another_and_given_up_after_three(
    service: Service, catalog: Catalog, builder: Builder
) -> None:
    document = register(catalog)
    assert builder._claim() is not None  # and then the process is gone
    assert builder.run_pending() == 0, "the lease holds"
    lapse = [{"$set": {"build.lease": {"$subtract": ["$$NOW", 1]}}}]
    for _ in range(2):
        service.db["models"].update_one({"_id": document["_id"]}, lapse)
        assert builder._claim() is not None
    service.db["models"].update_one({"_id": document["_id"]}, lapse)
    assert builder.run_pending() == 0
    assert model(service, document)["error"] == "the build took its process down 3 times"


def test_what_a_stale_builder_made_is_thrown_away(service: Service, catalog: Catalog, builder: Builder) -> None:
    document = register(catalog)
    claimed = builder._claim()
    assert claimed is not None
    stale, place = claimed
    catalog.retire(model(service, document))
    assert not catalog.available(document["_id"], stale[place]["claim"], {"executor": "stub"})
    assert model(service, document)["state"] == "retired"


def test_an_alias_means_one_version_and_every_document_says_so(
    service: Service, catalog: Catalog, builder: Builder
) -> None:
    first, second = register(catalog, aliases=["stable", "old"]), register(catalog)
    builder.run_pending()
    catalog.update(model(service, second), {"aliases": ["stable", "new"]})
    assert service.db["registry"].find_one({"_id": "m"})["aliases"] == {"old": 1, "stable": 2, "new": 2}  # type: ignore[index]
    assert model(service, first)["aliases"] == ["old"]
    assert model(service, second)["aliases"] == ["new", "stable"]
    catalog.update(model(service, second), {"aliases": []})
    assert service.db["registry"].find_one({"_id": "m"})["aliases"] == {"old": 1}  # type: ignore[index]


def test_an_alias_given_while_the_version_is_built_moves_when_it_can_answer(
    service: Service, catalog: Catalog, builder: Builder
) -> None:
    first = register(catalog, aliases=["stable"])
    builder.run_pending()
    second = register(catalog)
    catalog.update(model(service, second), {"aliases": ["stable"]})
    assert model(service, first)["aliases"] == ["stable"]
    builder.run_pending()
    assert (model(service, first)["aliases"], model(service, second)["aliases"]) == ([], ["stable"])


def test_changes_need_the_document_that_was_seen(service: Service, catalog: Catalog, builder: Builder) -> None:
    seen = register(catalog)
    builder.run_pending()
    with pytest.raises(Changed):
        catalog.update(seen, {"description": "x"})
    with pytest.raises(Changed):
        catalog.retire(seen)
    now = model(service, seen)
    with pytest.raises(Invalid) as refused:
        catalog.update(now, {"aliases": ["not ok!"]})
    assert list(refused.value.issues) == ["aliases"]
    catalog.retire(now)
    with pytest.raises(WrongState, match="m:1 is retired"):
        catalog.update(model(service, seen), {"aliases": ["stable"]})


def test_retiring_takes_files_and_aliases_and_leaves_the_document(
    service: Service, catalog: Catalog, builder: Builder, tmp_path: Path
) -> None:
    document = register(catalog, aliases=["stable"])
    builder.run_pending()
    built = model(service, document)
    catalog.retire(built)
    retired = model(service, document)
    assert (retired["state"], retired["aliases"], retired["version"]) == ("retired", [], 1)
    assert service.db["registry"].find_one({"_id": "m"})["aliases"] == {}  # type: ignore[index]
    assert service.db["files.files"].count_documents({}) == 0
    with pytest.raises(NoFile):
        Blobs(service.db).fetch(built["file"], tmp_path / "f")


def test_a_name_belongs_to_who_first_registered_it(service: Service, catalog: Catalog) -> None:
    register(catalog, owner="alice")
    with pytest.raises(NotAllowed, match="belongs to another owner"):
        register(catalog, owner="bob")
    assert service.db["models"].count_documents({}) == 1
    assert register(catalog, owner="alice")["version"] == 2
    assert register(catalog, owner="admin")["version"] == 3
    assert service.db["registry"].find_one({"_id": "m"})["owner"] == "alice"  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "-x", "a" * 65, "a/b", "a b", "ä", "a\n", "$a"])
def test_a_name_that_is_none_is_refused_before_anything_is_stored(
    service: Service, catalog: Catalog, name: str
) -> None:
    with pytest.raises(Invalid) as refused:
        register(catalog, name=name)
    assert list(refused.value.issues) == ["name"]
    assert service.db["registry"].count_documents({}) == service.db["files.files"].count_documents({}) == 0


def test_an_unknown_model_document_is_no_claim(service: Service, catalog: Catalog) -> None:
    assert not catalog.available(ObjectId(), "claim", {})
