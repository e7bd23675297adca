"""Pictures and arrays that nobody should send, by every way in which a file comes: each is refused, nothing is stored.

What the pixels and values of good ones are is in tests/unit/test_tensors_images.py and test_tensors_npy.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from api import create_app
from ml.database.client import database_of
from settings import Settings
from tests.conftest import ADMIN_KEY, Api, Tokens, add_stub
from tests.integration.hostile import check, stored
from tests.integration.rest import Client, image, npy, tensor
from tests.unit.pictures import DEEP, npy_header, turned
from tests.unit.test_tensors_images import BAD


def typed(dtype: str, size: int = 3) -> bytes:
    return npy_header(dtype, size) + bytes(size * np.dtype(dtype).itemsize)


def headed(text: str, data: bytes = b"", version: int = 1) -> bytes:
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + length + text.encode() + data


F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': "
ARRAYS: dict[str, bytes] = {
    "objects": npy(np.array([{"a": 1}], object)),
    "records": npy(np.zeros(3, [("a", "f4"), ("b", "i4")])),
    "a record in a record": npy(np.zeros(3, [("a", [("b", "f4")])])),
    "times": typed("<M8[s]"),
    "spans of time": typed("<m8[s]"),
    "complex numbers": typed("<c16"),
    "long doubles": typed("<f16") if hasattr(np, "float128") else typed("<c8"),
    "raw bytes": npy(np.zeros(3, "V4")),
    "no rows": npy(np.zeros((0, 3), "f4")),
    "bytes behind it": npy(np.zeros(3, "f4")) + b"x",
    "bytes too few": npy(np.zeros(3, "f4"))[:-1],
    "two arrays": npy(np.zeros(3, "f4")) * 2,
    "no data": npy_header("<f4", 3),
    "a huge shape": npy_header("<f4", 10**9, 10**9),
    "a shape whose product is 2^64": npy_header("<f4", 2**32, 2**32),
    "a shape whose product is 2^64 and 12 bytes": npy_header("<f4", 2**62, 4, 3) + bytes(12),
    "a negative axis": npy_header("<f4", -3) + bytes(12),
    "two negative axes": npy_header("<f4", -3, -1) + bytes(12),
    "a million digits of an axis": headed(F4 + f"({'9' * 9000},)}}"),
    "33 axes": npy_header("<f4", *([1] * 33)) + bytes(4),
    "3,000 axes": headed(F4 + "(" + "1," * 3000 + ")}", bytes(4)),
    "an axis that is a float": headed(F4 + "(3.0,)}", bytes(12)),
    "a shape that is a list": headed(F4 + "[3]}", bytes(12)),
    "a shape that is a number": headed(F4 + "3}", bytes(12)),
    "no shape": headed("{'descr': '<f4', 'fortran_order': False}", bytes(12)),
    "an order that is neither": headed("{'descr': '<f4', 'fortran_order': 2, 'shape': (3,)}", bytes(12)),
    "a dtype that is none": headed("{'descr': 'x9', 'fortran_order': False, 'shape': (3,)}", bytes(12)),
    "a dtype that is a call": headed("{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,)}"),
    "a header of 5,000 levels": headed("(" * 5000),
    "a header of 5,000 dicts": headed("{1:" * 3000),
    "a header of 9,000 signs": headed("-" * 9000 + "1"),
    "a header of 9,000 nots": headed("~" * 9000 + "1"),
    "a header of one long string": headed("'" + "a" * 9000 + "'"),
    "a header of 60,000 bytes": headed("{" + " " * 60_000 + "}"),
    "a header of 100 MB, it says": b"\x93NUMPY\x02\0" + (100 << 20).to_bytes(4, "little") + b"{}",
    "a header that is cut": npy(np.zeros(3, "f4"))[:50],
    "a header that is not there": b"\x93NUMPY\x01\0",
    "half a magic": b"\x93NUM",
    "a header that is no text": b"\x93NUMPY\x01\0\x04\0\xff\xfe\0\x01" + bytes(12),
    "version 3": headed(F4 + "(3,)}", bytes(12), 3),
    "version 9": headed(F4 + "(3,)}", bytes(12), 9),
    "an .npz": b"PK\x03\x04" + bytes(40),
    "a pickle": b"\x80\x04\x95" + bytes(20),
    "nothing": b"",
}
#: Of the right shape, and still not what the model takes.
WRONG: dict[str, tuple[bytes, str]] = {
    "booleans": (npy(np.ones((1, 3), "?")), "expected FP32, got BOOL"),
    "strings": (npy(np.array([["a", "b", "c"]])), "expected FP32, got BYTES"),
    "NaN": (npy(np.array([[1, np.nan, 2]])), "expected a finite number, got NaN"),
    "what is too large": (npy(np.array([[1, 1e300, 2]])), "1e+300 is too large for FP32"),
    "another shape": (npy(np.ones((1, 4))), "expected shape [rows, 3], got [1, 4]"),
}


@pytest.fixture(scope="module")
def served(_client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, Client]]:
    db, directory = database_of(_client), tmp_path_factory.mktemp("files")
    for name in db.list_collection_names():
        if name != "meta":
            db[name].delete_many({})
    add_stub(_client, directory)
    add_stub(_client, directory, "picture", inputs=[tensor("x", "UINT8", 4, 4, 3)])
    add_stub(_client, directory, "deep", inputs=[tensor("x", "UINT16", 5, 6)], outputs=[tensor("y", "FP32", 2)])
    app = create_app(Settings(data_dir=directory, admin_key=ADMIN_KEY, _env_file=None), _client, Tokens())
    yield app.test_client(), _client
    app.extensions["service"].close()


def form(path: str, data: bytes, **fields: str) -> Callable[[Api], Any]:
    return lambda api: api.post(path, data={"file": (io.BytesIO(data), "any.npy"), **fields})


def refused(served: tuple[FlaskClient, Client], asked: Callable[[Api], Any], issue: str) -> str:
    """What is said of it; nothing was stored."""
    http, client = served
    before = stored(client)
    answer = check(asked(Api(http)))
    assert answer.status_code == 422, answer.text
    assert list(answer.json["_issues"]) == [issue]
    assert stored(client) == before
    said: str = answer.json["_issues"][issue]
    assert len(said) < 500
    return said


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture(served: tuple[FlaskClient, Client], name: str) -> None:
    data, said = BAD[name]
    assert said in refused(served, form("inputs", data), "file")
    assert said in refused(served, form("models/picture/predict", data, resize="true"), "file[0]")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bad_array(served: tuple[FlaskClient, Client], name: str) -> None:
    data = ARRAYS[name]
    sent: dict[str, Any] = {"data": data, "content_type": "application/x-npy"}
    assert refused(served, lambda api: api.post("models/sums/predict", **sent), "body")
    assert refused(served, form("inputs", data), "file")
    assert refused(served, form("models/picture/predict", data), "file[0]")


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_the_model_does_not_take(served: tuple[FlaskClient, Client], name: str) -> None:
    data, said = WRONG[name]
    sent: dict[str, Any] = {"data": data, "content_type": "application/x-npy"}
    assert said in refused(served, lambda api: api.post("models/sums/predict", **sent), "body")


def test_the_same_values_however_they_are_written(served: tuple[FlaskClient, Client]) -> None:
    """Columns first, big-endian, whole numbers, version 2: the answer is the same."""
    api, rows = Api(served[0]), np.arange(6).reshape(2, 3)
    version2 = io.BytesIO()
    np.lib.format.write_array(version2, rows.astype("<f4"), (2, 0))
    answers = []
    for data in (npy(np.asfortranarray(rows.astype("f4"))), npy(rows.astype(">f8")), npy(rows), version2.getvalue()):
        answer = api.post("models/sums/predict?store=none", data=data, content_type="application/x-npy")
        answers.append([one["output"] for one in answer.json["predictions"]])
    plain = api.post("models/sums/predict", json={"instances": rows.tolist(), "store": "none"})
    assert answers == [[one["output"] for one in plain.json["predictions"]]] * 4


def test_a_picture_is_the_same_sent_and_stored(served: tuple[FlaskClient, Client]) -> None:
    """Sent to a model, or stored and scored by its id: upright, and with all of its bits."""
    api = Api(served[0])
    data = turned(6, "PNG", np.rot90(DEEP).copy())
    sent = api.post("models/deep/predict", data={"file": (io.BytesIO(data), "a.png")}).json["predictions"][0]
    made = api.post("inputs", data={"file": (io.BytesIO(data), "a.png"), "model": "deep"}).json
    by_id = api.post("models/deep/predict", json={"inputs": [made["_id"]]}).json["predictions"][0]
    assert made["data"] == DEEP.tolist()
    assert api.get(f"inputs/{sent['input']}").json["data"] == DEEP.tolist()
    assert by_id["output"] == sent["output"]


def test_a_picture_of_more_than_a_row_is_refused_before_it_is_decoded(
    served: tuple[FlaskClient, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr("ml.tensors.images._turned", decode)
    large = image(np.zeros((3000, 3000), "u1"))
    assert refused(served, form("inputs", large), "file") == (
        "expected at most 8388608 bytes a row, got 3000x3000 pixels: 9000000"
    )
    assert "4x4 pixels, got 3000x3000; resize=true scales" in refused(
        served, form("models/picture/predict", large), "file[0]"
    )
    array = npy(np.zeros(9_000_000, "u1"))
    assert refused(served, form("inputs", array), "file") == "expected at most 8388608 bytes a row, got 9000000"
