"""One row a request: Flask with model.predict and with a tf.function, Almanac storing all and nothing, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.report import Options, progress
from benchmarks.servers import NAMES, Server

#: Connections of the load that comes first and is not counted, and the most seconds of it.
WARM_CONNECTIONS, WARM_SECONDS = 4, 1.0


def measure(servers: Mapping[str, Server], options: Options) -> list[dict[str, Any]]:
    """Every alternative at every number of connections, once each in every run."""
    asked = {name: servers[name].row(name) for name in NAMES}
    for one in asked.values():
        one.load(WARM_CONNECTIONS, min(WARM_SECONDS, options.seconds))
    found = []
    for number in range(options.runs):
        for connections in options.connections:
            for name, one in asked.items():
                figures = one.load(connections, options.seconds)
                progress(f"run {number + 1}: {name}, {connections} connections: {figures.rate:.0f} req/s")
                found.append({"run": number, "name": name, "connections": connections, **asdict(figures)})
    return found
