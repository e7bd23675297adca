"""`make bench PART=guards`: predictions with all guards on beside the same with identity and limits off, in one run."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, in_a_line
from benchmarks.part import carried_out, keep
from benchmarks.report import Measured, line, median, progress, ratio
from benchmarks.rows import WARM_CONNECTIONS, WARM_SECONDS
from benchmarks.servers import STORED, UNSTORED, Asked, almanac, register, save_model, threads_for
from settings import Settings

ON, OFF = "all on", "identity and limits off"
#: What each is started with. The limit is one that nothing reaches: counting is what is measured.
GUARDS = {
    ON: {
        "ALMANAC_RATE_LIMIT": "1000000/second; 1000000000/minute",
        "ALMANAC_RATE_LIMIT_STORAGE": "memory://",
        "ALMANAC_TRUSTED_HOSTS": "127.0.0.1,localhost",
    },
    OFF: {"ALMANAC_AUTH": "off"} if "auth" in Settings.model_fields else {},
}


def measure(
    seconds: float, connections: tuple[int, ...], runs: int, directory: Path
) -> tuple[list[Measured], dict[str, Any]]:
    """Both at every number of connections, in turn, once each in every run.

    They are started anew for each run: two servers alike differ by a tenth, for as long as they live, by where they
    and their memory came to lie.
    """
    progress("making the model, registering and building it ...")
    save_model(directory / "mlp.keras")
    register(directory / "mlp.keras", directory / ON)
    shutil.copytree(directory / ON, directory / OFF)
    threads = threads_for(connections)
    found: list[Measured] = []
    about = None
    for run in range(runs):
        with contextlib.ExitStack() as stack:
            asked: dict[tuple[str, str], Asked] = {}
            # Who is started first is on one core in one run, and on the other in the next.
            for name in (ON, OFF) if run % 2 else (OFF, ON):
                server = stack.enter_context(almanac(directory / name, threads, "--no-jobs", **GUARDS[name]))
                asked |= {(kind, name): server.row(kind) for kind in (STORED, UNSTORED)}
            about = about or describe(directory / ON, threads)
            for one in asked.values():
                one.load(WARM_CONNECTIONS, min(WARM_SECONDS, seconds))
            for many in connections:
                for (kind, name), one in asked.items():
                    figures = one.load(many, seconds)
                    progress(f"run {run + 1}: {kind}, {name}, {many} connections: {figures.rate:.0f} req/s")
                    found.append({"run": run, "kind": kind, "name": name, "connections": many, **asdict(figures)})
    assert about is not None
    return found, about


def text(found: list[Measured], about: dict[str, Any]) -> str:
    """The table."""
    lines = [line("one row a request, JSON", "connections", "on req/s", "off req/s", "on p50 ms", "off p50 ms")]
    shares = ["on / off: the median of the runs (the least to the greatest)"]
    for kind in (STORED, UNSTORED):
        for many in dict.fromkeys(one["connections"] for one in found):
            which = {"kind": kind, "connections": many}
            rates = [f"{median(found, 'rate', name=name, **which):,.0f}" for name in GUARDS]
            times = [f"{median(found, 'p50', name=name, **which):.2f}" for name in GUARDS]
            lines.append(line(kind, str(many), *rates, *times))
            share = ratio(found, "rate", {"name": ON, **which}, {"name": OFF, **which})
            what = f"{kind}, {many} connection{'s' if many > 1 else ''}"
            shares.append(f"{what:68}{share}")
    return "\n".join([*lines, "", *shares, "", in_a_line(about)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench PART=guards", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="each figure of each run; %(default)s")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32], help="at once; 1 32")
    parser.add_argument("--runs", type=int, default=5, help="the table has their medians; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    given = parser.parse_args(arguments)
    found, about = carried_out(measure, given.seconds, tuple(given.connections), given.runs)
    print(text(found, about))
    keep(given.json, about, measured=found)


if __name__ == "__main__":
    main()
