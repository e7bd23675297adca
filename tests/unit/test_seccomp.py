"""The filter of system calls, run by an interpreter of its instructions, for processors that are not there too."""

from __future__ import annotations

import errno

import pytest

from ml.build import seccomp

OWN = 4321
ALLOWED, REFUSED, UNKNOWN = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter says of a call, as the kernel would run it (linux/filter.h)."""
    words = {0: number, 4: MACHINES[machine] if architecture is None else architecture}
    words |= {16 + 8 * place: value & 0xFFFFFFFF for place, value in enumerate(arguments)}
    code = seccomp.program(machine, OWN)
    at, loaded = 0, 0
    while True:
        operation, if_so, if_not, value = code[at]
        at += 1
        if operation == 0x20:
            loaded = words.get(value, 0)
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[operation]
            at += if_so if holds else if_not


def number_of(machine: str, name: str) -> int:
    words = (seccomp._ARCHITECTURES[machine][1] + seccomp._EVERYWHERE).split()
    return int(words[words.index(name) + 1])


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_refused(machine: str) -> None:
    for name in ("execve", "socket", "unshare", "mount", "ptrace", "io_uring_setup", "setpriority", "tkill"):
        assert answer(machine, number_of(machine, name), OWN) == REFUSED, name
    assert answer(machine, number_of(machine, "clone3")) == UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
def test_what_depends_on_what_it_is_asked(machine: str) -> None:
    clone, fcntl = number_of(machine, "clone"), number_of(machine, "fcntl")
    assert answer(machine, clone, 0x3D0F00) == ALLOWED  # a thread, as the C library starts one
    assert answer(machine, clone, 0x1200011) == REFUSED  # fork
    assert answer(machine, fcntl, 1, 3) == ALLOWED
    assert answer(machine, fcntl, 1, 8) == answer(machine, fcntl, 1, 15) == REFUSED
    for name in ("kill", "tgkill", "rt_sigqueueinfo", "prlimit64"):
        assert answer(machine, number_of(machine, name), OWN) == ALLOWED, name
        assert answer(machine, number_of(machine, name), OWN - 1) == REFUSED, name
        assert answer(machine, number_of(machine, name), -1) == REFUSED, name
    assert answer(machine, number_of(machine, "kill"), 0) == REFUSED
    assert answer(machine, number_of(machine, "prlimit64"), 0) == ALLOWED


@pytest.mark.parametrize("machine", MACHINES)
def test_all_else_is_allowed_but_not_by_another_numbering(machine: str) -> None:
    assert answer(machine, 0) == answer(machine, 9) == ALLOWED
    assert answer(machine, 0x40000000) == REFUSED
    assert answer(machine, 0, architecture=0x40000003) == REFUSED  # i386


def test_a_processor_that_it_was_not_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "s390x")
    assert seccomp.restrict() == seccomp.unavailable() == "it was written for no s390x"
