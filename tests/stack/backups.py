"""The steps of a trial in which a backup is restored into an empty stack, which then answers the same queries."""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.stack import jobs
from tests.stack.stack import PROJECT, example
from tests.stack.steps import MODEL, Trial, answers, step

VOLUME = ("almanac_mongo-data", f"{PROJECT}_mongo-data")


def dump_and_restore(trial: Trial) -> None:
    stack = trial.stack
    if stack.compose("exec", "-T", "mongo", "which", "mongodump", check=False).returncode:
        print("NOT TRIED: mongodump and mongorestore, which this image of mongo does not have", flush=True)
        return
    archive = ("almanac.dump", str(trial.home / "almanac.dump"))
    with step("mongodump, an empty stack with other secrets, mongorestore: the same answers") as notes:
        before = asked(trial)
        stack.script(example("dump"), archive)
        stack.down("--volumes")
        stack.forget_secrets()
        stack.make_secrets()
        stack.script(example("restore"), archive)
        stack.up()
        same(trial, before)
        notes.append(f"{(trial.home / 'almanac.dump').stat().st_size / 1e6:.1f} MB")


def copy_and_restore(trial: Trial) -> None:
    stack = trial.stack
    archive = ("almanac.tgz", str(trial.home / "almanac.tgz"))
    with step("a copy of the stopped volume, an empty stack, the copy put back: the same answers") as notes:
        before = asked(trial)
        stack.script(example("copy"), VOLUME, archive)
        kept = shutil.copytree(stack.secrets, trial.home / "kept")
        stack.down("--volumes")
        stack.forget_secrets()
        stack.make_secrets()
        for path in kept.iterdir():
            (stack.secrets / path.name).write_bytes(path.read_bytes())
        stack.script(example("copy back"), VOLUME, archive)
        stack.up()
        same(trial, before)
        notes.append(f"{(trial.home / 'almanac.tgz').stat().st_size / 1e6:.1f} MB")


def asked(trial: Trial) -> dict[str, Any]:
    """The answers to some queries, those for everything among them."""
    client = trial.client
    return {"records": client.records(), "queries": [client.get(resource, **query) for resource, query in QUERIES]}


def same(trial: Trial, before: dict[str, Any]) -> None:
    after = asked(trial)
    for name, answer in before.items():
        assert after[name] == answer, f"{name}: {answer} became {after[name]}"
    jobs.check(trial.client, trial.job_ids)
    answers(trial.client)


QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("models", {"where": json.dumps({"name": MODEL})}),
    ("inputs", {"where": json.dumps({"tags": jobs.TAG}), "count": "true", "max_results": 1000, "page": 3}),
    ("results", {"where": json.dumps({"model": MODEL, "version": 1}), "sort": "-_created", "embedded": '{"input": 1}'}),
    ("jobs", {"where": json.dumps({"status": "succeeded"}), "sort": "_id"}),
]
