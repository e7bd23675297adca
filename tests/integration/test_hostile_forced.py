"""Code that runs in a build's process although the static check is there for it not to: what it can do, and cannot."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ml.build import BuildError, build_model, landlock, sandbox, seccomp
from tests.hostile_models import forced, unchecked

CHILD = Path(unchecked.__file__)


@pytest.fixture(scope="module", autouse=True)
def _kernel() -> None:
    if landlock.unavailable() or seccomp.unavailable():
        pytest.skip("this kernel has not what a build is held with")


#: A program that runs others, and says what came of each.
EACH = """
import json
outcomes = {{}}
for name, code in {codes!r}.items():
    try:
        exec(code, {{}})
        outcomes[name] = "done"
    except Exception as error:
        outcomes[name] = f"{{type(error).__name__}}: {{error}}"
print("outcomes", json.dumps(outcomes), flush=True)
raise RuntimeError("the end")
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return place(tmp_path)


def place(directory: Path) -> Path:
    """A file that lies in a data directory, beside the files of the build."""
    data = directory / "data"
    (data / "build").mkdir(parents=True)
    file = data / "secret.key"
    file.write_text("the secret")
    file.chmod(0o600)
    return file


def attempt(content: str | bytes, secret: Path, seconds: float = 60, memory_mb: int = 800) -> BuildError:
    directory = secret.parent / "build"
    file = directory / "upload"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (directory / "work").mkdir()
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(BuildError) as caught:
        build_model(file, directory / "work", seconds=seconds, memory_mb=memory_mb, child=CHILD)
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    assert [path.name for path in (directory / "work").iterdir()] == ["out"]
    assert "the secret" not in caught.value.log
    assert secret.read_text() == "the secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.stat().st_mtime > 0
    assert sorted(path.name for path in secret.parent.iterdir()) == ["build", "secret.key"]
    return caught.value


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each piece of code, all of them run in one process: an exception, or nothing."""
    secret = place(tmp_path_factory.mktemp("forced"))
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server,
    ):
        given = {"secret": secret, "server": server.pid, "port": listening.getsockname()[1]}
        codes = {name: code.format(**given) for name, (code, _) in forced.REFUSED_CODE.items()}
        error = attempt(EACH.format(codes=codes), secret)
        assert server.poll() is None
        server.kill()
    assert error.reason == "the build failed: RuntimeError: the end"
    found: dict[str, str] = json.loads(error.log.partition("outcomes ")[2].splitlines()[0])
    return found


@pytest.mark.parametrize("name", forced.REFUSED_CODE)
def test_what_is_refused(name: str, outcomes: dict[str, str]) -> None:
    assert re.match(forced.REFUSED_CODE[name][1], outcomes[name]), outcomes[name]


@pytest.mark.parametrize("name", forced.LIMITED)
def test_what_is_ended(name: str, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, reason = forced.LIMITED[name]
    if "disk" in reason:
        free = sandbox._free_bytes
        others = free(tmp_path) - 200 * 2**20
        monkeypatch.setattr(sandbox, "_free_bytes", lambda directory: free(directory) - others)
    began = time.monotonic()
    # What another limit is to end gets the time for that on a busy machine.
    seconds = 1.5 if "longer than" in reason else 60
    error = attempt(code.format(), secret, seconds=seconds, memory_mb=300)
    assert re.search(reason, error.reason), error.reason
    assert time.monotonic() - began < seconds + 30


def test_its_environment_is_empty(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_MONGO_URI", "mongodb://the secret")
    error = attempt("import os; raise ValueError(sorted(os.environ))", secret)
    assert "MONGO" not in error.reason
    assert "ALMANAC_BUILD" in error.reason


def test_through_keras_itself(secret: Path) -> None:
    """A real Lambda in a real file, which Keras runs since it was told to."""
    # Keras would go on after an exception.
    code = f"""
import os
try:
    print(open({str(secret)!r}).read(), flush=True)
except OSError as error:
    print("met with", error, flush=True)
os._exit(3)
"""
    error = attempt(forced.a_model_that_runs(code), secret, memory_mb=4000)
    assert error.reason == "the build ended with code 3 before it was done"
    assert "met with [Errno 13] Permission denied" in error.log


def test_no_other_program_is_run_for_what_is_uploaded() -> None:
    """The one place where builds are claimed names neither a program nor a switch for the check."""
    source = (CHILD.parents[2] / "ml" / "builder.py").read_text()
    call = source.partition("build_model(\n")[2].partition(")\n")[0]
    assert "forced=" in call
    assert "child" not in call
