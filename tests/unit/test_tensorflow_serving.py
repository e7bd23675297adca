"""TensorFlow Serving's bodies as arrays, and arrays as its bodies: as its documentation shows and its code does."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from api.dialects.tensorflow_serving import examples, models, tensors
from api.dialects.tensorflow_serving.paths import in_small_letters
from api.dialects.tensorflow_serving.values import dump
from api.errors import ApiError
from ml.service import Signature
from ml.service import TensorSpec as Spec

Y = (Spec("y", "FP32", ()),)
SCALAR = Signature((Spec("x", "FP32", ()),), Y)
THREE = Signature((Spec("x", "FP32", (3,)),), Y)
TEXT = Signature((Spec("text", "BYTES", ()),), Y)
#: As in its documentation: a tag, a signal of five, a sensor of two by two.
SENSORS = Signature((Spec("tag", "BYTES", ()), Spec("signal", "FP32", (5,)), Spec("sensor", "INT32", (2, 2))), Y)


def of(dtype: str, *shape: int | None) -> Signature:
    return Signature((Spec("x", dtype, shape),), Y)


def body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def refusal(data: Any, signature: Signature) -> str:
    with pytest.raises(ApiError) as caught:
        tensors.read_batch(body(data), signature)
    assert caught.value.code == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("sent", "signature", "values"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, SCALAR, [1, 2, 5]),
        ({"instances": [1, 2.5]}, SCALAR, [1, 2.5]),
        ({"inputs": [1.0, 2.0, 5.0]}, SCALAR, [1, 2, 5]),
        ({"inputs": {"x": [1.0, 2.0]}}, SCALAR, [1, 2]),
        ({"instances": [{"x": 1.0}, {"x": 2.0}]}, SCALAR, [1, 2]),
        ({"instances": [[[1, 2]], [[3, 4]]]}, of("INT64", 1, 2), [[[1, 2]], [[3, 4]]]),
        ({"signature_name": "serving_default", "instances": [[1, 2, 3]]}, THREE, [[1, 2, 3]]),
        ({"signature_name": "", "instances": [[1, 2, 3]], "more": [1]}, THREE, [[1, 2, 3]]),
        ({"instances": [[1, 2], [3, 4]]}, of("FP32", None), [[1, 2], [3, 4]]),
        ({"instances": [True, False]}, of("BOOL"), [True, False]),
        ({"instances": [2**64 - 1]}, of("UINT64"), [2**64 - 1]),
        ({"instances": ["foo", "bar", "baz"]}, TEXT, [b"foo", b"bar", b"baz"]),
        (
            {"instances": [{"b64": "aW1hZ2UgYnl0ZXM="}, {"b64": "AP8"}, "é"]},
            TEXT,
            [b"image bytes", b"\0\xff", "é".encode()],
        ),
        ({"instances": [{"text": {"b64": "Zm9v"}}]}, TEXT, [b"foo"]),
        ({"inputs": {"text": [{"b64": "Zm9v"}]}}, TEXT, [b"foo"]),
        ({"inputs": [{"b64": "Zm9v"}]}, TEXT, [b"foo"]),
        ({"instances": [[["a", {"b64": "Yg=="}]]]}, of("BYTES", 1, 2), [[[b"a", b"b"]]]),
        (b"\xef\xbb\xbf" + b'{"instances": [1]}', SCALAR, [1]),
    ],
)
def test_what_is_taken(sent: Any, signature: Signature, values: Any) -> None:
    batch = tensors.read_batch(body(sent), signature)
    spec = signature.inputs[0]
    assert batch.arrays[spec.name].dtype == spec.numpy_dtype
    assert batch.arrays[spec.name].tolist() == values
    assert batch.form == ("inputs" if b'"inputs"' in body(sent) else "instances")


@pytest.mark.parametrize(
    "sent",
    [
        {
            "instances": [
                {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
                {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
            ]
        },
        {
            "inputs": {
                "tag": ["foo", "bar"],
                "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
                "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
                "of nobody": 1,
            }
        },
    ],
)
def test_several_inputs_in_rows_and_columns_are_the_same(sent: Any) -> None:
    found = tensors.read_batch(body(sent), SENSORS).arrays
    assert list(found) == ["tag", "signal", "sensor"]
    assert found["tag"].tolist() == [b"foo", b"bar"]
    assert found["signal"].tolist() == [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]]
    assert found["sensor"].tolist() == [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]


@pytest.mark.parametrize(
    "data", [b'{"instances": [NaN, Infinity, -Infinity, 1]}', b'{"inputs": [NaN, Infinity, -Infinity, 1]}']
)
def test_numbers_that_are_not_finite_are_tokens(data: bytes) -> None:
    found = tensors.read_batch(data, SCALAR).arrays["x"]
    assert np.array_equal(found, np.array([math.nan, math.inf, -math.inf, 1], "f4"), equal_nan=True)


ELEMENT, ERROR = "Failed to process element: ", " of 'instances' list. Error: INVALID_ARGUMENT: "
ROW = {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("sent", "signature", "said"),
    [
        (b"", SCALAR, "JSON Parse error: The document is empty"),
        (b'{"instances": [1', SCALAR, "JSON Parse error: "),
        (b'{"instances": [1e400, NaN]}', SCALAR, "JSON Parse error: Number too big to be stored in double."),
        (b'{"instances": ["\\ud800"]}', TEXT, "JSON Parse error: Invalid encoding in string."),
        (b'{"instances": ["\xff"]}', TEXT, "JSON Parse error: Invalid encoding in string."),
        (b"[" * 100_000, SCALAR, "JSON Parse error: "),
        ([1], SCALAR, "JSON Value: [1] Is not object"),
        ({}, SCALAR, "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [1], "inputs": [1]},
            SCALAR,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys",
        ),
        ({"instances": 1}, SCALAR, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, SCALAR, "No values in 'instances' array"),
        (
            {"signature_name": "other", "instances": [1]},
            SCALAR,
            'Serving signature name: "other" not found in signature def',
        ),
        ({"signature_name": 100}, SCALAR, "not formatted correctly. 'signature_name' key must be a string value."),
        (
            {"instances": ["x", "y"]},
            SCALAR,
            f'{ELEMENT}0{ERROR}JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            {"instances": [1, None]},
            SCALAR,
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: null Type: Null is not of",
        ),
        (
            {"instances": [1, True]},
            SCALAR,
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true Type: True is not",
        ),
        ({"instances": [1.0]}, of("INT32"), "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ({"instances": [300]}, of("INT8"), "expected -128 to 127 for INT8, got 300"),
        ({"instances": [0]}, of("BOOL"), "JSON Value: 0 Type: Number is not of expected type: bool"),
        ({"instances": [5]}, TEXT, "JSON Value: 5 Type: Number is not of expected type: string"),
        (
            {"instances": [{"b64": "???"}]},
            TEXT,
            "element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
        (
            {"instances": ["a", {"b64": "é"}]},
            TEXT,
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64",
        ),
        (b'{"instances": [NaN]}', of("INT32"), "JSON Value: NaN Type: Number is not of expected type: int32"),
        ({"instances": [16777216]}, SCALAR, "Cannot convert JSON value: 16777216 to float without loss of precision."),
        (
            {"inputs": [1, -16777216]},
            SCALAR,
            "Cannot convert JSON value: -16777216 to float without loss of precision.",
        ),
        (
            {"instances": [1, 1e39]},
            SCALAR,
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Cannot convert JSON value: 1e+39 to",
        ),
        (
            b'{"instances": [NaN, 1' + b"0" * 400 + b"]}",
            of("FP16"),
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Cannot convert",
        ),
        ({"instances": [2**53]}, of("FP64"), "to double without loss of precision."),
        (
            {"instances": [[1, 2, 3], [1, 2]]},
            THREE,
            f"{ELEMENT}1{ERROR}x expected FP32[3]: expected a list of 3, got a list of 2",
        ),
        (
            {"instances": [[1, 2, [3]]]},
            THREE,
            "element: 0 of 'instances' list. Error: INVALID_ARGUMENT: x expected FP32[3]: at [2] expected a single",
        ),
        (
            {"instances": [[1], [1, 2]]},
            of("FP32", None),
            "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: x expected FP32[?]: expected",
        ),
        ({"instances": [{"x": 1}, 2]}, SCALAR, "Expecting object but got list at item 1 of input list"),
        ({"instances": [1, {"x": 2}]}, SCALAR, "Expecting value/list but got object at item 1 of input list"),
        (
            {"instances": [{"x": 1, "z": 2}]},
            SCALAR,
            f"{ELEMENT}0 key: z{ERROR}JSON object: does not have named input: z",
        ),
        (
            {"instances": [ROW, {"tag": "a"}]},
            SENSORS,
            '1 of \'instances\' list. JSON object: {"tag": "a"} keys must be equal to: sensor,signal,tag',
        ),
        (
            {"instances": [ROW, {**ROW, "signal": [1]}]},
            SENSORS,
            "Failed to process element: 1 key: signal of 'instances' list.",
        ),
        (
            {"instances": [[1]]},
            SENSORS,
            "instances is a plain list, but expecting list of objects as multiple input tensors required",
        ),
        (
            {"inputs": [[1]]},
            SENSORS,
            "inputs is a plain value/list, but expecting an object as multiple input tensors required",
        ),
        ({"inputs": {"tag": ["a"]}}, SENSORS, "Missing named input: signal in 'inputs' object."),
        (
            {"inputs": {"tag": ["a"], "signal": [[1] * 5] * 2, "sensor": [[[1] * 2] * 2]}},
            SENSORS,
            "input tensors must have equal 0th-dimension size: tag 1, signal 2, sensor 1",
        ),
        ({"inputs": 5}, SCALAR, "expected a list, got the number 5"),
        ({"inputs": []}, SCALAR, "expected a list of one or more, got an empty list"),
        ({"inputs": None}, SCALAR, "expected a list, got null"),
        ({"inputs": {"b64": "Zm9v"}}, TEXT, "expected a list, got "),
    ],
)
def test_what_is_refused_and_how(sent: Any, signature: Signature, said: str) -> None:
    assert said in refusal(sent, signature)


hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([10**400, "", "é", "AA==", "serving_default"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "b64", "instances", "inputs", "", "a.b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    fields=st.dictionaries(
        st.sampled_from(["instances", "inputs", "signature_name", "examples", "context", "x"]), hostile, max_size=3
    ),
    cut=st.integers(0, 400),
    dtype=st.sampled_from(["FP16", "FP32", "FP64", "INT8", "UINT64", "BOOL", "BYTES"]),
    shape=st.sampled_from([(), (1,), (2,), (None,), (None, 1), (None, None)]),
)
def test_whatever_comes_is_a_batch_or_a_400(fields: Any, cut: int, dtype: str, shape: Any) -> None:
    data, signature = json.dumps(fields).encode()[: cut or None], of(dtype, *shape)
    readers = (
        lambda: tensors.read_batch(data, signature).arrays,
        lambda: examples.read_examples(data, signature, "classify"),
    )
    for read in readers:
        array, refused = None, None
        try:
            array = read()["x"]
        except ApiError as error:
            refused = error
        if refused is not None:
            assert refused.code == 400
            refused.message.encode()
        if array is not None:
            assert array.dtype == signature.inputs[0].numpy_dtype
            assert signature.inputs[0].fits(array.shape[1:])


def test_a_message_shows_the_beginning_of_what_came() -> None:
    text = refusal({"instances": [1] * 1_000_000, "inputs": 1}, SCALAR)
    assert len(text) < 300
    assert '{"instances": [1, 1, 1' in text


numbers = st.one_of(
    st.integers(-(2**25), 2**25),
    st.floats(width=32),
    st.sampled_from([True, None, "x", 1e39, {"b64": "AA=="}, {"x": 1}]),
)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    value=st.one_of(nested, st.lists(nested, max_size=3)),
    form=st.sampled_from(["instances", "inputs"]),
    shape=st.sampled_from([(), (1,), (2,), (None,), (2, 2)]),
    dtype=st.sampled_from(["FP32", "FP64", "INT8", "BYTES", "BOOL"]),
    more=st.sampled_from([{}, {"signature_name": "serving_default"}, {"signature_name": "x"}, {"signature_name": 1}]),
)
def test_the_fast_way_decides_nothing(value: Any, form: str, shape: Any, dtype: str, more: Any) -> None:
    data, signature = json.dumps({form: value, **more}).encode(), of(dtype, *shape)
    fast = tensors.plain_batch(data, signature)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "plain_batch", lambda *_: None)
        try:
            slow = tensors.read_batch(data, signature)
        except ApiError:
            assert fast is None
            return
    if fast is not None:
        assert fast.form == slow.form
        assert fast.arrays["x"].dtype == slow.arrays["x"].dtype
        assert np.array_equal(fast.arrays["x"], slow.arrays["x"])


def test_plain_numbers_go_the_fast_way() -> None:
    for form in ("instances", "inputs"):
        assert tensors.plain_batch(body({form: [[1, 2, 3.5]], "signature_name": ""}), THREE) is not None
    assert tensors.plain_batch(b'{"instances": [[1, 2, NaN]]}', THREE) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    array=arrays.arrays(
        st.sampled_from(["<f2", "<f4", "<f8", "<i8", "<u8", "?"]), arrays.array_shapes(min_dims=0, max_dims=3)
    )
)
def test_what_is_written_reads_back_as_the_same(array: Any) -> None:
    for written in (array, np.asarray(array).T):
        text = dump(written, "y")
        read = np.array(json.loads(text), written.dtype)
        assert np.array_equal(read, written, equal_nan=written.dtype.kind == "f")


def test_floats_are_short_and_say_that_they_are_floats() -> None:
    assert dump(np.array([0.1, 2, 1e20, -0.0, math.nan, math.inf, -math.inf], "f4"), "y") == (
        b"[0.1,2.0,1e+20,-0.0,NaN,Infinity,-Infinity]"
    )
    assert dump(np.array(math.nan, "f4"), "y") == b"NaN"


def test_the_answer_has_the_form_of_the_request() -> None:
    y, z = np.array([[1, 2], [3, 4.5]], "f4"), np.array([7, 8], "i4")
    assert tensors.predict_body({"y": y}, "instances") == b'{"predictions": [[1.0,2.0],[3.0,4.5]]}\n'
    assert tensors.predict_body({"y": y}, "inputs") == b'{"outputs": [[1.0,2.0],[3.0,4.5]]}\n'
    rows = json.loads(tensors.predict_body({"y": y, "z": z}, "instances"))
    assert rows == {"predictions": [{"y": [1, 2], "z": 7}, {"y": [3, 4.5], "z": 8}]}
    columns = json.loads(tensors.predict_body({"y": y, "z": z}, "inputs"))
    assert columns == {"outputs": {"y": [[1, 2], [3, 4.5]], "z": [7, 8]}}


def test_strings_are_base64_where_the_name_says_that_they_are_bytes() -> None:
    texts = np.array([b"foo", b"\xff"], object)
    assert json.loads(tensors.predict_body({"text": texts}, "instances")) == {"predictions": ["foo", "\ufffd"]}
    both = {"image_bytes": texts, "n_bytes": np.array([1, 2])}
    assert json.loads(tensors.predict_body(both, "instances")) == {
        "predictions": [
            {"image_bytes": {"b64": "Zm9v"}, "n_bytes": 1},
            {"image_bytes": {"b64": "/w=="}, "n_bytes": 2},
        ]
    }


@pytest.mark.parametrize("z", [np.array([1]), np.array(1)])
def test_rows_of_outputs_that_have_not_as_many(z: Any) -> None:
    outputs = {"y": np.array([1, 2]), "z": z}
    with pytest.raises(ApiError) as caught:
        tensors.predict_body(outputs, "instances")
    assert caught.value.code == 400
    assert "z has inconsistent batch size: 1 expecting: 2" in caught.value.message or "no shape" in caught.value.message
    assert json.loads(tensors.predict_body(outputs, "inputs"))["outputs"]["y"] == [1, 2]


EXAMPLES = Signature((Spec("image", "BYTES", ()), Spec("size", "INT64", (2,)), Spec("pixels", "FP32", (2, 2))), Y)
GOOD = {"image": {"b64": "aW1hZ2UgYnl0ZXM="}, "size": [2, True], "pixels": [1, 2.5, 3, 4]}


def test_examples_are_features_in_flat_lists() -> None:
    sent = {
        "signature_name": "tensorflow/serving/classify",
        "context": {"size": [7, 8], "image": "seaside"},
        "examples": [{**GOOD, "caption": None} | {"caption": "seaside"}, {"pixels": [1, 2, 3, 4]}],
    }
    found = examples.read_examples(body(sent), EXAMPLES, "classify")
    assert found["image"].tolist() == [b"image bytes", b"seaside"]
    assert found["size"].tolist() == [[2, 1], [7, 8]]
    assert found["pixels"].tolist() == [[[1, 2.5], [3, 4]], [[1, 2], [3, 4]]]
    assert examples.read_examples(body({"examples": [{"x": 1.0}, {"x": [2.0]}]}), SCALAR, "regress")["x"].tolist() == [
        1,
        2,
    ]
    free = examples.read_examples(body({"examples": [{"x": [1, 2, 3, 4]}]}), of("FP32", None, 2), "regress")["x"]
    assert free.tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [[1]]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [GOOD], "context": 1}, "Example must be JSON object but got JSON Number"),
        (
            {"examples": [GOOD, {"size": [1, 2]}]},
            "Feature: image (BYTES[]) is required but could not be found in example 1.",
        ),
        ({"examples": [{**GOOD, "size": [[1, 2]]}]}, "Feature: size has element with unexpected JSON type: Array"),
        ({"examples": [{**GOOD, "size": [1, None]}]}, "Feature: size has element with unexpected JSON type: Null"),
        ({"examples": [{**GOOD, "image": {"a": 1}}]}, "Feature: image has element with unexpected JSON type: Object"),
        ({"examples": [{**GOOD, "image": {"b64": "?"}}]}, "Feature: image of example 0: Unable to base64 decode"),
        (
            {"examples": [GOOD, {**GOOD, "size": 1}]},
            "Feature: size of example 1: expected INT64[2], as [2] in example 0, got 1 values",
        ),
        (
            {"examples": [GOOD, {**GOOD, "size": [1, 2.5]}]},
            "Feature: size of example 1: JSON Value: 2.5 Type: Number is not of expected",
        ),
        (
            {"examples": [{**GOOD, "pixels": {"b64": "AA=="}}]},
            "Feature: pixels of example 0: expected FP32[2,2], got 1 values",
        ),
        ({"examples": [{**GOOD, "size": {"b64": "AA=="}}]}, "expected INT64[2], got 1 values"),
        ({"examples": [GOOD], "signature_name": "tensorflow/serving/regress"}, "not found in signature def"),
        ({"examples": [GOOD], "signature_name": 5}, "'signature_name' key must be a string value."),
    ],
)
def test_examples_that_are_refused(sent: Any, said: str) -> None:
    with pytest.raises(ApiError) as caught:
        examples.read_examples(body(sent), EXAMPLES, "classify")
    assert caught.value.code == 400
    assert said in caught.value.message


def test_a_flat_list_that_could_have_several_shapes() -> None:
    with pytest.raises(ApiError, match=r"expected FP32\[\?,\?\], got 4 values"):
        examples.read_examples(body({"examples": [{"x": [1, 2, 3, 4]}]}), of("FP32", None, None), "regress")
    with pytest.raises(ApiError, match=r"of example 1: expected FP32\[\?\], as \[2\] in example 0, got 3 values"):
        examples.read_examples(body({"examples": [{"x": [1, 2]}, {"x": [1, 2, 3]}]}), of("FP32", None), "regress")


def test_scores_of_classes_and_numbers() -> None:
    scores = np.array([[0.1, 0.9], [math.nan, 1]], "f4")
    assert (
        examples.classify_body(scores, ["a", 'b"'])
        == b'{"results": [[["a", 0.1], ["b\\"", 0.9]], [["a", NaN], ["b\\"", 1.0]]]}\n'
    )
    assert (
        examples.classify_body(np.array([[0.25]], "f4"), ["no", "yes"])
        == b'{"results": [[["no", 0.75], ["yes", 0.25]]]}\n'
    )
    assert examples.classify_body(np.array([2, 3], "i8"), ["one"]) == b'{"results": [[["one", 2]], [["one", 3]]]}\n'
    assert examples.regress_body(np.array([[3.5], [4]], "f4")) == b'{"results": [3.5,4.0]}\n'


def outputs(*specs: Spec) -> Signature:
    return Signature(THREE.inputs, specs)


@pytest.mark.parametrize(
    ("signature", "classes", "classifies", "regresses"),
    [
        (outputs(Spec("y", "FP32", (3,))), ["a", "b", "c"], True, False),
        (outputs(Spec("y", "FP32", (1,))), ["a", "b"], True, True),
        (outputs(Spec("y", "FP32", ())), None, False, True),
        (outputs(Spec("y", "FP32", (3,))), ["a", "b"], False, False),
        (outputs(Spec("y", "FP32", (1,))), ["a", "b", "c"], False, True),
        (outputs(Spec("y", "BYTES", (1,))), ["a"], False, False),
        (outputs(Spec("y", "FP32", (1,)), Spec("z", "FP32", (1,))), ["a", "b"], False, False),
        (outputs(Spec("y", "FP32", (None,))), ["a", "b"], True, True),
    ],
)
def test_which_models_classify_and_regress(
    signature: Signature, classes: Any, classifies: bool, regresses: bool
) -> None:
    for method, fits in (
        (lambda: examples.check_scores(signature, classes), classifies),
        (lambda: examples.check_value(signature), regresses),
    ):
        if fits:
            method()
        else:
            with pytest.raises(ApiError, match="signature method_name to be tensorflow/serving/") as caught:
                method()
            assert caught.value.code == 400


def test_outputs_of_free_width_that_turn_out_not_to_fit() -> None:
    with pytest.raises(ApiError, match="it gave 3 scores for 2 classes"):
        examples.classify_body(np.zeros((1, 3)), ["a", "b"])
    with pytest.raises(ApiError, match="it gave 4 numbers for 2 examples"):
        examples.regress_body(np.zeros((2, 2)))


def test_the_states_of_versions() -> None:
    found = models.status_of(
        [
            {"version": 1, "state": "retired"},
            {"version": 9, "state": "available"},
            {"version": 10, "state": "loading"},
            {"version": 3, "state": "failed", "error": "not equal to Keras"},
        ]
    )["model_version_status"]
    assert [
        (one["version"], one["state"], one["status"]["error_code"], one["status"]["error_message"]) for one in found
    ] == [
        ("10", "LOADING", "OK", ""),
        ("9", "AVAILABLE", "OK", ""),
        ("3", "END", "UNKNOWN", "not equal to Keras"),
        ("1", "END", "OK", ""),
    ]


def test_metadata() -> None:
    found = models.metadata_of("m", 7, Signature(SENSORS.inputs, (Spec("p", "FP64", (None, 2)), Spec("q", "INT8", ()))))
    assert found["model_spec"] == {"name": "m", "signature_name": "", "version": "7"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["sensor"] == {
        "dtype": "DT_INT32",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
        "name": "serving_default_sensor:0",
    }
    assert [(info["dtype"], info["name"]) for info in signature["outputs"].values()] == [
        ("DT_DOUBLE", "StatefulPartitionedCall:0"),
        ("DT_INT8", "StatefulPartitionedCall:1"),
    ]
    assert signature["inputs"]["tag"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/V1/Models/Sums:PREDICT", "/v1/models/Sums:predict"),
        ("/v1/MODELS/a/Versions/3:Classify", "/v1/models/a/versions/3:classify"),
        ("/v1/models/a/LABELS/Stable/Metadata", "/v1/models/a/labels/Stable/metadata"),
        ("/v1/models/Versions/Versions/1", "/v1/models/Versions/versions/1"),
        ("/v1/models/LABELS", "/v1/models/LABELS"),
        ("/V1/MODELS", "/v1/models"),
        ("/V1/Models/a/b", "/V1/Models/a/b"),
        ("/v1/Modelsx", "/v1/Modelsx"),
    ],
)
def test_paths_in_any_case(path: str, meant: str) -> None:
    assert in_small_letters(path) == meant
