"""`make bench PART=dialects`: the same row asked for natively and by each dialect, every row stored, in one run."""

from __future__ import annotations

import argparse
import json
import struct
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, in_a_line
from benchmarks.part import carried_out, keep
from benchmarks.report import Measured, line, median, progress, ratio
from benchmarks.rows import WARM_CONNECTIONS, WARM_SECONDS
from benchmarks.servers import JSON, ROW, Asked, Server, almanac, register, save_model, threads_for

NATIVE = "native, JSON"
MODEL = "mlp"


def native(server: Server, rows: int) -> Asked:
    """Almanac's own."""
    body = json.dumps({"instances": [ROW] * rows}).encode()
    return Asked(server.port, f"/api/v1/models/{MODEL}/predict", body, {**JSON, **server.headers})


def kserve_json(server: Server, rows: int) -> Asked:
    """KServe's v2 with the values in JSON, both ways, flat as its clients send them."""
    tensor = {**_kserve_tensor(server, rows), "data": ROW * rows}
    body = json.dumps({"inputs": [tensor]}).encode()
    return Asked(server.port, f"/v2/models/{MODEL}/infer", body, {**JSON, **server.headers})


def kserve_binary(server: Server, rows: int) -> Asked:
    """KServe's v2 as Triton's client sends it by default: the values are bytes, both ways."""
    values = struct.pack(f"<{len(ROW) * rows}f", *ROW * rows)
    tensor = {**_kserve_tensor(server, rows), "parameters": {"binary_data_size": len(values)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), **server.headers}
    return Asked(server.port, f"/v2/models/{MODEL}/infer", head + values, headers)


def _kserve_tensor(server: Server, rows: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}/v2/models/{MODEL}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=server.headers)) as answer:
        (tensor,) = json.load(answer)["inputs"]
    return {"name": tensor["name"], "datatype": tensor["datatype"], "shape": [rows, *tensor["shape"][1:]]}


#: In the order of the table; the first is what the others are compared with.
KINDS: dict[str, Callable[[Server, int], Asked]] = {
    NATIVE: native,
    "KServe v2, JSON": kserve_json,
    "KServe v2, binary tensors": kserve_binary,
}


def measure(
    seconds: float, connections: tuple[int, ...], runs: int, rows: int, directory: Path
) -> tuple[list[Measured], dict[str, Any]]:
    """Each kind at every number of connections, in turn, once in every run."""
    progress("making the model, registering and building it ...")
    save_model(directory / "mlp.keras")
    register(directory / "mlp.keras", directory / "data", MODEL)
    threads = threads_for(connections)
    found: list[Measured] = []
    with almanac(directory / "data", threads, "--no-jobs") as server:
        asked = {name: kind(server, rows) for name, kind in KINDS.items()}
        for one in asked.values():
            one.load(WARM_CONNECTIONS, min(WARM_SECONDS, seconds))
        about = describe(directory / "data", threads)
        for run in range(runs):
            for many in connections:
                for name, one in asked.items():
                    figures = one.load(many, seconds)
                    progress(f"run {run + 1}: {name}, {many} connections: {figures.rate:.0f} req/s")
                    found.append({"run": run, "name": name, "connections": many, "rows": rows, **asdict(figures)})
    return found, about


def text(found: list[Measured], about: dict[str, Any]) -> str:
    """The table."""
    rows = found[0]["rows"]
    lines = [line(f"{rows} row{'s' if rows > 1 else ''} a request, stored", "connections", "req/s", "p50 ms", "p99 ms")]
    shares = [f"compared with {NATIVE}: the median of the runs (the least to the greatest)"]
    for name in KINDS:
        for many in dict.fromkeys(one["connections"] for one in found):
            which = {"name": name, "connections": many}
            figures = [f"{median(found, 'rate', **which):,.0f}"]
            figures += [f"{median(found, figure, **which):.2f}" for figure in ("p50", "p99")]
            lines.append(line(name, str(many), *figures))
            if name != NATIVE:
                share = ratio(found, "rate", which, {"name": NATIVE, "connections": many})
                what = f"{name}, {many} connection{'s' if many > 1 else ''}"
                shares.append(f"{what:68}{share}")
    return "\n".join([*lines, "", *shares, "", in_a_line(about)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench PART=dialects", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="each figure of each run; %(default)s")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32], help="at once; 1 32")
    parser.add_argument("--runs", type=int, default=5, help="the table has their medians; %(default)s")
    parser.add_argument("--rows", type=int, default=1, help="in each request; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    given = parser.parse_args(arguments)
    found, about = carried_out(measure, given.seconds, tuple(given.connections), given.runs, given.rows)
    print(text(found, about))
    keep(given.json, about, measured=found)


if __name__ == "__main__":
    main()
