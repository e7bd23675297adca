"""`run.py erase`: take away everything that is an owner's."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.options import fail, open_database, settings_or_exit
from ml.audit.entries import commanded
from ml.service import Service


@click.command("erase")
@click.option("--owner", required=True, help="Whose: as documents have it in `owner`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(owner: str, yes: bool) -> None:
    """Delete all documents and files of an owner, for good.

    It may be stopped at any time; the same command goes on where it was.
    """
    settings = settings_or_exit()
    with open_database(settings) as db:
        service = Service(db, settings.data_dir / "cache", executor=settings.executor)
        try:
            erasure = service.erasure(owner, commanded("erase", None))
            left = erasure.left()
            if not left and not erasure.named():
                fail(f"there is nothing that {owner!r} owns")
            total = sum(left.values())
            click.echo(
                f"{owner} owns " + (", ".join(f"{count} in {name}" for name, count in left.items()) or "nothing")
            )
            click.echo(f"{erasure.named()} entries of the audit name {owner}; they stay, under a name that is nobody's")
            if not yes:
                click.confirm("delete all of it, for good?", abort=True)
            columns = (TextColumn("erasing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[at]}"))
            with Progress(*columns, console=Console(file=sys.stdout)) as bar:
                task, gone = bar.add_task("erase", total=total, at=""), 0
                for step in erasure.run():
                    gone += step.documents
                    bar.update(task, completed=gone, total=max(total, gone), at=step.collection)
                bar.update(task, total=gone, at="")
        except KeyboardInterrupt:
            fail(f"stopped; python run.py erase --owner {owner} goes on")
        finally:
            service.close()
        click.echo(f"{gone} documents of {owner} are gone")
