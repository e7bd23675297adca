"""`inputs` as files: pictures and arrays in, arrays out, and everything that is neither."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from PIL import Image

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import Client, image, npy, upload


def test_an_image_is_its_pixels(api: Api) -> None:
    grey = np.arange(30, dtype="u1").reshape(5, 6)
    answer = upload(api, image(grey), model="m", tags='["a", "b"]', meta='{"k": 1}')
    assert answer.status_code == 201
    assert answer.json["data"] == grey.tolist()
    assert (answer.json["model"], answer.json["tags"], answer.json["meta"]) == ("m", ["a", "b"], {"k": 1})
    colour = np.arange(5 * 6 * 3, dtype="u1").reshape(5, 6, 3)
    assert upload(api, image(colour)).json["data"] == colour.tolist()
    alpha = np.arange(2 * 2 * 4, dtype="u1").reshape(2, 2, 4)
    assert upload(api, image(alpha)).json["data"] == alpha.tolist()
    deep = np.array([[0, 300], [70, 65535]], "u2")
    assert upload(api, image(deep)).json["data"] == deep.tolist()
    assert np.shape(upload(api, image(grey, mode="1")).json["data"]) == (5, 6)
    assert np.shape(upload(api, image(colour, mode="P")).json["data"]) == (5, 6, 3)
    jpeg = np.array(upload(api, image(np.full((8, 8, 3), 100, "u1"), "JPEG")).json["data"])
    assert jpeg.shape == (8, 8, 3)
    assert abs(jpeg - 100).max() <= 3


def test_an_array_file_is_the_array(api: Api, client: Client) -> None:
    array = np.linspace(0, 1, 100, dtype=">f8").reshape(4, 25)
    answer = upload(api, npy(array))
    assert answer.status_code == 201
    stored = database_of(client)["inputs"].find_one()
    assert stored is not None
    assert stored["data"]["dtype"] == "FP64"
    assert np.array_equal(np.array(answer.json["data"]), array)


PNG = image(np.zeros((20, 20), "u1"))


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a" + b"\0" * 50, PNG[:40], PNG[:-30], b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff" + b"\0" * 90],
)
def test_a_file_that_is_no_picture(api: Api, content: bytes) -> None:
    answer = upload(api, content)
    assert answer.status_code == 422
    assert answer.json["_issues"]["file"].startswith("expected a PNG, a JPEG or a .npy array")


def test_a_damaged_picture_never_breaks_the_server(api: Api) -> None:
    source = np.random.default_rng(5)
    for whole in (PNG, image(np.zeros((20, 20, 3), "u1"), "JPEG"), npy(np.zeros(9))):
        for _ in range(40):
            damaged = bytearray(whole)
            for at in source.integers(0, len(whole), 5):
                damaged[at] = source.integers(0, 256)
            assert upload(api, bytes(damaged)).status_code in (201, 422)


def test_a_huge_picture_is_refused_before_it_is_decoded(api: Api) -> None:
    stream = io.BytesIO()
    Image.new("1", (8000, 7000)).save(stream, "PNG")
    assert len(stream.getvalue()) < 100_000
    answer = upload(api, stream.getvalue())
    assert answer.status_code == 422
    assert answer.json["_issues"] == {"file": "expected at most 50000000 pixels, got 8000x7000"}


@pytest.mark.parametrize(
    ("fields", "issues"),
    [
        ({"tags": "a,b"}, {"tags": "not JSON"}),
        ({"meta": "{"}, {"meta": "not JSON"}),
        ({"owner": "eve"}, {"owner": "no such field; there are file, meta, model, tags"}),
        ({"tags": ["[]", "[]"]}, {"tags": "expected one value, got 2"}),
        ({"other": (io.BytesIO(b"x"), "x")}, {"other": "no such field"}),
        ({"tags": "[5]"}, {"tags[0]": "expected a string, got the number 5"}),
        ({"meta": '{"$a": 1}'}, {"meta": "expected keys without $"}),
    ],
)
def test_a_form_that_does_not_fit(api: Api, fields: dict[str, Any], issues: dict[str, str]) -> None:
    answer = api.post("inputs", data={"file": (io.BytesIO(npy(np.zeros(2))), "a.npy"), **fields})
    assert answer.status_code == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    assert api.get("inputs").json["_items"] == []


def test_a_form_without_a_file_or_with_two(api: Api) -> None:
    for files in ({}, {"file": [(io.BytesIO(b"x"), "a"), (io.BytesIO(b"x"), "b")]}, {"file": "text"}):
        answer = api.post("inputs", data=files or {"tags": "[]"}, content_type="multipart/form-data")
        assert answer.status_code == 422
        assert answer.json["_issues"]["file"].startswith("expected one file, got")


def test_the_data_as_a_file(api: Api, client: Client) -> None:
    array = np.arange(2000, dtype="f4").reshape(40, 50)
    made = upload(api, npy(array)).json["_id"]
    answer = api.get(f"inputs/{made}/data")
    assert (answer.status_code, answer.mimetype) == (200, "application/x-npy")
    loaded = np.load(io.BytesIO(answer.data), allow_pickle=False)
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, array)
    several = api.post("inputs", json={"data": {"a": [1, 2], "b": ["x", "yy"]}}).json["_id"]
    assert np.load(io.BytesIO(api.get(f"inputs/{several}/data?input=a").data)).tolist() == [1, 2]
    assert np.load(io.BytesIO(api.get(f"inputs/{several}/data?input=b").data)).tolist() == [b"x", b"yy"]
    unnamed = api.get(f"inputs/{several}/data")
    assert unnamed.status_code == 400
    assert unnamed.json["_issues"] == {"input": "expected one of a, b, got ''"}
    assert api.get(f"inputs/{several}/data?inputs=a").json["_issues"] == {"inputs": "no such parameter; there is input"}
    wrong = database_of(client)["inputs"].insert_one({"data": {"dtype": "FP32", "shape": 5, "data": b""}}).inserted_id
    answer = api.get(f"inputs/{wrong}/data")
    assert answer.status_code == 422
    assert answer.json["_issues"]["data"].startswith("expected shape to be a list")
    for path in (f"inputs/{ObjectId()}/data", "inputs/zzz/data"):
        assert api.get(path).status_code == 404
