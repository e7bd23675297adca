"""`make bench`: all that is claimed about speed, measured in one run, as one table."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import cold, http_server, machine, npy, overload, rows, table
from benchmarks.part import carried_out, keep
from benchmarks.report import Options, progress
from benchmarks.servers import BASELINES, STORED, THREADS, UNSTORED, almanac, flask, register, save_model, threads_for


def options_from(arguments: list[str] | None = None) -> tuple[Options, Path | None]:
    """The command line's options, and where everything is to be written as JSON too."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="each figure of each run; %(default)s")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32, 64], help="at once; 1 32 64")
    parser.add_argument("--runs", type=int, default=3, help="the table has their medians; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or given.runs < 1 or min(given.connections) < 1:
        parser.error("--seconds, --runs and --connections must be more than nothing")
    return Options(given.seconds, tuple(dict.fromkeys(given.connections)), given.runs), given.json


def measure(options: Options, directory: Path) -> tuple[table.Found, dict[str, Any]]:
    """Everything, and what it was measured on."""
    file, data = directory / "mlp.keras", directory / "data"
    progress("making the model, registering and building it ...")
    save_model(file)
    register(file, data)
    found: table.Found = {}
    threads = threads_for(options.connections)
    # All servers run at once, so that they can take turns; those that are not asked are idle.
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(almanac(data, threads))
        servers = {STORED: ours, UNSTORED: ours}
        servers |= {name: stack.enter_context(flask(name, file)) for name in BASELINES}
        about = machine.describe(data, threads)
        found["rows"] = rows.measure(servers, options)
    with almanac(data, THREADS) as ours:
        found["npy"] = npy.measure(ours, data, options)
        found["overload"] = overload.measure(ours, options)
    found["cold"] = cold.measure(file, data, options)
    found["http_server"] = http_server.measure(options)
    return found, about


def main(arguments: list[str] | None = None) -> None:
    options, target = options_from(arguments)
    found, about = carried_out(measure, options)
    print(table.whole(found, about, options))
    keep(target, about, options=asdict(options), **found)


if __name__ == "__main__":
    main()
