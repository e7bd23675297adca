"""`run.py model`: register a .keras file, list what is registered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.options import fail, open_database, settings_or_exit
from ml.audit.entries import commanded
from ml.builder import Builder, BuildLimits
from ml.catalog import Catalog
from ml.database.client import Document
from ml.errors import ServiceError
from settings import Settings


@click.group("model")
def command() -> None:
    """Register and list models."""


@command.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="The model's name; a new version of it where it exists.")
@click.option("--classes", help="The names of the outputs, with commas between.")
@click.option("--alias", "aliases", multiple=True, help="An alias that is to mean this version; may be given again.")
@click.option("--description", help="A sentence for people.")
def add(file: Path, name: str, classes: str | None, aliases: tuple[str, ...], description: str | None) -> None:
    """Register FILE (.keras) and wait until it is built."""
    settings = settings_or_exit()
    with open_database(settings) as db, file.open("rb") as stream:
        try:
            model = Catalog(db).register(
                stream,
                name,
                "admin",
                admin=True,
                classes=[part.strip() for part in classes.split(",")] if classes else None,
                aliases=aliases,
                description=description,
                entry=commanded("register", "models"),
            )
        except ServiceError as error:
            fail(f"{error}: {'; '.join(f'{k}: {v}' for k, v in getattr(error, 'issues', {}).items())}".rstrip(": "))
        click.echo(f"{name}:{model['version']} is registered; building it")
        model = wait_until_built(db, model, settings)
        if model["state"] != "available":
            for line in model.get("build", {}).get("log", [])[-20:]:
                click.echo(f"  {line}", err=True)
            fail(f"{name}:{model['version']} is {model['state']}: {model.get('error')}")
        click.echo(f"{name}:{model['version']} is available, executor {model['executor']}")


@command.command("list")
def show() -> None:
    """List all versions of all models."""
    with open_database(settings_or_exit()) as db:
        table = Table("name", "version", "state", "aliases", "executor", "inputs", "outputs", "error")
        for model in db["models"].find().sort([("name", 1), ("version", 1)]):
            table.add_row(
                model["name"],
                str(model["version"]),
                model["state"],
                ", ".join(model.get("aliases", [])),
                model.get("executor", ""),
                *(", ".join(_spec(spec) for spec in model.get(side, [])) for side in ("inputs", "outputs")),
                model.get("error", ""),
            )
        Console().print(table)


def wait_until_built(db: Any, model: Document, settings: Settings, *, build: bool = True) -> Document:
    """The version's document once it is no longer loading; with `build`, this process builds where no other does."""
    limits = BuildLimits(seconds=settings.build_seconds, memory_mb=settings.build_memory_mb)
    builder = Builder(db, settings.data_dir / "cache" / "builds", limits, settings.executor)
    while model["state"] == "loading":
        if build:
            builder.run_pending()
        found = db["models"].find_one({"_id": model["_id"]})
        if found is None:
            fail(f"{model['name']}:{model['version']} is gone")
        model = found
        if model["state"] == "loading":
            time.sleep(0.1)
    return model


def _spec(spec: dict[str, Any]) -> str:
    return f"{spec['name']} {spec['dtype']}{[n if n >= 0 else '?' for n in spec['shape']]}".replace("'", "")
