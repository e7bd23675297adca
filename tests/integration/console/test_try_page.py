"""Try it, without scripts: forms made of signatures, what becomes of what is filled in, and how answers are shown."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from api.console.inner import Sent
from api.console.try_answer import answer_of, output_of
from api.console.try_fields import Incomplete, fields_of, nested, picture_size, row_of, typed
from api.console.try_ranges import range_of
from ml.service import Signature, TensorSpec
from tests.conftest import Api
from tests.integration.console.browser import Page, Visitor
from tests.integration.rest import Client, image, stored, tensor

PATH = "/console/models/sums/try"


def kinds(*specs: TensorSpec) -> list[str]:
    return [one.kind for one in fields_of(Signature(specs, ()))]


@pytest.mark.parametrize(
    ("dtype", "shape", "kind", "size"),
    [
        ("FP32", (8, 8), "draw", (8, 8)),
        ("FP32", (28, 28, 1), "draw", (28, 28)),
        ("FP32", (1, 20, 30), "draw", (20, 30)),
        ("UINT8", (784,), "draw", (28, 28)),
        ("FP32", (64,), "table", None),
        ("FP32", (4,), "table", None),
        ("FP32", (), "table", None),
        ("BYTES", (2,), "table", None),
        ("BOOL", (8, 8), "table", None),
        ("FP32", (2, 3), "table", None),
        ("FP32", (224, 224, 3), "image", None),
        ("FP32", (None, None, 3), "image", None),
        ("FP32", (None,), "json", None),
        ("FP32", (300,), "json", None),
        ("BYTES", (500,), "json", None),
    ],
)
def test_each_input_has_the_form_that_suits_it(dtype: str, shape: Any, kind: str, size: Any) -> None:
    spec = TensorSpec("x", dtype, shape)
    assert kinds(spec) == [kind]
    assert (picture_size(spec) if kind == "draw" else None) == size


def test_what_is_filled_in_becomes_a_row() -> None:
    fields = fields_of(
        Signature(
            (
                TensorSpec("a", "FP32", (2, 2)),
                TensorSpec("b", "BYTES", (1,)),
                TensorSpec("c", "BOOL", (2,)),
                TensorSpec("d", "INT64", ()),
                TensorSpec("e", "FP32", (8, 8)),
            ),
            (),
        )
    )
    values = {"x.0.0": "1", "x.0.1": " 2.5 ", "x.0.2": "1e3", "x.0.3": "0,5", "x.1.0": " rose ", "x.2.1": "true"}
    typed(fields, {**values, "x.3.0": "-7", "v.4": "[[1]]"})
    row = row_of(fields)
    assert row == {"a": [[1, 2.5], [1000.0, 0.5]], "b": [" rose "], "c": [False, True], "d": -7, "e": [[1]]}
    assert nested(list(range(6)), [1, 3, 2]) == [[[0, 1], [2, 3], [4, 5]]]
    typed(fields, {**values, "x.0.1": "two", "x.0.2": "nan", "v.4": "["})
    with pytest.raises(Incomplete):
        row_of(fields)
    typed(fields[:1], {})
    with pytest.raises(Incomplete):
        row_of(fields[:1])
    assert fields[0].errors.pop() == "a[0][0], a[0][1], a[1][0], a[1][1]: expected a number, got nothing"
    assert [one.errors for one in fields] == [
        ["a[0][1]: expected a number, got two; a[1][0]: expected a finite number, got nan"],
        [],
        [],
        ["d: expected a number, got nothing"],
        ["this is not JSON: Expecting value: line 1 column 2 (char 1)"],
    ]


def test_the_range_is_guessed_from_what_the_model_saw() -> None:
    assert [range_of(rows) for rows in ([], [[[0, 16.0]]], [[0.0, 0.5]], [[0, 17]], [[-0.5]], [["text"]])] == [
        "255", "16", "1", "255", "-1", "255",
    ]  # fmt: skip


def test_outputs_are_bars_in_order() -> None:
    shown = output_of("y", [0.1, 0.7, 0.2], ["a", "b", "c"])
    assert [(bar.name, bar.value, bar.length, bar.first) for bar in shown.bars] == [
        ("b", "0.7000", 70.0, True), ("c", "0.2000", 20.0, False), ("a", "0.1000", 10.0, False),
    ]  # fmt: skip
    shown = output_of("y", [-2.0, 6.0], ["a", "b"])
    assert [(bar.name, bar.value, bar.start, bar.length) for bar in shown.bars] == [
        ("b", "6", 25.0, 75.0), ("a", "-2", 0.0, 25.0),
    ]  # fmt: skip
    assert [bar.name for bar in output_of("y", [0.25], ["no", "yes"]).bars] == ["no", "yes"]
    shown = output_of("y", [float(number) for number in range(100)], [])
    assert ([bar.name for bar in shown.bars][:2], len(shown.bars), shown.others) == (["99", "98"], 10, 90)
    assert [bar.name for bar in output_of("y", [[1, 2], [0, 9]], []).bars] == ["0", "1", "2", "3"]
    assert output_of("y", [3.25], []).text == "3.25"
    assert output_of("y", [None, 1.0], []).text == "[null, 1.0]"
    assert output_of("y", ["rose"], []).text == '["rose"]'
    assert output_of("y", [1e-9, 1 - 1e-9], ["a", "b"]).bars[1].value == "< 0.0001"


def test_a_long_row_is_asked_again_by_its_stored_input() -> None:
    sent = Sent("POST", "/p", body=json.dumps({"instances": [[0.5] * 2000]}).encode())
    body = {"version": 1, "predictions": [{"_id": "r", "input": "i", "output": [1.0]}]}
    answer = answer_of(body, ["y"], [], sent, "http://h")
    assert '{"inputs": ["i"]}' in answer.curl
    assert "{'inputs': ['i']}" in answer.python


def test_a_table_of_features(
    visitor: Visitor, serve: Callable[..., Any], client: Client, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(classes=["a", "b"], aliases={"stable": 1})
    page = visitor.page(PATH)
    page = visitor.sent(page.form("try"), {"x.0.0": "1", "x.0.1": "2", "x.0.2": "3.5"})
    assert page.status == 200
    [input_] = stored(client, "inputs")
    [result] = stored(client, "results")
    assert input_["data"] == [1, 2, 3.5]
    assert page.link("The stored result") == f"/console/results/{result['_id']}"
    assert page.link("its input") == f"/api/v1/inputs/{input_['_id']}"
    assert result["label"] in page.text
    # What is typed is there to be changed, and another time what the model saw last.
    assert page.form("try").get("x.0.2") == "3.5"
    assert visitor.page(PATH).form("try").get("x.0.2") == "3.5"
    part = visitor.send(page.form("try"), {"x.0.0": "7", "x.0.1": "2", "x.0.2": "3"}, follow=False)
    assert "<html" in part.text
    answer = visitor.open(
        PATH, "POST", data=dict(page.form("try").fields), headers={"X-Part": "answer", "Origin": "http://localhost"}
    )
    assert (answer.status_code, answer.headers["X-Part"], "<html" in answer.text) == (200, "answer", False)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def lines(page: Page) -> tuple[list[str], str]:
    """The words of the curl line, and the lines of Python."""
    blocks = [re.sub("<.*?>", "", text) for text in re.findall(r"<pre .*?</pre>", page.source, re.S)]
    import html

    curl, python = map(html.unescape, blocks)
    return shlex.split(curl.replace("\\\n", " ")), python


def test_the_lines_do_the_same(visitor: Visitor, serve: Callable[..., Any], admin: Api) -> None:
    serve(classes=["a", "b"])
    page = visitor.sent(visitor.page(PATH).form("try"), {"x.0.0": "1", "x.0.1": "2", "x.0.2": "3", "as": "v1"})
    curl, python = lines(page)
    assert curl[:5] == ["curl", "-s", "-X", "POST", "http://localhost/api/v1/models/sums/versions/1/predict"]
    body = json.loads(curl[curl.index("-d") + 1])
    assert body == {"instances": [[1, 2, 3]]}
    assert admin.post("/api/v1/models/sums/versions/1/predict", json=body).status_code == 200
    # The Python is run, with requests and the environment as they would be.
    stand_in = f"""
