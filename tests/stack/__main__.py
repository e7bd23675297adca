"""Tries the compose stack from its build to its restored backup; `make stack-test` runs it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.stack import backups, changes, steps
from tests.stack.stack import PROJECT, TAG, Stack
from tests.stack.steps import Trial


def scale(text: str) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if service not in ("api", "worker") or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError("expected api=N or worker=N")
    return service, int(number)


def has_compose() -> bool:
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="make stack-test", description=__doc__)
    parser.add_argument("--scale", action="append", type=scale, default=[], help="api=N or worker=N  [api=1, worker=2]")
    replicas = {"api": 1, "worker": 2, **dict(parser.parse_args().scale)}
    if replicas["worker"] < 2:
        parser.error("a worker is killed on the way: there must be two at least")
    if not has_compose():
        sys.exit("make stack-test needs Docker with compose: see docs/deploy.md")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="almanac-stack-") as home:
        stack = Stack(Path(home), replicas["api"], replicas["worker"])
        trial = Trial(stack, Path(home))
        stack.down("--volumes", "--remove-orphans")  # of a trial that was killed
        try:
            for step in (
                steps.build,
                steps.start,
                steps.is_closed,
                steps.look,
                steps.register,
                steps.predict,
                steps.jobs_over_two_workers,
                changes.stop_in_order,
                changes.down_and_up,
                changes.upgrade,
                backups.dump_and_restore,
                backups.copy_and_restore,
                changes.own_database,
                changes.sick_database,
            ):
                step(trial)
        except BaseException:
            print(f"failed; the ends of the logs:\n{stack.logs()}", flush=True)
            raise
        finally:
            stack.down("--volumes", "--remove-orphans")
    print(f"all well after {time.monotonic() - began:.0f} s; {PROJECT} is gone, the image almanac:{TAG} stays")


if __name__ == "__main__":
    main()
