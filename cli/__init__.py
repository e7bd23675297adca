"""The command line: one file for each command, and what they share."""

from __future__ import annotations

import importlib
from typing import Any

import click

#: Command to the module that has it; imported only when it is called, so that --help is quick.
COMMANDS = {
    "serve": "cli.serve",
    "worker": "cli.worker",
    "demo": "cli.demo",
    "model": "cli.model",
    "job": "cli.job",
    "erase": "cli.erase",
    "key": "cli.key",
    "doctor": "cli.doctor",
    "http": "cli.http",
}


class Commands(click.Group):
    """A group whose commands are imported when needed. Without a command it serves."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["--help"]})
@click.version_option("0.1.0", prog_name="almanac")
def group() -> None:
    """Almanac: a model server that remembers."""


def main(args: list[str] | None = None, **extra: Any) -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong usage."""
    group(args=args, prog_name="run.py", **extra)