import os, sys, types
def post(url, headers, json=None, files=None, data=None):
    print(url, headers["Authorization"], json)
    class Answer:
        def raise_for_status(self): pass
        def json(self): return {{"predictions": ["done"]}}
    return Answer()
sys.modules["requests"] = types.SimpleNamespace(post=post)
os.environ["ALMANAC_KEY"] = "alm_k"
exec({python!r})
"""
    ran = subprocess.run([sys.executable, "-c", stand_in], capture_output=True, text=True, timeout=30)
    assert ran.stdout.split("\n")[:2] == [
        "http://localhost/api/v1/models/sums/versions/1/predict Bearer alm_k {'instances': [[1, 2, 3]]}",
        "done",
    ], ran.stderr


def test_an_image_without_scripts(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve(inputs=[tensor("image", "FP32", 8, 8)])
    page = visitor.page(PATH)
    assert "Drawing needs JavaScript, which is off here: choose an image, or write the numbers." in page.text
    picture = image(np.full((16, 16), 200, "uint8"))
    page = visitor.sent(page.form("try"), {"file": (io.BytesIO(picture), "a square.png")})
    assert page.status == 200
    assert len(stored(client, "results")) == 1
    curl, python = lines(page)
    assert "file=@a square.png" in curl
    assert "files={'file': open('a square.png', 'rb')}" in python
    compile(python, "lines", "exec")
    page = visitor.sent(page.form("try"), {"file": (io.BytesIO(b"no image"), "x.png")})
    assert (page.status, "file[0]" in page.text) == (422, True)
    page = visitor.sent(page.form("try"))
    assert (page.status, "draw something, or choose an image" in page.text) == (422, True)


def test_several_inputs_and_text(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve(inputs=[tensor("a", "FP32", 2), tensor("b", "FP32", 1)])
    page = visitor.sent(visitor.page(PATH).form("try"), {"x.0.0": "1", "x.0.1": "2", "x.1.0": "3"})
    assert page.status == 200
    assert stored(client, "inputs")[0]["data"] == {"a": [1, 2], "b": [3]}


def test_what_is_wrong_is_said(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve(inputs=[tensor("x", "INT32", 2)], aliases={"stable": 1})
    page = visitor.sent(visitor.page(PATH).form("try"), {"x.0.0": "1.5", "x.0.1": ""})
    assert (page.status, "x[1]: expected a number, got nothing" in page.text) == (422, True)
    page = visitor.sent(visitor.page(PATH).form("try"), {"x.0.0": "1.5", "x.0.1": "<1>"})
    assert "expected a number, got <1>" in page.text
    page = visitor.sent(visitor.page(PATH).form("try"), {"x.0.0": "1.5", "x.0.1": "1"})
    assert page.status == 422
    assert "instances[0]" in page.text
    assert stored(client, "results") == []


def test_which_version_is_tried(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve(version=1, aliases={"stable": 1}, add=100)
    serve(version=2, aliases={"stable": 1}, add=200)
    serve(version=3, state="failed", aliases={"stable": 1})
    form = visitor.page(PATH).form("Choose")
    page = Page(visitor.send(form, {"as": "v2"}))
    assert page.form("try").get("as") == "v2"
    page = visitor.sent(page.form("try"), {"x.0.0": "1", "x.0.1": "1", "x.0.2": "1"})
    assert stored(client, "results")[0]["version"] == 2
    page = visitor.page(f"{PATH}?alias=stable")
    assert page.form("try").get("as") == "a.stable"
    for path, status in (("?version=9", 404), ("?alias=none", 404), ("?version=3", 409), ("?version=x", 200)):
        assert visitor.page(PATH + path).status == status, path
    assert visitor.page("/console/models/none/try").status == 404


def test_which_model_is_tried(visitor: Visitor, serve: Callable[..., Any], person: Callable[..., Visitor]) -> None:
    assert "There is no model that you can try yet." in visitor.page("/console/try").text
    serve()
    assert "Try sums" in visitor.page("/console/try").text
    serve(name="other")
    serve(name="built", state="loading")
    hrefs = [href for _, href in visitor.page("/console/try").links if href.startswith("/console/models/")]
    assert hrefs == ["/console/models/other/try", "/console/models/sums/try"]
    assert person("reader").page("/console/try").status == 403


def test_nobody_is_shown_inputs_of_others(
    admin: Api, person: Callable[..., Visitor], visitor: Visitor, serve: Callable[..., Any]
) -> None:
    serve()
    bob = person("user", "bob")
    bob.sent(bob.page(PATH).form("try"), {"x.0.0": "1234", "x.0.1": "1", "x.0.2": "1"})
    assert bob.page(PATH).form("try").get("x.0.0") == "1234"
    assert person("user", "alice").page(PATH).form("try").get("x.0.0") == ""
    assert visitor.page(PATH).form("try").get("x.0.0") == "1234", "an administrator sees all"


def test_forms_of_other_sites_predict_nothing(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve()
    page = visitor.sent(visitor.page(PATH).form("try"), {"csrf_token": "x", "x.0.0": "1", "x.0.1": "1", "x.0.2": "1"})
    assert page.status == 403
    assert stored(client, "results") == []
