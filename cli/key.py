"""`run.py key`: make an API key, which is printed once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from cli.options import fail, open_database, settings_or_exit
from ml.audit.entries import commanded
from ml.catalog import NAME
from ml.errors import Invalid
from ml.identity.caller import ROLES, Role
from ml.identity.keys import OWNER, create_key

#: A hundred years.
MOST_DAYS = 36_500


class Owner(click.ParamType[str]):
    """Whose documents a key is for."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.match(OWNER, value):
            self.fail(f"expected 1 to 128 characters without control characters, got {value!r}", param, ctx)
        return value


class Models(click.ParamType[list[str]]):
    """Names of models, with commas between."""

    name = "names"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = [part.strip() for part in value.split(",")]
        for name in names:
            if not NAME.match(name):
                self.fail(f"expected names of models with commas between, got {name!r}", param, ctx)
        return names


@click.group("key")
def command() -> None:
    """Make API keys."""


@command.command("create")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--owner", type=Owner(), required=True, help="Whose documents it works with.")
@click.option("--models", type=Models(), help="The models that it may use, with commas between.  [default: all]")
@click.option("--expires-days", type=click.IntRange(1, MOST_DAYS), help="After how many days it ends.")
@click.option("--description", help="What it is for.")
def create(role: Role, owner: str, models: list[str] | None, expires_days: int | None, description: str | None) -> None:
    """Print a new key. It is shown this once; only its SHA-256 is stored."""
    expires = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    with open_database(settings_or_exit()) as db:
        try:
            document, key = create_key(db, role, owner, models, expires, description, commanded("create", "keys"))
        except Invalid as error:
            fail(f"{error}: {'; '.join(f'{field}: {issue}' for field, issue in error.issues.items())}")
    # The key alone on standard output, so that a script can take it.
    click.echo(key)
    click.echo(f"key {document['_id']} of {owner}, role {role}: keep it, it is not shown again", err=True)
