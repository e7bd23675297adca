"""The static check of uploaded files: what passes, and what is refused with which word. No Keras in here."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ml.build import BuildError, check_archive, static_check

METADATA = json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"})


def layer(class_name: str = "Dense", module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": "first", "trainable": True, **config},
        "registered_name": None,
    }


def model(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "layers": list(layers)},
        "registered_name": None,
        **more,
    }


def archive(path: Path, config: Any = None, **members: str | bytes | None) -> Path:
    """A .keras file with that config; `members` add, replace or (None) leave out a member."""
    content = {"metadata.json": METADATA, "config.json": config, "model.weights.h5": b"\x89HDF\r\n\x1a\n"}
    if not isinstance(config, str | bytes):
        content["config.json"] = json.dumps(model(layer()) if config is None else config)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (content | members).items():
            if data is not None:
                file.writestr(name, data)
    return path


def reason(file: Path, **limits: int) -> str:
    with pytest.raises(BuildError) as caught:
        check_archive(file, **limits)
    assert caught.value.reason == str(caught.value)
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def function(name: Any, module: str | None, registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


GOOD_PARTS: list[dict[str, Any]] = [
    layer(),
    layer("InputLayer", batch_shape=[None, 3]),
    layer("Bidirectional", layer=layer("LSTM")),
    layer("Dense", kernel_initializer={"module": "keras.initializers", "class_name": "Zeros", "config": {}}),
    layer("Dense", dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}),
    layer("Relu", "keras.src.ops.nn", name="relu") | {"registered_name": "Relu"},
    layer("Functional", "keras.src.models.functional") | {"registered_name": "Functional"},
    layer("Dense", compile_config=layer("Adam", "keras.optimizers")),
    layer("Dense", activation=function("relu", "builtins", "function")),
    layer("Dense", activation=function("gelu", "keras.activations", "gelu")),
    layer("GetItem", "keras.src.ops.numpy", key={"class_name": "__slice__", "config": {"start": 1}}),
    layer("Dense", other={"class_name": "__keras_tensor__", "config": {"shape": [None, 1], "dtype": "float32"}}),
    layer("TextVectorization", vocabulary=["a", "b"]),
]


@pytest.mark.parametrize("part", GOOD_PARTS, ids=lambda part: part["class_name"])
def test_parts_of_keras_pass(file: Path, part: dict[str, Any]) -> None:
    check_archive(archive(file, model(layer(), part)))


def test_the_loss_of_the_training_is_not_looked_at(file: Path) -> None:
    own = {"module": "my_project.losses", "class_name": "function", "config": "my_loss", "registered_name": "my_loss"}
    check_archive(archive(file, model(layer(), compile_config={"optimizer": "adam", "loss": own})))


def test_assets_pass(file: Path) -> None:
    check_archive(archive(file, None, **{"assets/": "", "assets/layers/text_vectorization/vocabulary.txt": "a\nb"}))


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None, "closure": None}}
BAD_PARTS: list[tuple[dict[str, Any], str]] = [
    (layer("Lambda"), "layer 'first' is a Lambda"),
    (layer("Dense", layer=layer("Lambda", name="inner")), "layer 'inner' is a Lambda"),
    (layer("Dense", activation=LAMBDA), "layer 'first' holds a Python lambda"),
    (layer("TorchModuleWrapper"), "TorchModuleWrapper"),
    (layer("JaxLayer"), "JaxLayer"),
    (layer("FlaxLayer"), "FlaxLayer"),
    (layer("TFSMLayer", filepath="/tmp/x"), "TFSMLayer"),
    (layer("Mine", "my_project.layers"), "layer 'first' is a Mine of 'my_project.layers'"),
    (layer("Mine", None), "layer 'first' is a Mine; only"),
    (layer("system", "os"), "a system of 'os'"),
    (layer("Dense", "keras.layers.evil"), "'keras.layers.evil'"),
    (layer("Dense", "keras.src.layers.core.lambda_layer"), "lambda_layer"),
    (layer("get_file", "keras.utils"), "a get_file of 'keras.utils'"),
    (layer("Dense", "kerasx"), "'kerasx'"),
    (layer("Relu", "keras.src.ops.nn/../x"), "only what Keras itself"),
    (layer("Relu", "keras.src.ops.nn\n"), "only what Keras itself"),
    (layer() | {"registered_name": "mine>Dense"}, "registered as 'mine>Dense'"),
    (layer() | {"class_name": ["Dense"]}, "which is no class name"),
    (layer() | {"class_name": "os.system"}, "which is no class name"),
    (layer("Dense", activation=function("system", "os")), "layer 'first' holds the function system of 'os'"),
    (layer("Dense", activation=function("mine", None, "mine")), "the function mine of None"),
    (layer("Dense", activation=function("get_file", "keras.utils")), "the function get_file of 'keras.utils'"),
    (layer("Dense", activation=function("relu", "keras.activations", "mine>relu")), "registered as 'mine>relu'"),
    (layer("Dense", activation=function(["relu"], "keras.activations")), "the function ['relu']"),
    (layer("Dense", spec={"class_name": "__typespec__", "module": "tensorflow", "config": []}), "__typespec__"),
    (layer("StringLookup", vocabulary="/etc/passwd"), "layer 'first' reads its vocabulary from a file"),
]


@pytest.mark.parametrize(("part", "word"), BAD_PARTS, ids=[word for _, word in BAD_PARTS])
def test_other_parts_are_refused(file: Path, part: dict[str, Any], word: str) -> None:
    assert word in reason(archive(file, model(layer(name="before"), part)))


def test_a_model_of_a_class_of_its_own_is_refused(file: Path) -> None:
    own = model(layer()) | {"module": None, "class_name": "MyModel", "registered_name": "mine>MyModel"}
    assert "the model is a MyModel" in reason(archive(file, own))


@pytest.mark.parametrize("config", ["[]", "3", "{}", '{"class_name": 3}'])
def test_what_is_no_model_is_refused(file: Path, config: str) -> None:
    assert "does not describe a Keras model" in reason(archive(file, config))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("{", "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ('{"a": ' + "1" * 10_000 + "}", "not valid JSON"),
        ("[" * 300 + "]" * 300, "more than 200 levels"),
        ('{"a":' * 200_000, "more than 200 levels"),
        ("[" + "[]," * 600_000 + "[]]", "more than 500,000 objects"),
        (" " * (16 * 2**20 + 1), "config.json is larger than 16,384 kB"),
    ],
    ids=["cut", "utf-16", "bom", "long number", "deep", "very deep", "wide", "large"],
)
def test_a_config_that_would_hurt_the_parser_is_refused(file: Path, config: str | bytes, word: str) -> None:
    assert word in reason(archive(file, config))


def test_brackets_in_strings_are_no_depth(file: Path) -> None:
    check_archive(archive(file, model(layer(note='["\\"' * 400))))


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"keras_version": "2.15.0"}, "saved with Keras 2.15.0: load it with Keras 3"),
        ({"keras_version": "4.0.0"}, "newer than this server's Keras 3"),
        ({"keras_version": 3}, "does not say which version"),
        ({"keras_version": "three"}, "does not say which version"),
        ({}, "does not say which version"),
        ([], "does not say which version"),
    ],
)
def test_the_version_of_keras(file: Path, metadata: Any, word: str) -> None:
    assert word in reason(archive(file, **{"metadata.json": json.dumps(metadata)}))


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "/etc/evil.txt", "assets/../../evil.txt", "assets\\..\\evil.txt", "C:evil.txt", "assets/./a.txt"],
)
def test_paths_that_lead_out_are_refused(file: Path, name: str) -> None:
    assert "leads out of the archive" in reason(archive(file, **{name: "x"}))


@pytest.mark.parametrize("name", ["model.pkl", "assets/x.pkl", "model.weights.npz", "assets//a.txt", "variables.h5"])
def test_other_members_are_refused(file: Path, name: str) -> None:
    assert f"holds '{name}'" in reason(archive(file, **{name: "x"}))


@pytest.mark.parametrize("name", ["metadata.json", "config.json", "model.weights.h5"])
def test_every_part_must_be_there(file: Path, name: str) -> None:
    assert reason(archive(file, **{name: None})) == f"not a .keras file: the archive holds no {name}"


def test_a_link_is_refused(file: Path) -> None:
    archive(file)
    link = zipfile.ZipInfo("assets/link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert "'assets/link.txt' is a link" in reason(file)


def test_two_members_of_one_name_are_refused(file: Path) -> None:
    archive(file)
    with zipfile.ZipFile(file, "a") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.writestr("config.json", json.dumps(model(layer("Lambda"))))
    assert "two members named 'config.json'" in reason(file)


def patch(file: Path, name: str, offset: int, value: bytes) -> None:
    """Overwrite bytes of the entry for `name` in the zip's own table of members."""
    data = bytearray(file.read_bytes())
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    data[start + offset : start + offset + len(value)] = value
    file.write_bytes(data)


