"""`run.py demo`: trains the digits model, registers it, stores 360 images and scores them as a job."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path

import click
from pymongo.database import Database

from api.auth.keys import KEY_FILE
from cli.model import wait_until_built
from cli.options import fail, open_database, settings_or_exit
from cli.progress import watch
from ml.audit.entries import commanded
from ml.database.client import Document
from ml.demo import digits
from ml.jobs.worker import Worker
from ml.service import Service
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent


@click.command("demo")
@click.option("--once", is_flag=True, hidden=True, help="Only where nothing was ever registered, or it was cut short.")
@click.option("--elsewhere", is_flag=True, hidden=True, help="Others build the model and run the job.")
@click.option("--url", hidden=True, help="Where Almanac serves, for the curl line.")
def command(once: bool, elsewhere: bool, url: str | None) -> None:
    """Train, register and score the digits demo against the configured database."""
    settings = settings_or_exit()
    with open_database(settings) as db:
        service = Service(db, settings.data_dir / "cache", executor=settings.executor)
        try:
            if not once or digits.is_due(db):
                _run(service, settings, elsewhere)
            _print_curl(db, settings, url or settings.url)
        finally:
            service.close()


def _run(service: Service, settings: Settings, elsewhere: bool) -> None:
    db = service.db
    digits.mark(db, done=False)
    model = _model(service, settings, elsewhere)
    inputs = digits.insert_images(db)
    click.echo(f"stored {len(inputs)} held-out images as inputs")
    job = digits.submit_job(service, model["version"])
    with nullcontext() if elsewhere else _worker(service):
        ended = watch(db, job)
    if ended["status"] != "succeeded":
        fail(f"the job {job} is {ended['status']}: {ended.get('error', '')}")
    share, count = digits.accuracy(db, job)
    click.echo(f"accuracy: {share:.3f} ({count} stored results)")
    digits.mark(db, done=True)


def _model(service: Service, settings: Settings, elsewhere: bool) -> Document:
    """The demo's model, built: the one that an earlier demo registered, or a new one."""
    db = service.db
    query = {"name": digits.NAME, "state": {"$in": ["available", "loading"]}}
    model = db["models"].find_one(query, sort=[("version", -1)])
    if model is None:
        click.echo(f"training a small network on {digits.TRAINED_ON} handwritten digits ...")
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "digits.keras"
            seen = _train(file)
            click.echo(f"trained; accuracy on the images it has seen: {seen}")
            with file.open("rb") as stream:
                model = service.catalog.register(
                    stream,
                    digits.NAME,
                    "admin",
                    admin=True,
                    classes=digits.CLASSES,
                    aliases=["stable"],
                    description="Handwritten digits, 8x8 pixels from 0 to 16.",
                    entry=commanded("register", "models"),
                )
    click.echo(f"{digits.NAME}:{model['version']} is registered; it is built and proven equal to Keras ...")
    model = wait_until_built(db, model, settings, build=not elsewhere)
    if model["state"] != "available":
        fail(f"{digits.NAME}:{model['version']} is {model['state']}: {model.get('error')}")
    return model


def _train(file: Path) -> str:
    """Train in a process of its own: neither Keras nor TensorFlow is to stay in this one."""
    done = subprocess.run(
        [sys.executable, "-m", "ml.demo.train", str(file)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        fail(f"the demo's model could not be trained: {lines[-1]} (is the group demo installed? make setup does that)")
    return done.stdout.strip().splitlines()[-1]


class _worker:  # noqa: N801  a context manager reads as a function
    """Runs jobs in a thread of this process while the block runs."""

    def __init__(self, service: Service) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=Worker(service.db, service.registry, self._stop).run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()


def _print_curl(db: Database[Document], settings: Settings, url: str) -> None:
    """A line to paste: one stored image, sent to the model once more."""
    row = db["inputs"].find_one({"tags": digits.TAG}, sort=[("_id", 1)])
    if row is None:
        return
    body = json.dumps({"instances": [[[int(value) for value in line] for line in row["data"]]]}, separators=(",", ":"))
    key_file = settings.data_dir / KEY_FILE
    shown = key_file.relative_to(Path.cwd()) if key_file.is_relative_to(Path.cwd()) else key_file
    key = f"$(cat {shlex.quote(str(shown))})" if key_file.is_file() else "$ALMANAC_ADMIN_KEY"
    click.echo(f"try it (a {row['meta']['class']}):")
    click.echo(
        f'curl -s {url}/api/v1/models/{digits.NAME}/predict -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
