"""The steps of a trial up to its jobs: build, start, look around, serve."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.stack import jobs
from tests.stack.client import Client
from tests.stack.model import WIDTH
from tests.stack.stack import ROOT, TAG, Stack, example

MODEL = "adder"
ROWS = [[0.5] * WIDTH, [2.0] * WIDTH]
SUMS = [[8.0], [32.0]]

#: The first moment of mongo's healthcheck, before it is mongod's user.
STEPPING_DOWN = ("sh", "rm", "setpriv")


@dataclass
class Trial:
    """One run over one stack: each step needs those before it."""

    stack: Stack
    home: Path
    job_ids: list[str] = field(default_factory=list)

    @property
    def client(self) -> Client:
        """A client of the replicas that there are now."""
        return Client(self.stack.urls(), self.stack.key)


@contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Say what is tried and how long it took, and with it what the block notes."""
    print(f"{what} ...", end=" ", flush=True)
    began = time.monotonic()
    notes: list[str] = []
    yield notes
    print("; ".join([f"{time.monotonic() - began:.1f} s", *notes]), flush=True)


def build(trial: Trial) -> None:
    with step("build the image") as notes:
        trial.stack.compose("build")
        size = trial.stack.run("docker", "image", "inspect", "--format", "{{.Size}}", f"almanac:{TAG}").stdout
        notes.append(f"{int(size) / 1e6:,.0f} MB")


def start(trial: Trial) -> None:
    with step(f"make stack ARGS='{' '.join(trial.stack.scale)}'") as notes:
        said = trial.stack.make()
        assert said[-2] == f"Almanac serves at {' and '.join(trial.stack.urls())}", said
        assert said[-1] == f"admin key: {trial.stack.key}", said
        assert {path.stat().st_mode & 0o777 for path in trial.stack.secrets.iterdir()} == {0o600}
        notes += [f"{len(trial.stack.containers(service))} x {service}" for service in ("api", "worker")]


def is_closed(trial: Trial) -> None:
    stack = trial.stack
    with step("plain users, read-only file systems, no database port, no secret in logs or settings"):
        shown = stack.compose("logs").stdout
        for service in ("mongo", "api", "worker"):
            for container in stack.containers(service):
                lines = stack.run("docker", "top", container, "-o", "uid,pid,comm").stdout.splitlines()[1:]
                roots = [name for user, _, name in map(str.split, lines) if user == "0" and name not in STEPPING_DOWN]
                assert lines, f"{service} has no process"
                assert not roots, f"{service} runs as root: {roots}"
                touched = stack.run("docker", "exec", container, "touch", "/touched", check=False)
                assert "Read-only file system" in touched.stderr, touched
                shown += stack.inspect(container, "{{json .Config}}")
        assert stack.inspect(stack.containers("mongo")[0], "{{json .HostConfig.PortBindings}}") == "{}"
        for path in stack.secrets.iterdir():
            assert path.read_text().strip() not in shown, f"{path.name} is shown"


def look(trial: Trial) -> None:
    with step("ps, logs, and the command line in a container"):
        trial.stack.script(example("look"))


def register(trial: Trial) -> None:
    with step("register a model, built in the stack"):
        file = trial.home / "adder.keras"
        subprocess.run(
            [sys.executable, "-m", "tests.stack.model", str(file)], cwd=ROOT, check=True, capture_output=True
        )
        trial.client.register(file, MODEL)


def predict(trial: Trial) -> None:
    """Each replica predicts, and each finds what the others stored."""
    client = trial.client
    with step("predict at every replica, read at every replica"):
        stored = [prediction["_id"] for _ in client.urls for prediction in answers(client)]
        for id_ in stored:
            for _ in client.urls:
                assert client.get(f"results/{id_}")["status"] == "succeeded"


def answers(client: Client) -> list[dict[str, object]]:
    predictions = client.predict(MODEL, ROWS)
    assert [prediction["output"] for prediction in predictions] == SUMS, predictions
    return predictions


def jobs_over_two_workers(trial: Trial) -> None:
    with step(f"store {jobs.ROWS:,} rows"):
        jobs.store_rows(trial.client)
    with step("two jobs over two workers, docker kill of one") as notes:
        trial.job_ids, how = jobs.run_and_kill(trial.stack, trial.client, MODEL)
        notes.append(how)
