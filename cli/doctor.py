"""`run.py doctor`: says what is wrong with this installation and what to do; it repairs nothing."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click
from pymongo.errors import PyMongoError

from cli.options import reach, settings_or_exit
from ml.database.embedded import EmbeddedError
from ml.database.embedded.files import DataFiles
from ml.doctor import database, examination
from ml.doctor.findings import Finding, ok, warning, wrong
from settings import Settings


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> None:
    """Check database, indexes, models, executors and free disk; exit 1 where something is wrong."""
    settings = settings_or_exit()
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            _show(finding)
    counts = Counter(finding.level for finding in findings)
    well = counts["WRONG"] == 0
    if as_json:
        click.echo(json.dumps({"well": well, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        click.echo(f"{counts['ok']} ok, {counts['warning']} warning, {counts['WRONG']} WRONG")
    sys.exit(0 if well else 1)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, in order, each as soon as it is made."""
    embedded = settings.mongo_uri is None
    where = "the embedded one" if embedded else "that of ALMANAC_MONGO_URI"
    yield ok("settings", f"they are read; data directory {settings.data_dir}, database {where}")
    here = yield from examination.of_machine(settings.data_dir, embedded=embedded)
    if embedded and not DataFiles(settings.data_dir.resolve()).db.is_dir():
        # To start it now would make it.
        yield warning("database", f"there is none in {settings.data_dir} yet", "start the server once, which makes it")
        return
    try:
        with reach(settings) as db:
            yield from examination.of_database(db, here)
    except PyMongoError as error:  # the driver finds no host by this URI
        yield database.unreachable(error)
    except EmbeddedError as error:
        yield wrong(
            "database",
            f"{error}; its documents were not looked at",
            f"put that right and look again; its own log is {DataFiles(settings.data_dir.resolve()).log}",
        )


def _show(finding: Finding) -> None:
    click.echo(f"{finding.level:<8} {finding.about}: {finding.found}")
    if finding.advice is not None:
        click.echo(f"         -> {finding.advice}")
