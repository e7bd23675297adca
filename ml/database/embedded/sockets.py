"""Where mongod's unix socket is: in the data directory, or in a short private one where that path cannot be used."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from ml.database.embedded.errors import EmbeddedError

NAME = "mongod.sock"
#: The kernel takes 107 bytes; some are left for what a client may add.
LONGEST = 100
#: mongod splits --bind_ip at commas and a member's host at colons; only names without such characters are given to it.
#: And PyMongo makes every member's host lower case, also one that is a path.
_PLAIN = re.compile(r"[a-z0-9/._+-]+")


def place_socket(data_dir: Path) -> Path:
    """The socket's path for this data directory; what it lies in exists and is ours."""
    path = data_dir / NAME
    return path if usable(path) else _runtime_directory(data_dir) / NAME


def usable(path: Path) -> bool:
    text = str(path)
    return len(os.fsencode(text)) <= LONGEST and _PLAIN.fullmatch(text) is not None


def tidy_socket(data_dir: Path, socket: Path) -> None:
    """Remove what `place_socket` made outside the data directory, once mongod is gone."""
    if socket.parent == data_dir:
        return
    try:
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()
    except OSError:
        pass  # it is made again or found again at the next start


def _runtime_directory(data_dir: Path) -> Path:
    """A directory whose name is derived from the data directory's, so that two never share a socket."""
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        runtime = Path(given)
        path = runtime / f"almanac-{name}"
        if runtime.is_absolute() and _is_ours(runtime) and usable(path / NAME):
            return private_directory(path)
    shared = Path("/tmp") / f"almanac-{os.getuid()}"  # noqa: S108 # nosec B108 # checked to be ours
    return private_directory(private_directory(shared) / name)


def private_directory(path: Path) -> Path:
    """Make `path`, mode 0700, or take it as it is where it is a directory of ours; else refuse it."""
    path.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(path):
        raise EmbeddedError(
            f"{path} is not a directory of this user, so the database's socket cannot be put there: remove it, or set"
            " XDG_RUNTIME_DIR, or choose an ALMANAC_DATA_DIR with a shorter and plainer path"
        )
    if stat.S_IMODE(path.lstat().st_mode) != 0o700:
        path.chmod(0o700)
    return path


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()  # a link to elsewhere is not ours
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
