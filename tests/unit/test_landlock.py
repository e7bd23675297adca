"""What is asked of Landlock, by versions that this kernel may not have: its system calls are played."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.build import landlock


class Kernel:
    """Answers as a kernel of that version would, and remembers what it was asked."""

    def __init__(self, version: int, failing: int | None = None) -> None:
        self._version = version
        self._failing = failing
        self.ruleset: tuple[int, ...] = ()
        self.rules: list[int] = []
        self.restricted = False

    def prctl(self, *given: int) -> int:
        assert not self.restricted
        return 0

    def syscall(self, number: Any, *given: Any) -> int:
        if self._version == 0:
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1
        if number.value == self._failing and given[-1].value != 1:
            ctypes.set_errno(errno.E2BIG)
            return -1
        if number.value == 444:
            attributes, _, flags = given
            if flags.value == 1:
                return self._version
            self.ruleset = struct.unpack(f"={len(attributes) // 8}Q", attributes)
            # A descriptor, which is closed afterwards.
            return landlock.os.open("/dev/null", landlock.os.O_RDONLY)
        if number.value == 445:
            self.rules.append(struct.unpack("=Qi", given[2])[0])
        if number.value == 446:
            self.restricted = True
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kernel]:
    def play(version: int, failing: int | None = None) -> Kernel:
        played = Kernel(version, failing)
        monkeypatch.setattr(landlock, "_libc", played)
        return played

    return play


@pytest.mark.parametrize(
    ("version", "ruleset"),
    [
        (1, (0x1FFF,)),
        (2, (0x3FFF,)),
        (3, (0x7FFF,)),
        (4, (0x7FFF, 3)),
        (5, (0xFFFF, 3)),
        (6, (0xFFFF, 3, 3)),
        (9, (0xFFFF, 3, 3)),
    ],
)
def test_each_version_is_asked_for_all_that_it_knows(
    version: int, ruleset: tuple[int, ...], kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    played = kernel(version)
    file = tmp_path / "file"
    file.touch()
    assert landlock.restrict([str(tmp_path), str(file), str(tmp_path / "none")], [str(tmp_path), str(file)]) is None
    assert played.ruleset == ruleset
    everything = ruleset[0] & ~1
    # A directory may be read and listed, or all but executed; a file has no rights of directories.
    assert played.rules == [0b1100, 0b0100, everything, everything & 0xC007]
    assert played.restricted


def test_where_there_is_none_it_says_so(kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    played = kernel(0)
    assert landlock.restrict([str(tmp_path)], []) == "Operation not supported"
    assert landlock.unavailable() == "Operation not supported"
    assert not played.restricted


@pytest.mark.parametrize("call", [444, 445, 446])
def test_a_refusal_on_the_way_is_told(call: int, kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    played = kernel(7, failing=call)
    assert landlock.restrict([str(tmp_path)], []) == "Argument list too long"
    assert not played.restricted


def test_neither_the_project_nor_what_lies_beside_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may have put the project on Python's path, and the data directory into it."""
    monkeypatch.setattr(landlock.sys, "path", [str(tmp_path), str(tmp_path / "lib/site-packages")])
    needed = landlock.needed_by_python(tmp_path / "ml")
    assert str(tmp_path) not in needed
    assert {str(tmp_path / "ml"), str(tmp_path / "lib/site-packages")} < set(needed)
    assert not {"/", "/etc", "/tmp", "/home", "/root", "/var", "/run"} & set(needed)
