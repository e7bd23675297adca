"""The one table that the command prints."""

from __future__ import annotations

from typing import Any

from benchmarks import cold, npy, overload
from benchmarks.http_server import CONNECTIONS
from benchmarks.machine import versions
from benchmarks.report import Measured, Options, line, median, ratio
from benchmarks.servers import BASELINES, FUNCTION, NAMES, STORED, UNSTORED

MB = 1 << 20

Found = dict[str, list[Measured]]


def rows_lines(found: list[Measured], options: Options) -> list[str]:
    lines = [line("one row a request, JSON", "connections", "req/s", "p50 ms", "p99 ms", "client µs")]
    for name in NAMES:
        for connections in options.connections:
            which = {"name": name, "connections": connections}
            figures = [median(found, key, **which) for key in ("rate", "p50", "p99", "client_us")]
            rate, p50, p99, client = figures
            lines.append(
                line(name, str(connections), f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{client:.0f}"),
            )
    return lines


def npy_lines(found: list[Measured]) -> list[str]:
    lines = [line(f"{npy.ROWS:,} rows a request, 1 connection", "rows/s")]
    return lines + [
        line(name, f"{median(found, 'rows', name=name):,.0f}") for name in (npy.SERVED, *npy.ALONE.values())
    ]


def cold_lines(found: list[Measured]) -> list[str]:
    lines = [line("start, and memory after a load", "ready s", "first s", "worker MB", "all MB", "mongod MB")]
    for name in (cold.ALMANAC, FUNCTION):
        seconds = [f"{median(found, key, name=name):.2f}" for key in ("ready", "first")]
        memory = [
            f"{median(found, key, name=name) / MB:.0f}" if name == cold.ALMANAC or key == "worker" else "-"
            for key in ("worker", "all", "mongod")
        ]
        lines.append(line(name, *seconds, *memory))
    return lines


def http_lines(found: list[Measured]) -> list[str]:
    lines = [line("HTTP server, trivial application", "connections", "req/s", "server µs", "client µs")]
    for name in dict.fromkeys(one["name"] for one in found):
        for connections in CONNECTIONS:
            figures = [
                median(found, key, name=name, connections=connections) for key in ("rate", "server_us", "client_us")
            ]
            rate, server, client = figures
            lines.append(line(name, str(connections), f"{rate:,.0f}", f"{server:.0f}", f"{client:.0f}"))
    return lines


def ratio_lines(found: Found, options: Options) -> list[str]:
    lines = ["ratios: the median of the runs (the least to the greatest)"]
    for name in (STORED, UNSTORED):
        for base in BASELINES:
            for connections in options.connections:
                of, to = ({"name": which, "connections": connections} for which in (name, base))
                what = f"{name} / {base}, {connections} connection{'s' if connections > 1 else ''}"
                lines.append(f"{what:68}{ratio(found['rows'], 'rate', of, to)}")
    for alone in npy.ALONE.values():
        share = ratio(found["npy"], "rows", {"name": npy.SERVED}, {"name": alone})
        lines.append(f"{f'{npy.SERVED} / {alone}':68}{share}")
    return lines + overload.ratio_lines(found["overload"])


def whole(found: Found, machine: dict[str, Any], options: Options) -> str:
    """Everything that was measured."""
    parts = [rows_lines(found["rows"], options), npy_lines(found["npy"]), overload.lines(found["overload"])]
    parts += [
        cold_lines(found["cold"]),
        http_lines(found["http_server"]),
        ratio_lines(found, options),
        [machine_line(machine, options)],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def machine_line(machine: dict[str, Any], options: Options) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory'] / (1 << 30):.0f} GB, data on"
        f" {machine['filesystem']}; {versions(machine)}; ALMANAC_THREADS={machine['threads']};"
        f" medians of {options.runs} x {options.seconds:g} s"
    )
