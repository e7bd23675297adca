"""Makes the secrets of the compose stack once, brings the stack up, and prints its addresses and the key.

`stack.py up [arguments of docker compose up]` is what `make stack` runs; `stack.py secrets` only makes the secrets.
Needs Python's own library alone.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPOSE = ["docker", "compose", "-f", str(HERE / "compose.yaml")]

#: Where secrets are made by root, the containers still run as somebody else: the user of the image.
IMAGE_USER = 10001


def mongo_uri() -> str:
    """Almanac's way to the database of the stack; the user is made from it."""
    return f"mongodb://almanac:{secrets.token_urlsafe(32)}@mongo:27017/almanac?replicaSet=rs0"


#: Each file of the directory of secrets, and how it is made.
SECRETS: Mapping[str, Callable[[], str]] = {
    "ADMIN_KEY": lambda: "alm_" + secrets.token_urlsafe(32),
    "MONGO_URI": mongo_uri,
    "MONGO_ROOT_PASSWORD": lambda: secrets.token_urlsafe(32),
    "MONGO_KEYFILE": lambda: base64.b64encode(secrets.token_bytes(756)).decode(),
}


def make_secrets(directory: Path) -> tuple[int, int]:
    """Make what is missing in `directory`, each file with mode 0600; the user and group that own them."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    owner = (os.getuid(), os.getgid()) if os.getuid() else (IMAGE_USER, IMAGE_USER)
    for name, make in SECRETS.items():
        path = directory / name
        if not path.exists():
            # Whole or not at all: half a password would be one for good.
            partial = directory / f".{name}"
            partial.unlink(missing_ok=True)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make() + "\n")
            os.chown(partial, *owner)
            partial.rename(path)
    status = (directory / "ADMIN_KEY").stat()
    return status.st_uid, status.st_gid


def write_env(path: Path, user: int, group: int) -> None:
    """Tell compose whose the secrets are; other lines of the file stay as they are."""
    wanted = {"STACK_UID": str(user), "STACK_GID": str(group)}
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in wanted]
    path.write_text("".join(f"{line}\n" for line in [*kept, *(f"{name}={value}" for name, value in wanted.items())]))


def addresses() -> list[str]:
    """Where the replicas of `api` are published."""
    shown = subprocess.run([*COMPOSE, "ps", "--format", "json", "api"], check=True, capture_output=True, text=True)
    containers = [json.loads(line) for line in shown.stdout.splitlines()]
    ports = sorted({port["PublishedPort"] for one in containers for port in one["Publishers"] if port["PublishedPort"]})
    return [f"http://127.0.0.1:{port}" for port in ports]


def main(arguments: list[str]) -> int:
    if arguments[:1] not in (["up"], ["secrets"]):
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(os.environ.get("STACK_SECRETS", HERE / "secrets"))
    user, group = make_secrets(directory)
    write_env(HERE / ".env", user, group)
    if arguments[0] == "secrets":
        return 0
    try:
        subprocess.run([*COMPOSE, "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print("almanac: this needs Docker Engine 25 and Compose 2.24 or later: see docs/deploy.md", file=sys.stderr)
        return 1
    up = subprocess.run([*COMPOSE, "up", "--detach", "--build", "--wait", *arguments[1:]])
    if up.returncode:
        return up.returncode
    print(f"Almanac serves at {' and '.join(addresses())}")
    print(f"admin key: {(directory / 'ADMIN_KEY').read_text().strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
