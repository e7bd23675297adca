"""What the commands have in common: settings or one line on why not, and the database that they speak of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from pydantic import SecretStr
from pymongo.database import Database
from pymongo.errors import PyMongoError

from cli import logs
from ml.database.client import Document, connect, database_of
from ml.database.embedded import EmbeddedError, EmbeddedMongo, running_uri
from ml.database.indexes import NewerDatabase, prepare
from ml.identity.redaction import hide, redacted
from settings import Settings, SettingsError, load_settings

WRONG_USAGE = 2


def settings_or_exit(style: logs.Style | None = None, **given: Any) -> Settings:
    """The settings; a wrong one ends the process with its one line. `style`: of the log, unless a setting says."""
    try:
        settings = load_settings(**given)
    except SettingsError as error:
        click.echo(f"almanac: {error}", err=True)
        sys.exit(WRONG_USAGE)
    for name in Settings.model_fields:
        if isinstance(secret := getattr(settings, name), SecretStr):
            hide(secret.get_secret_value())
    if settings.log_format is None and style is not None:
        settings = settings.model_copy(update={"log_format": style})
    logs.set_up(settings)
    return settings


def fail(message: object) -> NoReturn:
    """End the process with exit code 1 and a line that says why."""
    click.echo(redacted(f"almanac: {message}"), err=True)
    sys.exit(1)


@contextmanager
def reach(settings: Settings, *, may_start: bool = True) -> Iterator[Database[Document]]:
    """The database of the settings: theirs, that of the Almanac which serves the data directory, or one started now.

    Nothing is sent to it, and nothing in it is made. Raises EmbeddedError.
    """
    embedded: EmbeddedMongo | None = None
    try:
        if settings.mongo_uri is not None:
            uri = settings.mongo_uri.get_secret_value()
        else:
            running = running_uri(settings.data_dir)
            if running is None and not may_start:
                fail(f"no Almanac serves {settings.data_dir}: start one, or set ALMANAC_MONGO_URI")
            if running is None:
                embedded = EmbeddedMongo(settings.data_dir, settings.embedded_port)
            uri = running or (embedded.start() if embedded else "")
        client = connect(uri)
        try:
            yield database_of(client)
        finally:
            client.close()
    finally:
        if embedded is not None:
            embedded.stop()


@contextmanager
def open_database(settings: Settings, *, may_start: bool = True) -> Iterator[Database[Document]]:
    """The database of the settings, with what Almanac needs in it; else the process ends with the reason."""
    try:
        with reach(settings, may_start=may_start) as db:
            prepare(db)
            yield db
    except (EmbeddedError, NewerDatabase) as error:
        fail(error)
    except PyMongoError as error:
        fail(f"the database cannot be used: {error}")
