"""A build's child is cut off from every network, as root or as any user, and keeps nothing to undo that with."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml import terminal
from ml.build import isolation, landlock, seccomp
from ml.build.build import CHILD
from ml.builder import NOT_HELD

ISOLATION = Path(isolation.__file__)
#: Any user but root, whom no file here belongs to.
STRANGER, GROUP = 64_123, 64_124

#: What becomes of a call, in a program that is run.
OUTCOME = """
    import errno
    def outcome(call):
        try:
            call()
        except OSError as error:
            return errno.errorcode[error.errno]
        return "done"
"""
PROBE = (
    OUTCOME
    + """
    import ctypes, json, os, pathlib, socket, sys
    def connect(family, address):
        with socket.socket(family) as one:
            return outcome(lambda: one.connect(address))
    def probe(port, abstract, **more):
        loopback = open("/proc/self/net/dev").read()
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
        print(json.dumps({
            "tcp": connect(socket.AF_INET, ("127.0.0.1", port)),
            "abstract": connect(socket.AF_UNIX, abstract),
            "links": [line.split(":")[0].strip() for line in loopback.splitlines() if ":" in line],
            **more,
        }), flush=True)
"""
)


@pytest.fixture
def listening() -> Iterator[str]:
    """The arguments of `probe`: a TCP port of this process and an abstract unix socket, both listened on."""
    abstract = f"\0almanac-test-{os.urandom(8).hex()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract)
        unix.listen()
        yield f"{tcp.getsockname()[1]}, {abstract!r}"


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Any]:
    """Runs a program that has `probe`, and `cut_off` of ml/build/isolation.py; the last line that it prints."""

    def run(code: str) -> Any:
        head = f"import sys, runpy\ncut_off = runpy.run_path({str(ISOLATION)!r})['cut_off']\n"
        file = tmp_path / "script.py"
        file.write_text(head + textwrap.dedent(PROBE) + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, "-I", str(file)], cwd="/", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def namespaces(script: Callable[[str], Any]) -> None:
    refused = script("import json\nprint(json.dumps(cut_off()))")
    if refused is not None:
        pytest.skip(f"no network namespaces here: {refused}")


@pytest.fixture
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user, or try what root may not")


def become(user: int, group: int) -> str:
    """Code that turns root into another user. Without the prctl its /proc/self would stay root's."""
    return f"os.setgroups([]); os.setresgid(*[{group}] * 3); os.setresuid(*[{user}] * 3); ctypes.CDLL(None).prctl(4, 1)"


REACHED = {"tcp": "done", "abstract": "done"}
CUT_OFF = {"tcp": "ENETUNREACH", "abstract": "ECONNREFUSED", "links": ["lo"]}


@pytest.mark.usefixtures("namespaces")
def test_it_reaches_neither_loopback_nor_an_abstract_socket(script: Callable[[str], Any], listening: str) -> None:
    before = script(f"probe({listening})")
    assert {name: before[name] for name in REACHED} == REACHED
    assert script(f"assert cut_off() is None\nprobe({listening})") == CUT_OFF


@pytest.mark.usefixtures("namespaces", "_root")
def test_so_does_one_without_rights(script: Callable[[str], Any], listening: str, tmp_path: Path) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    assert script(
        f"""
        import struct
        os.chdir({str(place)!r})
        {become(STRANGER, GROUP)}
        assert cut_off() is None
        open("made", "w").close()
        probe({listening}, user=os.getuid(), group=os.getgid())
        """
    ) == {**CUT_OFF, "user": STRANGER, "group": GROUP}
    made = (place / "made").stat()
    assert (made.st_uid, made.st_gid) == (STRANGER, GROUP)


