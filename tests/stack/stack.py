"""A compose stack for a test: project, ports, secrets and image tag are not those of the stack that is in use here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.stack.ports import free_range

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "almanac-stack-test"
TAG = "stack-test"
#: How many ports the replicas of api may take: at an upgrade there are twice as many as otherwise.
PORTS = 8


class Stack:
    """The stack, and how a person would handle it: through `make stack`'s program, compose and docker."""

    def __init__(self, home: Path, api: int, workers: int) -> None:
        self.scale = ["--scale", f"api={api}", "--scale", f"worker={workers}"]
        self.secrets = home / "secrets"
        # stack.py adds to it; docker/.env, which compose reads otherwise, is of the stack that is in use.
        (home / ".env").touch()
        first = free_range(PORTS)
        #: Where a replica of api may be.
        self.possible_urls = [f"http://127.0.0.1:{port}" for port in range(first, first + PORTS)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALMANAC_", "STACK_"))}
        self.environment = {
            **kept,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(home / ".env"),
            "STACK_SECRETS": str(self.secrets),
            "STACK_TAG": TAG,
            "STACK_PORTS": f"{first}-{first + PORTS - 1}",
        }

    def run(self, *command: str, check: bool = True, seconds: float = 1800) -> subprocess.CompletedProcess[str]:
        """Run a command at the root of the repository; what it says is shown where it fails."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-8000:]}")
        return done

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("docker", "compose", "-f", "docker/compose.yaml", *arguments, check=check)

    def script(self, code: str, *replaced: tuple[str, str]) -> None:
        """Run an example of the documentation as it stands there, but for what is `replaced`."""
        for old, new in replaced:
            assert old in code, f"{old!r} is not in\n{code}"
            code = code.replace(old, new)
        self.run("bash", "-euo", "pipefail", "-c", code)

    def make(self) -> list[str]:
        """What `make stack` does; the lines that it prints."""
        return self.run(sys.executable, "docker/stack.py", "up", *self.scale).stdout.strip().splitlines()

    def up(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.compose("up", "--detach", "--wait", *self.scale, check=check)

    def down(self, *arguments: str) -> None:
        self.compose("down", *arguments)

    def forget_secrets(self) -> None:
        shutil.rmtree(self.secrets)

    def make_secrets(self) -> None:
        self.run(sys.executable, "docker/stack.py", "secrets")

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", "--no-trunc", service).stdout.split()

    def inspect(self, container: str, form: str) -> str:
        return self.run("docker", "inspect", "--format", form, container).stdout.strip()

    def urls(self) -> list[str]:
        """Where the replicas of api are published now."""
        lines = self.compose("ps", "--format", "json", "api").stdout.splitlines()
        published = [port["PublishedPort"] for line in lines for port in json.loads(line)["Publishers"]]
        return [f"http://127.0.0.1:{port}" for port in sorted(set(published) - {0})]

    def logs(self) -> str:
        """The ends of the logs, without what mongod says of every connection."""
        lines = self.compose("logs", "--no-color", "--tail", "200", check=False).stdout.splitlines()
        return "\n".join([line for line in lines if '"s":"I"' not in line][-80:])

    @property
    def key(self) -> str:
        return (self.secrets / "ADMIN_KEY").read_text().strip()


def example(name: str) -> str:
    """The shell block of docs/deploy.md that says that it is tried here under this name."""
    page = (ROOT / "docs/deploy.md").read_text()
    found = re.findall(
        rf"<!-- not run here: [^>]*`make stack-test` runs it \({name}\) -->\n```sh\n(.*?)```", page, re.DOTALL
    )
    assert len(found) == 1, f"docs/deploy.md has {len(found)} examples that are called {name}"
    code: str = found[0]
    return code
