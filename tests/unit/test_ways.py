"""In which ways a version can be run on a processor, and what a processor is taken for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from ml import processor
from ml.executors.base import ExecutorError
from ml.ways import NotBuiltHere, Way, ways_here

A, B, C = ObjectId(), ObjectId(), ObjectId()
OLD = {"machine": "x86_64", "features": ["avx", "sse4_2"]}
NEW = {"machine": "x86_64", "features": ["avx", "avx2", "avx512f", "sse4_2"]}
ARM = {"machine": "aarch64", "features": ["asimd"]}


def document(**fields: Any) -> dict[str, Any]:
    ways = [{"executor": "onnx", "threads": 2}, {"executor": "onnx", "threads": 1}, {"executor": "tf", "threads": 4}]
    build = {"ways": ways, "processor": NEW}
    return {"executor": "onnx", "artefacts": {"onnx": A, "tf": B}, "build": build, **fields}


def test_each_executor_once_with_its_best_number_of_threads() -> None:
    assert ways_here(document(), NEW) == [Way("onnx", 2, A), Way("tf", 4, B)]


def test_one_can_be_forced() -> None:
    assert ways_here(document(), NEW, "tf") == [Way("tf", 4, B)]
    with pytest.raises(ExecutorError, match="ALMANAC_EXECUTOR asks for 'openvino'; proven are: onnx, tf"):
        ways_here(document(), NEW, "openvino")


def test_a_processor_that_can_do_more_will_do_and_one_that_can_do_less_or_other_will_not() -> None:
    better = {**NEW, "features": [*NEW["features"], "avx512_bf16"]}
    assert ways_here(document(), better)
    for other in (OLD, ARM):
        with pytest.raises(NotBuiltHere, match="another kind of processor"):
            ways_here(document(), other)


def test_what_was_made_for_this_processor_later_is_found() -> None:
    made = {"processor": OLD, "ways": [{"executor": "tf", "threads": 1}], "artefacts": {"tf": C}}
    assert ways_here(document(elsewhere=[made]), OLD) == [Way("tf", 1, C)]
    failed = {"processor": ARM, "error": "no way of running the model agrees with Keras"}
    with pytest.raises(ExecutorError, match="the build for this processor failed: no way"):
        ways_here(document(elsewhere=[made, failed]), ARM)


def test_a_document_that_says_nothing_of_it_is_run_as_it_is() -> None:
    assert ways_here({"executor": "stub", "artefacts": {"stub": A}}, OLD) == [Way("stub", 1, A)]


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx sse4_2 ht\nprocessor : 1\nflags\t\t: fpu", ["avx", "avx2", "sse4_2"]),
        ("processor : 0\nFeatures\t: fp asimd sve\n", ["asimd", "sve"]),
        ("nothing", []),
    ],
)
def test_what_this_processor_is(
    text: str, features: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    processor.here.cache_clear()
    try:
        assert processor.here()["features"] == features
    finally:
        processor.here.cache_clear()
