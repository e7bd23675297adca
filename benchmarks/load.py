"""Many HTTP clients: each sends its next request when its last was answered, or all together send so many a second."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Run as a file and alone: what the benchmarks import costs it nothing, and it shares no interpreter with anything.
CLIENT = Path(__file__).with_name("client.py")


@dataclass(frozen=True)
class Figures:
    """What one run gave: requests a second, and milliseconds at the median and the 99th percentile."""

    rate: float
    p50: float
    p99: float
    #: How many requests were answered, and microseconds of processor time that the load generator took for each.
    requests: int
    client_us: float
    #: Where refusals are expected: how many there were a second, and milliseconds at their 99th percentile.
    refused_rate: float = 0.0
    refused_p99: float = 0.0


def run(
    port: int,
    path: str,
    body: bytes,
    headers: dict[str, str],
    connections: int,
    seconds: float,
    *,
    refusals: bool = False,
    rate: float | None = None,
) -> Figures:
    """Send `body` over and over. Raises RuntimeError where any answer is not a 200 with a Content-Length.

    With `refusals` a 503 is an answer too, which is counted apart. With `rate` so many requests are sent a second,
    whatever becomes of those before; times are then from the moment at which each was due.
    """
    given = {"port": port, "connections": connections, "seconds": seconds, "refusals": refusals, "rate": rate}
    options = json.dumps(given).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(CLIENT)],
        input=options + request_bytes(path, body, headers),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"POST {path}: {done.stderr.decode(errors='replace').strip()}")
    line, _, rest = done.stdout.partition(b"\n")
    facts = json.loads(line)
    times = array("d", rest)
    return figures_of(times[: facts["answers"]], facts["took"], facts["cpu"], times[facts["answers"] :])


def request_bytes(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The whole request, as it is sent each time."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def figures_of(times: Sequence[float], took: float, cpu: float, refused: Sequence[float] = ()) -> Figures:
    """The figures for the seconds that each answer and refusal took, the seconds that all took, processor seconds."""
    ordered = sorted(times)
    number = len(ordered)
    return Figures(
        rate=number / took,
        p50=statistics.median(ordered) * 1000,
        p99=percentile(ordered, 99) * 1000,
        requests=number,
        client_us=cpu / (number + len(refused)) * 1e6,
        refused_rate=len(refused) / took,
        refused_p99=percentile(sorted(refused), 99) * 1000 if refused else 0.0,
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest of the ordered values that `percent` of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
