"""Takes system calls from a process for good: to start others, to open sockets, to reach what other processes have.

The standard library alone. Filters hold for threads that come later: the process must have one thread. Run as a
program, it ends with the reason where the kernel takes none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2

#: What an answer of the filter is (linux/seccomp.h).
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_REFUSE, _UNKNOWN = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
#: Instructions (linux/bpf_common.h): load a word, jump if equal, if greater or equal, if a bit is set; end.
_LOAD, _EQUAL, _AT_LEAST, _SET, _END = 0x20, 0x15, 0x35, 0x45, 0x06
#: Where the filter finds the number, the architecture, and the low word of an argument (little-endian).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x10000
_F_SETOWN, _F_SETOWN_EX = 8, 15

#: For each architecture the kernel's number for it, and those of its system calls, where the two differ.
_ARCHITECTURES: Mapping[str, tuple[int, str]] = {
    "x86_64": (
        0xC000003E,
        "clone 56 fork 57 vfork 58 execve 59 execveat 322 socket 41 ptrace 101 process_vm_readv 310"
        " process_vm_writev 311 unshare 272 setns 308 mount 165 umount2 166 pivot_root 155 chroot 161 bpf 321"
        " perf_event_open 298 userfaultfd 323 add_key 248 request_key 249 keyctl 250 kill 62 tkill 200 tgkill 234"
        " rt_sigqueueinfo 129 rt_tgsigqueueinfo 297 prlimit64 302 setpriority 141 ioprio_set 251 sched_setparam 142"
        " sched_setscheduler 144 sched_setattr 314 fcntl 72",
    ),
    "aarch64": (
        0xC00000B7,
        "clone 220 execve 221 execveat 281 socket 198 ptrace 117 process_vm_readv 270 process_vm_writev 271"
        " unshare 97 setns 268 mount 40 umount2 39 pivot_root 41 chroot 51 bpf 280 perf_event_open 241"
        " userfaultfd 282 add_key 217 request_key 218 keyctl 219 kill 129 tkill 130 tgkill 131 rt_sigqueueinfo 138"
        " rt_tgsigqueueinfo 240 prlimit64 261 setpriority 140 ioprio_set 30 sched_setparam 118"
        " sched_setscheduler 119 sched_setattr 274 fcntl 25",
    ),
}
_EVERYWHERE = (
    " pidfd_send_signal 424 io_uring_setup 425 open_tree 428 move_mount 429 fsopen 430 fsconfig 431 fsmount 432"
    " fspick 433 pidfd_open 434 clone3 435 pidfd_getfd 438 mount_setattr 442"
)
#: Those whose first argument names a process, which may be this one.
_OF_A_PROCESS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "prlimit64")

Instruction = tuple[int, int, int, int]


def restrict() -> str | None:
    """Refuse with EPERM what is said above; None, or why that cannot be.

    Refused are new processes and programs, sockets of every family, namespaces and mounts, tracing, priorities, and
    signals and limits for any process but this one. Threads can be started. What this process had open it can use.
    """
    machine = platform.machine()
    refused = unavailable(machine)
    if refused is not None:
        return refused
    code = b"".join(struct.pack("=HBBI", *one) for one in program(machine, os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, and where they are.
    filter_ = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, filter_, 0, 0) != 0:
        return os.strerror(ctypes.get_errno())
    return None


def unavailable(machine: str | None = None) -> str | None:
    """Why there can be no filter here; None where the kernel has them."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES or sys.byteorder != "little":
        return f"it was written for no {machine}"
    libc = ctypes.CDLL(None, use_errno=True)
    # Without a filter to read the kernel says so (EFAULT); one that has none knows no such thing (EINVAL).
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    number = ctypes.get_errno()
    return None if number == errno.EFAULT else os.strerror(number)


def program(machine: str, own: int) -> list[Instruction]:
    """The filter, for the process with the number `own`."""
    architecture, calls = _ARCHITECTURES[machine]
    words = (calls + _EVERYWHERE).split()
    numbers = {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}
    # Another architecture (32 bits) has other numbers, and so has x32, whose have a bit more.
    made = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_END, 0, 0, _REFUSE)]
    made += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, 0x40000000), (_END, 0, 0, _REFUSE)]
    for name, number in numbers.items():
        answer = list(_answer(name, own))
        made += [(_EQUAL, 0, len(answer), number), *answer]
    return [*made, (_END, 0, 0, _ALLOW)]


def _answer(name: str, own: int) -> Iterator[Instruction]:
    """What becomes of a call that has an answer of its own; each way through ends."""
    if name == "clone3":
        # Its flags cannot be seen from here. The C library then takes clone.
        yield _END, 0, 0, _UNKNOWN
    elif name == "clone":
        yield _LOAD, 0, 0, _ARGUMENTS
        yield _SET, 0, 1, _CLONE_THREAD
        yield _END, 0, 0, _ALLOW
        yield _END, 0, 0, _REFUSE
    elif name == "fcntl":
        # Whoever owns a descriptor gets its signals.
        yield _LOAD, 0, 0, _ARGUMENTS + 8
        yield _EQUAL, 1, 0, _F_SETOWN
        yield _EQUAL, 0, 1, _F_SETOWN_EX
        yield _END, 0, 0, _REFUSE
        yield _END, 0, 0, _ALLOW
    elif name in _OF_A_PROCESS:
        yield _LOAD, 0, 0, _ARGUMENTS
        yield _EQUAL, 1, 0, own
        # To a limit 0 is this process, to a signal the whole group.
        yield _EQUAL, 0, 1, 0 if name == "prlimit64" else own
        yield _END, 0, 0, _ALLOW
        yield _END, 0, 0, _REFUSE
    else:
        yield _END, 0, 0, _REFUSE


if __name__ == "__main__":
    sys.exit(unavailable())
