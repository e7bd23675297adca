"""The sandbox of a build: what its child gets, and that limits hold for all that it starts. No Keras in here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ml.build import BuildError, BuildReport, Turn, build_model, sandbox
from ml.build.build import CHILD
from ml.build.turns import Clock
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Says the number of a process that has left the session and has no parent, by fork, setsid and fork.
STRAY = """
import os, time
def stray(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("pid", os.getpid(), flush=True)
            work()
            time.sleep(600)
        os._exit(0)
    os.wait()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that passes the static check; nothing in here loads it."""
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", '{"module": "keras", "class_name": "Sequential", "config": {}}')
        archive.writestr("model.weights.h5", "")
    return path


Build = Callable[..., BuildReport]


@pytest.fixture
def build(file: Path, tmp_path: Path) -> Build:
    """Builds with a child made of the given code, which finds its arguments in `out` and `sys.argv`."""

    def run(code: str, seconds: float = 60, memory_mb: int = 2000, **more: object) -> BuildReport:
        child, workdir = tmp_path / "child.py", tmp_path / "workdir"
        workdir.mkdir()
        head = "import json, os, pathlib, signal, sys, time\nout = pathlib.Path(sys.argv[3])\n"
        child.write_text(head + STRAY + textwrap.dedent(code))
        return build_model(file, workdir, seconds=seconds, memory_mb=memory_mb, child=child, **more)  # type: ignore[arg-type]

    return run


def living(log: str) -> list[int]:
    """Those of the processes named in the log that are alive, zombies left out."""
    numbers = [int(line.split()[1]) for line in log.splitlines() if line.startswith("pid ")]
    assert numbers
    return [number for number in numbers if psutil.pid_exists(number) and not _zombie(number)]


def _zombie(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_child_gets_next_to_nothing(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_MONGO_URI", "mongodb://secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    told: list[str] = []
    try:
        with pytest.raises(BuildError):
            build(
                """
                print(json.dumps({
                    "environ": dict(os.environ),
                    "open": [fd for fd in range(200) if os.path.exists(f"/proc/self/fd/{fd}")],
                    "stdin": os.readlink("/proc/self/fd/0"),
                    "cwd": os.getcwd(),
                    "here": os.listdir(),
                    "leads": os.getpgid(0) == os.getpid(),
                    "umask": os.umask(0),
                    "parent": os.getppid(),
                    "path": sys.path,
                    "argv": sys.argv[1:],
                }))
                """,
                progress=told.append,
            )
    finally:
        os.close(read)
        os.close(write)
    seen = json.loads(told[0])
    home = tmp_path / "workdir" / "private"
    assert set(seen["environ"]) == {
        *("HOME", "TMPDIR", "KERAS_HOME", "PATH", "LANG", "KERAS_BACKEND", "CUDA_VISIBLE_DEVICES"),
        *("TF_CPP_MIN_LOG_LEVEL", "ALMANAC_BUILD"),
    }
    assert {seen["environ"][name] for name in ("HOME", "TMPDIR", "KERAS_HOME")} == {str(home)} == {seen["cwd"]}
    assert seen["open"] == [0, 1, 2]
    assert seen["stdin"] == os.devnull
    assert seen["here"] == ["model.keras"]
    assert seen["leads"]
    assert seen["umask"] == 0o077
    assert seen["parent"] == os.getpid()
    assert "/elsewhere" not in seen["path"]
    assert seen["argv"] == [
        *(str(os.getpid()), str(home / "model.keras"), str(tmp_path / "workdir" / "out"), "2000", "", ""),
    ]
    assert not home.exists()


@pytest.mark.parametrize(("turn", "policy"), [(Turn.LAST, "SCHED_IDLE"), (Turn.BEHIND, "SCHED_BATCH")])
def test_others_go_first(build: Build, turn: Turn, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "starved", lambda *_: False)  # whatever else this machine does
    with pytest.raises(BuildError) as caught:
        # It may be asked before the server has said so.
        build(f"while os.sched_getscheduler(0) != os.{policy}: pass\nprint(os.nice(0))", turn=turn)
    assert caught.value.log == ("0\n" if turn is Turn.LAST else "5\n")


def test_one_whose_turn_never_comes_begins_again_and_takes_a_share(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Clock, "starved", lambda *_: bool(told))
    # What the first run left is gone.
    code = leave(GOOD_REPORT, "print(os.listdir('.'), flush=True)\nif os.sched_getscheduler(0) != 3: time.sleep(600)")
    report = build("while not os.sched_getscheduler(0): pass\n" + code, turn=Turn.LAST, progress=told.append)
    assert report.executor == "tf"
    assert told == [
        "['model.keras']",
        "the processors are busy without end: the build begins again and takes a share",
        "['model.keras']",
    ]


def test_a_flood_of_words_is_ended(build: Build) -> None:
    kept: list[str] = []
    with pytest.raises(BuildError) as caught:
        build("while True: os.write(1, b'x' * 65536)", progress=kept.append)
    assert caught.value.reason == "the build printed more than 8 MB"
    assert sum(map(len, kept)) < 2 * sandbox.MOST_LOG_BYTES


def test_a_disk_that_is_small_already_is_enough_for_a_small_build(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_free_bytes", lambda _: 1000)
    assert build(leave(GOOD_REPORT, "time.sleep(0.5)")).executor == "tf"


def test_one_that_never_ends_is_ended_with_all_that_it_started(build: Build) -> None:
    started = time.monotonic()
    with pytest.raises(BuildError) as caught:
        build(
            """
            print("pid", os.getpid(), flush=True)
            if os.fork() == 0:
                print("pid", os.getpid(), flush=True)
                time.sleep(600)
            stray(lambda: None)
            # Two that gave up their environment: one in the group, without its parent; one with, in its own.
            bare = [sys.executable, "-c", "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"]
            if os.fork() == 0:
                if os.fork() == 0:
                    os.execve(bare[0], bare, {})
                os._exit(0)
            os.wait()
            if os.fork() == 0:
                os.setsid()
                os.execve(bare[0], bare, {})
            time.sleep(600)
            """,
            seconds=3,
        )
    assert time.monotonic() - started < 15
    assert caught.value.reason == "the build took longer than 3 s"
    assert caught.value.log.count("pid ") == 5
    assert not living(caught.value.log)


def test_one_that_closes_its_output_is_ended_in_time(build: Build) -> None:
    with pytest.raises(BuildError, match="took longer than 1 s"):
        build("os.close(1); os.close(2); time.sleep(600)", seconds=1)


def test_memory_is_counted_for_all_together(build: Build) -> None:
    with pytest.raises(BuildError) as caught:
        build(
            """
            def work():
                global kept
                kept = bytearray(os.urandom(2**20)) * 120
            for _ in range(3):
                stray(work)
            time.sleep(600)
            """,
            memory_mb=300,
        )
    assert caught.value.reason == "the build used more than 300 MB of memory"
    assert not living(caught.value.log)


def test_what_forked_processes_share_counts_once(build: Build) -> None:
    with pytest.raises(BuildError) as caught:
        build(
            """
            kept = bytearray(os.urandom(2**20)) * 150
            for _ in range(3):
                stray(lambda: None)
            print("pid", os.getpid(), flush=True)
            time.sleep(600)
            """,
            seconds=3,
            memory_mb=400,
        )
    assert caught.value.reason == "the build took longer than 3 s"
    assert not living(caught.value.log)


def test_nothing_is_left_of_one_that_ended(build: Build) -> None:
    with pytest.raises(BuildError) as caught:
        build("stray(lambda: None)\nsys.exit(7)")
    assert caught.value.reason == "the build ended with code 7 before it was done"
    assert not living(caught.value.log)


def test_one_that_crashes(build: Build) -> None:
    with pytest.raises(BuildError) as caught:
        build("print('the last word', flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert caught.value.reason == "the build was ended by SIGSEGV before it was done"
    assert caught.value.log == "the last word\n"


def test_the_log(build: Build) -> None:
    told: list[str] = []
    with pytest.raises(BuildError) as caught:
        build(
            """
            print("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR")
            print("I0000 00:00:1795219042.287385    6201 cudart_stub.cc:31] Could not find cuda drivers")
            for number in range(5000):
                print("line", number)
            print("x" * 40_000, flush=True)
            os.write(2, b"the end, without a newline, and no UTF-8: " + bytes([255]))
            """,
            progress=told.append,
        )
    assert told[:5000] == [f"line {number}" for number in range(5000)]
    assert "".join(told[5000:-1]).count("x") == 40_000
    assert told[-1] == "the end, without a newline, and no UTF-8: \ufffd"
    assert len(caught.value.log.encode()) <= 16_000
    assert caught.value.log.endswith("no UTF-8: \ufffd\n")


def test_an_exception_of_the_listener_ends_the_build(build: Build) -> None:
    log: list[str] = []

    def listen(line: str) -> None:
        log.append(line)
        raise InterruptedError(line)

    with pytest.raises(InterruptedError, match="pid"):
        build("print('pid', os.getpid(), flush=True)\ntime.sleep(600)", progress=listen)
    assert not living("\n".join(log))


GOOD_REPORT = {
    "signature": {
        "inputs": [{"name": "x", "dtype": "FP32", "shape": [2]}],
        "outputs": [{"name": "y", "dtype": "FP32", "shape": [1]}],
    },
    "ways": [{"executor": "tf", "threads": 2}],
    "table": [{"executor": "tf", "threads": 2, "ok": True, "worst": 0.0, "rows": 1, "ms": {"1": 1.0}}],
}


def leave(report: object, then: str = "") -> str:
    return f"(out / 'tf').mkdir()\n(out / 'report.json').write_text({json.dumps(report)!r})\n{then}"


def test_a_good_report_is_read(build: Build, tmp_path: Path) -> None:
    report = build(leave(GOOD_REPORT))
    assert report.artefacts == {"tf": tmp_path / "workdir" / "out" / "tf"}
    assert report.signature.to_document() == GOOD_REPORT["signature"]
    assert report.table == [{"executor": "tf", "threads": 2, "ok": True, "worst": 0.0, "rows": 1, "ms": {"1": 1.0}}]
    assert report.ways == [{"executor": "tf", "threads": 2}]


UNREADABLE = "the build left a report that cannot be read"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (leave({"reason": "it has no heart"}, "sys.exit(1)"), "it has no heart"),
        (leave(GOOD_REPORT, "sys.exit(3)"), "the build ended with code 3"),
        (leave([]), UNREADABLE),
        (leave({}), UNREADABLE),
        (leave(GOOD_REPORT, "(out / 'report.json').write_text('{')"), UNREADABLE),
        (
            leave(GOOD_REPORT, "report = out / 'report.json'; report.rename(out / 'a'); report.symlink_to('a')"),
            UNREADABLE,
        ),
        (leave(GOOD_REPORT, "(out / 'tf').rmdir()"), UNREADABLE),
        (leave(GOOD_REPORT, "(out / 'tf' / 'x').symlink_to('/etc/passwd')"), UNREADABLE),
        (leave(GOOD_REPORT, "os.mkfifo(out / 'tf' / 'x')"), UNREADABLE),
        (leave(json.loads(json.dumps(GOOD_REPORT).replace('"tf"', '"../private"'))), UNREADABLE),
    ],
)
def test_other_reports_are_not_believed(build: Build, code: str, reason: str) -> None:
    with pytest.raises(BuildError) as caught:
        build(code)
    assert caught.value.reason == reason


def test_the_child_does_not_start_for_another_parent(tmp_path: Path) -> None:
    arguments = [str(os.getpid() + 1), "model.keras", str(tmp_path), "1000", ""]
    assert subprocess.run([sys.executable, "-I", str(CHILD), *arguments], check=False, timeout=60).returncode == 1
    assert not list(tmp_path.iterdir())


def test_the_child_dies_with_the_server(file: Path, tmp_path: Path) -> None:
    server = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from ml.build import build_model
say = lambda line: print(line, flush=True)
build_model(Path({str(file)!r}), Path({str(tmp_path)!r}), seconds=60, memory_mb=4000, progress=say)
"""
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # TensorFlow is imported after this line, so the child has seconds to live.
        assert "loading the file with Keras\n" in iter(process.stdout.readline, "")
        (child,) = psutil.Process(process.pid).children()
        # So that it neither ends by itself nor notices that nobody reads what it says.
        child.suspend()
        process.kill()
    try:
        until(lambda: not child.is_running() or _zombie(child.pid))
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