@pytest.mark.usefixtures("namespaces", "_root")
def test_all_fences_hold_one_without_rights(script: Callable[[str], Any], tmp_path: Path) -> None:
    """Its own user's file, of which neither the mode nor the time is a matter of Landlock, stays as it is."""
    _all_there()
    for name in ("own", "out"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, STRANGER, GROUP)
    file = tmp_path / "file"
    file.touch(mode=0o600)
    os.chown(file, STRANGER, GROUP)
    for directory in (tmp_path, *tmp_path.parents[:-2]):  # pytest's are their user's alone
        directory.chmod(0o755)
    seen = script(
        f"""
        # What is imported later may lie where only root can read.
        import __future__, contextlib, importlib.util, platform, stat, struct, types
        child = runpy.run_path({str(CHILD)!r})
        sys.modules["ml"] = types.ModuleType("ml")
        loaded = {{name: child["alone"](name) for name in ("isolation", "landlock", "seccomp")}}
        child["fence"].__globals__.update(alone=loaded.get, package=lambda *_: None)
        {become(STRANGER, GROUP)}
        os.chdir({str(tmp_path / "own")!r})
        missing = child["fence"](os.getppid(), [], [{str(tmp_path / "out")!r}])
        print(json.dumps({{
            "missing": missing,
            "own": outcome(lambda: open("made", "w").close()),
            "out": outcome(lambda: open({str(tmp_path / "out" / "made")!r}, "w").close()),
            "beside": outcome(lambda: open({str(tmp_path / "made")!r}, "w").close()),
            "read": outcome(lambda: open({str(file)!r}).close()),
            "mode": outcome(lambda: os.chmod({str(file)!r}, 0o666)),
            "of itself": outcome(lambda: pathlib.Path("/proc/self/oom_score_adj").write_text("1000")),
            "fork": outcome(os.fork),
        }}))
        """
    )
    assert seen == {
        "missing": [],
        "own": "done",
        "out": "done",
        "beside": "EROFS",
        "read": "EACCES",
        "mode": "EROFS",
        "of itself": "done",
        "fork": "EPERM",
    }


@pytest.mark.usefixtures("namespaces", "_root")
def test_files_keep_their_user_where_the_kernel_takes_no_map(script: Callable[[str], Any], tmp_path: Path) -> None:
    """Root without CAP_SETFCAP may make a user namespace and not put itself into it."""
    made = tmp_path / "made"
    script(
        f"""
        import struct
        header, all_but = struct.pack("=Ii", 0x20080522, 0), ~(1 << 21 | 1 << 31)
        word = {0xFFFFFFFF} & all_but
        present = ctypes.create_string_buffer(24)
        libc = ctypes.CDLL(None)
        libc.capget(header, present)
        one = [value & word for value in struct.unpack("=6I", present.raw)]
        assert libc.capset(header, struct.pack("=6I", *one)) == 0
        assert cut_off() is None
        open({str(made)!r}, "w").close()
        print(json.dumps(open("/proc/self/uid_map").read()))
        """
    )
    assert made.stat().st_uid == os.getuid()


@pytest.mark.usefixtures("namespaces")
def test_the_way_back_is_closed(script: Callable[[str], Any]) -> None:
    """Neither by the parent's namespace, nor by rights, nor by programs that have more."""
    seen = script(
        f"""
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.open("/proc/{os.getpid()}/ns/net", os.O_RDONLY)  # what may have been opened before
        assert cut_off() is None
        status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
        print(json.dumps({{
            "entered": libc.setns(parent, 0),
            "again": libc.unshare(0x40000000),
            "traced": libc.ptrace(0x4206, {os.getpid()}, 0, 0),  # PTRACE_SEIZE, which stops nothing
            "rights": int(status["CapEff"], 16) & ~2,
            "more": status["NoNewPrivs"],
        }}))
        """
    )
    assert seen == {"entered": -1, "again": -1, "traced": -1, "rights": 0, "more": "1"}


@pytest.mark.usefixtures("_root")
def test_where_the_kernel_refuses_it_says_why_and_the_rights_still_go(
    script: Callable[[str], Any], listening: str, tmp_path: Path
) -> None:
    """A process in a chroot may make no user namespace."""
    empty = tmp_path / "empty"
    empty.mkdir()
    seen = script(
        f"""
        import struct
        status = open("/proc/self/status")
        os.chroot({str(empty)!r})
        {become(STRANGER, GROUP)}
        refused = cut_off()
        lines = dict(line.split(":\\t") for line in status.read().splitlines())
        tcp = connect(socket.AF_INET, ("127.0.0.1", ({listening})[0]))
        print(json.dumps([refused, tcp, lines["NoNewPrivs"]]))
        """
    )
    assert seen == ["Operation not permitted", "done", "1"]


