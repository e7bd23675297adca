"""What a prediction answered, as people see it: bars by class, numbers, and the lines that ask for the same."""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.console.curl import curl_line
from api.console.inner import Sent
from api.console.try_fields import flattened

#: Bars that are shown.
MOST_BARS = 10
#: Values of an output that has no classes, beyond which it is shown as JSON.
MOST_PLAIN = 1000
#: Characters of a line; a longer request names its stored input instead of holding the row.
MOST_LINE = 3000


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its name. `start` and `length` are hundredths of the bar's room."""

    name: str
    value: str
    start: float
    length: float
    first: bool


@dataclass(frozen=True, slots=True)
class Output:
    """One output: bars, or what it is as text."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    #: How many more values there are.
    others: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class TryAnswer:
    """A prediction of one row."""

    version: int
    result: str | None
    input: str | None
    label: str | None
    score: str | None
    outputs: list[Output]
    timing: list[tuple[str, str]]
    curl: str
    python: str


def answer_of(
    body: Mapping[str, Any], names: Sequence[str], classes: Sequence[str], sent: Sent, origin: str
) -> TryAnswer:
    """Of the JSON that predict answered to `sent`; `names` are those of the model's outputs."""
    prediction = body["predictions"][0]
    given = prediction["output"]
    outputs = {names[0]: given} if len(names) == 1 else given
    again = _again(sent, prediction)
    return TryAnswer(
        version=body["version"],
        result=prediction.get("_id"),
        input=prediction.get("input"),
        label=prediction.get("label"),
        score=number_text(prediction["score"]) if "score" in prediction else None,
        outputs=[output_of(name, value, classes if len(outputs) == 1 else ()) for name, value in outputs.items()],
        timing=_timing(body.get("timing", {})),
        curl=curl_line(again, origin),
        python=python_lines(again, origin),
    )


def output_of(name: str, value: Any, classes: Sequence[str]) -> Output:
    """An output as bars, the largest first; without classes values keep their order."""
    values = flattened(value)
    numbers = [item for item in values if isinstance(item, (int, float)) and not isinstance(item, bool)]
    if len(numbers) != len(values) or (len(values) > MOST_PLAIN and len(classes) != len(values)):
        return Output(name, text=json.dumps(value, ensure_ascii=False)[:MOST_LINE])
    if len(values) == 1 and len(classes) == 2 and 0 <= numbers[0] <= 1:
        numbers = [1 - numbers[0], numbers[0]]
    labels = list(classes) if len(classes) == len(numbers) else [str(index) for index in range(len(numbers))]
    if len(numbers) == 1:
        return Output(name, text=number_text(numbers[0]))
    pairs = list(zip(labels, numbers, strict=True))
    if len(pairs) > MOST_BARS or classes:
        pairs.sort(key=lambda pair: pair[1], reverse=True)
    # From nought to the largest, or to one where they are shares.
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    if low == 0 and high <= 1 and 0.99 <= sum(numbers) <= 1.01:
        high = 1.0
    room = (high - low) or 1.0
    shares = low == 0 and high == 1
    bars = [
        Bar(
            name=label,
            value=share_text(number) if shares else number_text(number),
            start=round(100 * (min(number, 0) - low) / room, 2),
            length=round(100 * abs(number) / room, 2),
            first=index == 0 and bool(classes),
        )
        for index, (label, number) in enumerate(pairs[:MOST_BARS])
    ]
    return Output(name, bars, max(0, len(pairs) - MOST_BARS))


def number_text(value: Any) -> str:
    """A number in about four figures, without an exponent where it is no tiny or huge one; a NaN is `null` in JSON."""
    if value is None:
        return "not a number"
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if 1000 <= size < 1e12:
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:.4f}" if 0.0001 <= size < 1 or size == 0 else f"{value:.4g}"


def share_text(value: float) -> str:
    """A share of one: four places, and no more for one that is nearly none."""
    return "< 0.0001" if 0 < value < 0.0001 else f"{value:.4f}"


def python_lines(sent: Sent, origin: str) -> str:
    """The request in Python, with the requests package."""
    lines = ["import os", "import requests", "", "answer = requests.post("]
    lines.append(f"    {origin + sent.path!r},")
    lines.append("    headers={'Authorization': f\"Bearer {os.environ['ALMANAC_KEY']}\"},")
    if sent.form is not None:
        fields, files = sent.form
        parts = ", ".join(f"{name!r}: open({file.filename!r}, 'rb')" for name, file in files.items())
        lines += [f"    files={{{parts}}},", f"    data={dict(fields)!r},"]
    else:
        body = pprint.pformat(json.loads(sent.body or b"{}"), width=100, compact=True)
        lines.append("    json=" + body.replace("\n", "\n    ") + ",")
    return "\n".join([*lines, ")", "answer.raise_for_status()", "print(answer.json()['predictions'][0])"])


def _again(sent: Sent, prediction: Mapping[str, Any]) -> Sent:
    """The same request, by the id of the stored input where its row is long."""
    if sent.body is None or len(sent.body) <= MOST_LINE or "input" not in prediction:
        return sent
    return Sent(sent.method, sent.path, body=json.dumps({"inputs": [prediction["input"]]}).encode())


def _timing(timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = (("total_ms", "in all"), ("queue_ms", "waiting"), ("compute_ms", "computing"))
    return [(text, f"{timing[name]:.1f} ms") for name, text in words if isinstance(timing.get(name), (int, float))]
