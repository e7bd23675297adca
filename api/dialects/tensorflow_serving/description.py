"""How the routes of TensorFlow Serving are described in the OpenAPI document."""

from __future__ import annotations

from api.dialects.tensorflow_serving.models import STATES, metadata_of
from api.openapi.describe import JSON, Answer, Body, Media, Operation, Schema, named, record
from ml.service import Signature, TensorSpec

ERROR = named(
    "TensorFlowServingError",
    record({"error": {"type": "string", "description": "What is wrong, and where."}}, ["error"]),
)
VALUE = named(
    "TensorFlowServingValue",
    {
        "description": 'A number, true, false, a string, bytes as `{"b64": "..."}`, or lists of these. Numbers may be '
        "`NaN`, `Infinity` and `-Infinity`, which are no JSON.",
        "not": {"type": "null"},
    },
)
_SIGNATURE: Schema = {"type": "string", "description": "`serving_default`, which it is where nothing is said."}
_ROWS: Schema = {"type": "array", "minItems": 1, "items": VALUE}
#: By input name; what is no input is ignored, whatever it is.
_FEATURES: Schema = {"type": "object", "additionalProperties": True}


def _open(properties: dict[str, Schema], required: list[str]) -> Schema:
    """An object that may have other fields: they are ignored."""
    return {"type": "object", "properties": properties, "required": required}


#: Bodies that may hold NaN, Infinity and -Infinity, which no schema can say.
TOKENS = {"x-json-tokens": ["NaN", "Infinity", "-Infinity"]}
_PREDICT = {
    **TOKENS,
    "anyOf": [
        named(
            "TensorFlowServingRows",
            _open(
                {
                    "instances": {**_ROWS, "description": "Rows: the input's value, or an object by input name."},
                    "signature_name": _SIGNATURE,
                },
                ["instances"],
            ),
        ),
        named(
            "TensorFlowServingColumns",
            _open(
                {
                    "inputs": {
                        "anyOf": [VALUE],
                        "description": "The whole batch: the input's tensor, or an object by input name.",
                    },
                    "signature_name": _SIGNATURE,
                },
                ["inputs"],
            ),
        ),
    ],
}
_EXAMPLES = named(
    "TensorFlowServingExamples",
    TOKENS
    | _open(
        {
            "examples": {
                "type": "array",
                "minItems": 1,
                "items": _FEATURES,
                "description": "Features by input name: a value, or a flat list of the values of the input's shape.",
            },
            "context": {**_FEATURES, "description": "Features of every example that does not give them."},
            "signature_name": {
                "type": "string",
                "description": "`serving_default`, `tensorflow/serving/classify` or `tensorflow/serving/regress`.",
            },
        },
        ["examples"],
    ),
)
_PREDICTED = {
    **TOKENS,
    "anyOf": [
        record(
            {"predictions": {"type": "array", "items": VALUE, "description": "Rows, as `instances` were."}},
            ["predictions"],
        ),
        record({"outputs": {"description": "Columns, as `inputs` were."}}, ["outputs"]),
    ],
}
_PAIR: Schema = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {"anyOf": [{"type": "string"}, {"type": "number"}]},
    "description": "A class, and its score.",
}
_CLASSIFIED = TOKENS | record(
    {"results": {"type": "array", "items": {"type": "array", "items": _PAIR}, "description": "For each example."}},
    ["results"],
)
_REGRESSED = TOKENS | record(
    {"results": {"type": "array", "items": {"type": "number"}, "description": "For each example."}}, ["results"]
)
_STATUS = record(
    {
        "model_version_status": {
            "type": "array",
            "items": record(
                {
                    "version": {"type": "string"},
                    "state": {"enum": sorted({*STATES.values(), "UNKNOWN"}), "type": "string"},
                    "status": record(
                        {"error_code": {"type": "string"}, "error_message": {"type": "string"}},
                        ["error_code", "error_message"],
                    ),
                },
                ["version", "state", "status"],
            ),
        }
    },
    ["model_version_status"],
)
_METADATA = record(
    {
        "model_spec": record(
            {"name": {"type": "string"}, "signature_name": {"type": "string"}, "version": {"type": "string"}},
            ["name", "signature_name", "version"],
        ),
        "metadata": {"type": "object", "description": "`signature_def.signature_def.serving_default`, as protobuf."},
    },
    ["model_spec", "metadata"],
)
_HALF_PLUS_TWO = Signature((TensorSpec("x", "FP32", ()),), (TensorSpec("y", "FP32", ()),))

