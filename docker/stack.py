"""Makes the secrets of the compose stack once, brings the stack up, and prints its addresses and the key.

`stack.py up [arguments of docker compose up]` is what `make stack` runs; `stack.py secrets` only makes the secrets.
Needs Python's own library alone.
"""
# ruff: noqa: T201 (a command line speaks)

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: Where secrets are made by root, the containers still run as somebody else: the user of the image.
IMAGE_USER = 10001
FIRST_PORT = 8000


def mongo_uri() -> str:
    """Almanac's way to the database of the stack; the user is made from it."""
    return f"mongodb://almanac:{secrets.token_urlsafe(32)}@mongo:27017/almanac?replicaSet=rs0"


#: Each file of the directory of secrets, and how it is made.
SECRETS: Mapping[str, Callable[[], str]] = {
    "ADMIN_KEY": lambda: "alm_" + secrets.token_urlsafe(32),
    "SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "MONGO_URI": mongo_uri,
    "MONGO_ROOT_PASSWORD": lambda: secrets.token_urlsafe(32),
    "MONGO_KEYFILE": lambda: base64.b64encode(secrets.token_bytes(756)).decode(),
}


def make_secrets(directory: Path) -> tuple[int, int]:
    """Make what is missing in `directory`, each file with mode 0600; the user and group that own them."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    for name, make in SECRETS.items():
        path = directory / name
        if not path.exists():
            # Whole or not at all: half a password would be one for good.
            partial = directory / f".{name}"
            partial.unlink(missing_ok=True)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make() + "\n")
            if os.getuid() == 0:
                os.chown(partial, IMAGE_USER, IMAGE_USER)
            partial.rename(path)
    status = (directory / "ADMIN_KEY").stat()
    return status.st_uid, status.st_gid


def write_env(path: Path, user: int, group: int) -> dict[str, str]:
    """Tell compose whose the secrets are; other lines of the file stay as they are. What the file then says."""
    wanted = {"STACK_UID": str(user), "STACK_GID": str(group)}
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in wanted]
    lines = [*kept, *(f"{name}={value}" for name, value in wanted.items())]
    path.write_text("".join(f"{line}\n" for line in lines))
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def ports(arguments: list[str], environment: Mapping[str, str]) -> str:
    """A port, or as many as there are to be replicas of `api`."""
    asked = re.search(r"--scale[ =]api=(\d+)", " ".join(arguments))
    replicas = int(asked[1] if asked else environment.get("STACK_API", "1"))
    return f"{FIRST_PORT}-{FIRST_PORT + replicas - 1}" if replicas > 1 else str(FIRST_PORT)


def addresses(compose: list[str]) -> list[str]:
    """Where the replicas of `api` are published."""
    shown = subprocess.run([*compose, "ps", "--format", "json", "api"], check=True, capture_output=True, text=True)
    containers = [json.loads(line) for line in shown.stdout.splitlines()]
    published = {port["PublishedPort"] for one in containers for port in one["Publishers"] if port["PublishedPort"]}
    return [f"http://127.0.0.1:{port}" for port in sorted(published)]


def has_compose() -> bool:
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    except OSError:
        return False


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments[:1] not in (["up"], ["secrets"]):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments[0] == "up" and not has_compose():
        print("almanac: this needs Docker Engine 25 and Compose 2.24 or later: see docs/deploy.md", file=sys.stderr)
        return 1
    directory = Path(os.environ.get("STACK_SECRETS", HERE / "secrets")).absolute()
    env_file = directory.parent / ".env"
    environment = {**write_env(env_file, *make_secrets(directory)), **os.environ}
    if arguments[0] == "secrets":
        return 0
    compose = ["docker", "compose", "--file", str(HERE / "compose.yaml"), "--env-file", str(env_file)]
    environment.setdefault("STACK_PORTS", ports(arguments, environment))
    up = subprocess.run([*compose, "up", "--detach", "--build", "--wait", *arguments[1:]], env=environment)
    if up.returncode:
        print("almanac: `docker compose -f docker/compose.yaml logs` says more", file=sys.stderr)
        return up.returncode
    print(f"Almanac serves at {' and '.join(addresses(compose))}")
    print(f"admin key: {(directory / 'ADMIN_KEY').read_text().strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
