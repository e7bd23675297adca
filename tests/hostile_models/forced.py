"""What code in a model would do if it ever ran, and what it must meet with.

`{secret}` is a file of the server's data directory, `{server}` the number of its process, `{port}` one that is listened
on. Where nothing holds them these do no harm to who runs the tests: signals are asked for and not sent.
"""

from __future__ import annotations

import base64
import marshal
from collections.abc import Mapping
from types import CodeType
from typing import Any

from tests.hostile_models.making import file, layer

REFUSED = "PermissionError: .*(Operation not permitted|Permission denied)"
UNCHANGED = (
    "(OSError|PermissionError): .*(Read-only file system|Operation not permitted|Permission denied|cross-device)"
)

#: Code, and a pattern of the exception.
REFUSED_CODE: Mapping[str, tuple[str, str]] = {
    "a socket": ("import socket; socket.create_connection(('127.0.0.1', {port}), 5)", REFUSED),
    "a socket of the database": ("import socket; socket.socket(socket.AF_UNIX).connect('{secret}')", REFUSED),
    "a packet": (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
        REFUSED,
    ),
    "a secret of the data directory": ("print(open('{secret}').read())", REFUSED),
    "a secret by a link": ("import os; os.symlink('{secret}', 'link'); print(open('link').read())", REFUSED),
    "a secret by a hard link": ("import os; os.link('{secret}', 'hard'); print(open('hard').read())", UNCHANGED),
    "the data directory": ("import os; print(os.listdir(os.path.dirname('{secret}')))", REFUSED),
    "the environment of the server": ("print(open('/proc/{server}/environ').read())", REFUSED),
    "the memory of the server": ("open('/proc/{server}/mem', 'r+b')", REFUSED),
    "the open files of the server": ("open('/proc/{server}/fd/1', 'w')", REFUSED),
    "the users of the machine": ("print(open('/etc/passwd').read())", REFUSED),
    "a file elsewhere": ("open('{secret}.new', 'w')", UNCHANGED),
    "a file in the temporary directory": ("open('/tmp/almanac-escaped', 'w')", UNCHANGED),
    "its own program": ("import json; open(json.__file__, 'a')", UNCHANGED),
    "the mode of a secret": ("import os; os.chmod('{secret}', 0o666)", UNCHANGED),
    "the time of a secret": ("import os; os.utime('{secret}', (0, 0))", UNCHANGED),
    "the removal of a secret": ("import os; os.remove('{secret}')", UNCHANGED),
    "a grandchild": ("import os\nif os.fork() == 0: os._exit(0)", REFUSED),
    "another program": ("import subprocess; subprocess.run(['/bin/sh', '-c', 'id'])", REFUSED),
    "a program in its place": ("import os; os.execv('/bin/sh', ['sh', '-c', 'sleep 600'])", REFUSED),
    "the end of the server": ("import os; os.kill({server}, 0)", REFUSED),
    "the end of everything": ("import os; os.kill(-1, 0)", REFUSED),
    "the end of its group": ("import os; os.kill(0, 0)", REFUSED),
    "a limit of the server": ("import resource; resource.prlimit({server}, resource.RLIMIT_NOFILE, (0, 0))", REFUSED),
    "the server's turn": ("import os; os.setpriority(os.PRIO_PROCESS, {server}, 19)", REFUSED),
}

#: What runs until its time is over, or is ended before by another limit, or by itself.
LIMITED: Mapping[str, tuple[str, str]] = {
    "an endless loop": ("while True: pass", "took longer than 1.5 s"),
    "an endless sleep": ("import time; time.sleep(600)", "took longer than 1.5 s"),
    "an endless log": ("while True: print('x' * 1000)", "printed more than 8 MB"),
    "a terabyte": ("kept = bytearray(2**40)", "MemoryError|more than [0-9,]+ MB of memory"),
    "half a gigabyte": (
        "kept = bytearray(2**29)\nkept[::4096] = kept[::4096]\nwhile True: pass",
        "more than 300 MB of memory",
    ),
    "threads without end": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        "can't start new thread|took longer than|of memory",
    ),
    "a file without end": (
        "part = bytes(2**24)\nwith open('file', 'wb') as file:\n    while True: file.write(part)",
        "the disk is nearly full",
    ),
    "its own end": ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    "a crash": ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
    "a report of its own": (
        "import os, pathlib, sys; pathlib.Path(sys.argv[3], 'report.json').write_text('{{}}'); os._exit(0)",
        "a report that cannot be read",
    ),
}


def a_model_that_runs(code: str) -> bytes:
    """A .keras file with a Lambda, which runs the code where nobody stops it."""
    function: CodeType = compile(f"lambda x: (exec({code!r}, {{}}), x)[1]", "model", "eval").co_consts[0]
    packed = base64.b64encode(marshal.dumps(function)).decode()
    inner: dict[str, Any] = {"code": packed, "defaults": None, "closure": None}
    return file(layer("Lambda", "l", function={"class_name": "__lambda__", "config": inner}, arguments={}))
