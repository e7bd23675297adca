"""`input`: one row by the names of the model's inputs, each a value as in an instance, or a file."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote_to_bytes

from api.dialects.replicate import files
from api.errors import ApiError
from api.predict_request import row_of_file
from ml.service import Signature, TensorSpec
from ml.tensors import TensorIssues, parse_instances
from ml.tensors.values import Array, describe

#: The beginnings of what is a file, where an input takes no text.
DATA_URL = "data:"
URLS = ("http://", "https://")
#: The longest URL that is kept with the prediction, so that its `input` shows it.
LONGEST_URL = 2000


def read_input(given: Any, signature: Signature) -> tuple[dict[str, Array], dict[str, str]]:
    """The batch of one row, every input by name; and the URLs of those that came as one.

    Raises a 422 with what does not fit, by field.
    """
    names = [spec.name for spec in signature.inputs]
    if not isinstance(given, dict):
        issue = f"expected an object with {', '.join(names)}, got {describe(given)}"
        raise ApiError(422, "the input does not fit the model", {"input": issue})
    issues = {
        f"input.{name[:100]}": f"no such input; the model takes {', '.join(names)}"
        for name in given
        if name not in names
    }
    arrays: dict[str, Array] = {}
    urls: dict[str, str] = {}
    for spec in signature.inputs:
        place = f"input.{spec.name}"
        if spec.name not in given:
            issues[place] = f"expected {spec}, got nothing"
            continue
        value = given[spec.name]
        try:
            arrays[spec.name] = _row(value, spec, place)
        except TensorIssues as error:
            issues[place] = "; ".join(error.issues.values())
        if _is_url(value, spec) and len(value) <= LONGEST_URL:
            urls[spec.name] = value
    if issues:
        raise ApiError(422, "the input does not fit the model", issues)
    return arrays, urls


def _row(value: Any, spec: TensorSpec, place: str) -> Array:
    """One input's value, with the axis of rows. Raises TensorIssues."""
    if spec.dtype != "BYTES" and isinstance(value, str) and value.startswith((DATA_URL, *URLS)):
        try:
            return row_of_file(_content(value, place), spec, place)[None]
        except TensorIssues as error:
            # There is nothing here that could say so.
            raise TensorIssues({place: error.issues[place].replace("; resize=true scales", "")}) from None
    return parse_instances([{spec.name: value}], Signature((spec,), ()), place)[spec.name]


def _is_url(value: Any, spec: TensorSpec) -> bool:
    return spec.dtype != "BYTES" and isinstance(value, str) and value.startswith(URLS)


def _content(url: str, place: str) -> bytes:
    if url.startswith(DATA_URL):
        return _of_data_url(url, place)
    try:
        found = files.read(url)
    except ApiError as error:
        if error.code not in (404, 422):
            raise
        raise TensorIssues({place: error.message}) from None
    if found is None:
        raise TensorIssues(
            {
                place: f"expected a data URL or the URL of a file uploaded to /v1/files, got {describe(url)}: "
                "nothing is fetched from other servers"
            }
        )
    return found[0]


def _of_data_url(url: str, place: str) -> bytes:
    """RFC 2397: `data:[<type>][;base64],<data>`."""
    kind, comma, data = url.removeprefix(DATA_URL).partition(",")
    if not comma:
        raise TensorIssues({place: f"expected a data URL with a comma before the data, got {describe(url)}"})
    if not kind.endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:  # or it is not ASCII
        raise TensorIssues({place: f"expected base64 after the comma of the data URL: {error}"}) from None