class Steps:
    """A copy of the child's program, whose steps are a test's."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / "ml" / "build"
        self._directory.mkdir(parents=True)
        for package in (self._directory.parent, self._directory):
            (package / "__init__.py").touch()
        for file in (CHILD, ISOLATION, Path(landlock.__file__), Path(seccomp.__file__)):
            shutil.copy(file, self._directory)
        shutil.copy(terminal.__file__, self._directory.parent)

    def write(self, name: str, code: str) -> None:
        (self._directory / name).write_text(textwrap.dedent(code))

    def run(self) -> list[str]:
        own = self._root / "own"
        own.mkdir()
        done = subprocess.run(
            [sys.executable, "-I", str(self._directory / CHILD.name), str(os.getpid()), "m", str(own), "1000", "", ""],
            cwd=own,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        return done.stdout.splitlines()


#: What is tried in the steps, by three ways that different fences hold: a socket, a secret, a process.
TRIES = (
    OUTCOME
    + """
    import json, os, socket
    def born():
        if os.fork() == 0:
            os._exit(0)
        os.wait()
    def main(*given):
        open("mine", "w").close()
        print(json.dumps({
            "tcp": outcome(lambda: socket.create_connection(("127.0.0.1", PORT), 5)),
            "secret": outcome(lambda: open(SECRET).close()),
            "change": outcome(lambda: os.chmod(SECRET, 0o644)),
            "process": outcome(born),
        }))
        return 7
"""
)
NOT_TODAY = {
    "isolation.py": "def cut_off(writable):\n    return 'not today'",
    "landlock.py": "WRITTEN_BY_PYTHON = ()\ndef needed_by_python(source):\n    return []\n"
    "def restrict(*given):\n    return 'not today'",
    "seccomp.py": "def restrict():\n    return 'not today'",
}
NETWORK = "the kernel here holds a build with no network namespace (not today) and no seccomp (not today): "
NETWORK += "it can reach the network"
FILES = "the kernel here holds a build with no Landlock (not today): it can read what Almanac's user can"
PROCESSES = "the kernel here holds a build with no seccomp (not today): it can start processes and send signals to "
PROCESSES += "those of Almanac's user"


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(
    ("without", "found", "said"),
    [
        ((), {"tcp": "EPERM", "secret": "EACCES", "change": "EROFS", "process": "EPERM"}, []),
        (("isolation.py",), {"tcp": "EPERM", "secret": "EACCES", "change": "done", "process": "EPERM"}, []),
        (("landlock.py",), {"tcp": "EPERM", "secret": "done", "change": "EROFS", "process": "EPERM"}, [FILES]),
        (("seccomp.py",), {"tcp": "EACCES", "secret": "EACCES", "change": "EROFS", "process": "done"}, [PROCESSES]),
        (
            ("isolation.py", "seccomp.py"),
            {"tcp": "EACCES", "secret": "EACCES", "change": "done", "process": "done"},
            [NETWORK, PROCESSES],
        ),
        (
            ("isolation.py", "landlock.py", "seccomp.py"),
            {"tcp": "done", "secret": "done", "change": "done", "process": "done"},
            [NETWORK, f"{FILES}, and change it", PROCESSES],
        ),
    ],
    ids=["with all", "no namespaces", "no Landlock", "no seccomp", "Landlock alone", "with none"],
)
def test_the_child_is_fenced_in_before_its_steps_and_says_by_what_it_is_not(
    without: tuple[str, ...], found: dict[str, str], said: list[str], tmp_path: Path
) -> None:
    """Each of the kernel's means holds something that the others do not, so each is missed where it is not there."""
    _all_there()
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    steps = Steps(tmp_path)
    for name in without:
        steps.write(name, NOT_TODAY[name])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tries = TRIES.replace("PORT", str(listening.getsockname()[1])).replace("SECRET", repr(str(secret)))
        steps.write("steps.py", tries)
        *lines, last = steps.run()
    assert lines == said
    assert all(line.startswith(NOT_HELD) for line in lines)
    assert json.loads(last) == found


def _all_there() -> None:
    missing = landlock.unavailable() or seccomp.unavailable()
    if missing is not None:
        pytest.skip(f"this kernel does not hold a build with all that there is: {missing}")
    if landlock.version() < 4:
        pytest.skip("this kernel's Landlock knows no ports")