def test_an_encrypted_member_is_refused(file: Path) -> None:
    patch(archive(file), "model.weights.h5", 8, b"\x01\x00")
    assert "'model.weights.h5' is encrypted" in reason(file)


def test_other_compression_is_refused(file: Path) -> None:
    archive(file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_BZIP2) as opened:
        opened.writestr("assets/a.txt", "x" * 1000)
    assert "compressed in a way that Keras does not use" in reason(file)


def test_a_bomb_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("assets/a.txt", b"\0" * (3 * 2**20))
    assert reason(file, max_expanded_mb=2) == "the archive expands to 3 MB; 2 MB are allowed"
    monkeypatch.setattr(static_check, "RATIO_FLOOR_BYTES", 2**20)
    assert "'assets/a.txt' expands more than 100 times" in reason(file)


def test_a_declared_bomb_is_refused(file: Path) -> None:
    patch(archive(file), "model.weights.h5", 24, struct.pack("<I", 0xFFFFFFF0))
    assert "expands more than 100 times" in reason(file)


def test_a_config_that_declares_less_than_it_holds_is_refused(file: Path) -> None:
    patch(archive(file), "config.json", 24, struct.pack("<I", 10))
    assert "cannot be read as a zip archive" in reason(file)


def test_members_that_share_their_bytes_are_refused(file: Path) -> None:
    archive(file, **{"model.weights.h5": b"x" * 2000, "assets/a.txt": b"y" * 10})
    for offset in (20, 24):
        patch(file, "assets/a.txt", offset, struct.pack("<I", 5000))
    assert reason(file) == "the archive's members overlap"


def test_a_huge_table_of_members_is_not_read(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as opened:
        for number in range(20):
            opened.writestr(f"assets/{number}{'x' * 60_000}.txt", "")
    assert "far too many members" in reason(file)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not a .keras file, or cut off"),
        (b"hello", "not a .keras file, or cut off"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "save it again as .keras"),
        (b"\x80\x04\x95", "not a .keras file, or cut off"),
    ],
)
def test_what_is_no_zip_is_refused(file: Path, content: bytes, word: str) -> None:
    file.write_bytes(content)
    assert word in reason(file)


def test_every_cut_off_file_is_refused(file: Path) -> None:
    whole = archive(file).read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        reason(file)


def test_damage_never_ends_in_another_exception(file: Path) -> None:
    whole = archive(file).read_bytes()
    source = random.Random(5)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(source.choice((1, 1, 2, 8))):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        file.write_bytes(damaged)
        with contextlib.suppress(BuildError):
            check_archive(file)