#: What is done: summary, the body that is sent, and the answer.
_WHAT: dict[str, tuple[str, Media | None, Answer]] = {
    "predict": (
        "Predict",
        Media(
            _PREDICT,
            {
                "rows": {"instances": [[5.1, 3.5, 1.4, 0.2]]},
                "columns": {"inputs": {"measures": [[5.1, 3.5, 1.4, 0.2]]}, "signature_name": "serving_default"},
            },
        ),
        Answer(
            "The outputs, in the form in which the inputs came; the name of a sole output is left out.",
            {JSON: Media(_PREDICTED, {"rows": {"predictions": [[0.98, 0.02, 0.0]]}})},
        ),
    ),
    "classify": (
        "Classify",
        Media(_EXAMPLES, {"one": {"examples": [{"measures": [5.1, 3.5, 1.4, 0.2]}]}}),
        Answer(
            "For each example each class with its score.",
            {JSON: Media(_CLASSIFIED, {"one": {"results": [[["setosa", 0.98], ["versicolor", 0.02]]]}})},
        ),
    ),
    "regress": (
        "Regress",
        Media(_EXAMPLES, {"two": {"examples": [{"x": 1.0}, {"x": 2.0}]}}),
        Answer("For each example a number.", {JSON: Media(_REGRESSED, {"two": {"results": [3.5, 4.0]}})}),
    ),
    "status": (
        "Ask for the state of versions",
        None,
        Answer(
            "The states, the newest version first.",
            {
                JSON: Media(
                    _STATUS,
                    {
                        "one": {
                            "model_version_status": [
                                {
                                    "version": "123",
                                    "state": "AVAILABLE",
                                    "status": {"error_code": "OK", "error_message": ""},
                                }
                            ]
                        }
                    },
                )
            },
        ),
    ),
    "metadata": (
        "Ask for the signature",
        None,
        Answer(
            "Inputs and outputs, as protobuf writes JSON.",
            {JSON: Media(_METADATA, {"one": metadata_of("half_plus_two", 123, _HALF_PLUS_TWO)})},
        ),
    ),
}
_PLACES = {"": "", "_version": " with one version", "_label": " with the version that an alias names"}
_PLACES_ASKED = {"": "", "_version": " of one version", "_label": " of the version that an alias names"}


def operation(tag: str, what: str, place: str) -> Operation:
    """The description of one of the routes: what is done, and with which version."""
    summary, media, answer = _WHAT[what]
    label = "The label (alias) is not known; or the request is not understood. The text says what, and where."
    errors = {400: label if place == "_label" else "The request is not understood: the text says what, and where."}
    if media is not None:
        errors |= {
            404: "There is no such model or version, or it is not available.",
            500: "The model failed on these rows; they have failed results. Or a defect: the log has the request's id.",
            504: "",
        }
    return Operation(
        id="tfServing" + what.capitalize() + {"": "", "_version": "Version", "_label": "Label"}[place],
        tag=tag,
        summary=summary + (_PLACES if media is not None else _PLACES_ASKED)[place],
        body=None
        if media is None
        else Body(
            {JSON: media},
            "Taken for JSON whatever type it is said to be, but of a page of another site, which has to say so. "
            "`Content-Encoding` may be `gzip` or `deflate`.",
            any_type=True,
        ),
        answers={200: answer},
        errors=errors,
    )
