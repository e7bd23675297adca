"""Bodies as TensorFlow Serving's clients send them: JSON that may hold NaN, and which signature is meant."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal

import orjson

from api.dialects.tensorflow_serving.values import shown
from api.errors import ApiError

Method = Literal["predict", "classify", "regress"]

#: The one signature that every model has.
SIGNATURE = "serving_default"

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def invalid(message: str) -> ApiError:
    """INVALID_ARGUMENT, as HTTP has it."""
    return ApiError(400, message)


def parse(data: bytes) -> dict[str, Any]:
    """A body as JSON, in which NaN, Infinity and -Infinity are numbers. Raises a 400."""
    if not data:
        raise invalid("JSON Parse error: The document is empty")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = _with_tokens(data)
    if not isinstance(body, dict):
        raise invalid(f"JSON Value: {shown(body)} Is not object")
    return body


def check_signature(body: dict[str, Any], method: Method) -> None:
    """Refuse a `signature_name` that no model has. Raises a 400."""
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        came = shown(body)
        raise invalid(f"JSON Value: {came} not formatted correctly. 'signature_name' key must be a string value.")
    # TensorFlow names the signatures of classify and regress so where nobody names them otherwise.
    if name not in ("", SIGNATURE) and (method == "predict" or name != f"tensorflow/serving/{method}"):
        raise invalid(f'Serving signature name: "{name[:200]}" not found in signature def')


def _with_tokens(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
        body = json.loads(text, parse_float=_float)
        if _SURROGATE.search(text):
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeError:
        raise invalid("JSON Parse error: Invalid encoding in string.") from None
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply") from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    return body


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number too big to be stored in double.")
    return value
