"""From a mongod that was just started to a writable primary with its users: steps that can all be repeated.

The same sequence runs at the first start, at every later one and after a crash at any point: each step looks at what
is there and does what is missing. It logs in as `__system`, whose password is the key file's text, so it depends
neither on a user that an earlier run may not have made nor on the localhost exception, which is off.
"""

from __future__ import annotations

import socket as sockets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError
from pymongo.write_concern import WriteConcern

from ml.database.embedded.errors import EmbeddedError
from ml.database.embedded.process import REPLICA_SET

DATABASE = "almanac"
USER = "almanac"
ROOT_USER = "root"

#: How long mongod may take before it accepts connections, seconds: after a crash it first reads its journal.
LISTEN_SECONDS = 600.0
#: How long a one-member set may take to elect itself, seconds; about 0.1 is usual.
PRIMARY_SECONDS = 60.0
_POLL = 0.01
#: A mongod that died in the middle is noticed after this long, ms.
_SELECTION_MS = 5_000

_AUTHENTICATION_FAILED = 18
_ALREADY_INITIALIZED = 23
_CONFIGURATION_NOT_READY = (94, 109)  # NotYetInitialized, ConfigurationInProgress: it is still reading its own

Client = MongoClient[dict[str, Any]]
#: Raises where mongod has ended.
Alive = Callable[[], None]


def uri_of(socket: Path, password: str) -> str:
    """What the rest of Almanac connects to. The user lives in the database that it may use, so it logs in there.

    Not with directConnection: that connects to a mongod that has just come up and is no primary yet, and what PyMongo
    learns then of a connection (that it knows no sessions) it keeps for as long as the connection lives.
    """
    return (
        f"mongodb://{USER}:{quote(password, safe='')}@{quote(str(socket), safe='')}/{DATABASE}"
        f"?authSource={DATABASE}&replicaSet={REPLICA_SET}"
    )


def wait_listening(socket: Path, alive: Alive) -> None:
    """Return when the socket takes connections. A raw connect(): PyMongo's own retry would add up to half a second."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        with sockets.socket(sockets.AF_UNIX) as probe:
            if probe.connect_ex(str(socket)) == 0:
                return
        alive()
        _check(deadline, f"MongoDB did not accept connections within {LISTEN_SECONDS:g} s")
        time.sleep(_POLL)


@contextmanager
def as_system(socket: Path, key: str) -> Iterator[Client]:
    """A client with every right. Make a new one after each change of the node's role: an old one's view is stale."""
    with _client(socket, "__system", key, "local") as client:
        yield client


def ensure_set(client: Client, socket: Path, alive: Alive) -> None:
    """The node is a set of one that names this socket: initiated where it is new, put right where it was moved."""
    # What is stored decides: `hello` names no set both for a new node and for one that is not in its own set.
    config = client.local["system.replset"].find_one()
    if config is None:
        members = [{"_id": 0, "host": str(socket)}]
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:
                raise
    elif [member["host"] for member in config["members"]] != [str(socket)]:
        config["members"] = [{"_id": config["members"][0]["_id"], "host": str(socket)}]
        config["version"] += 1
        _reconfigure(client, config, alive)


def _reconfigure(client: Client, config: dict[str, Any], alive: Alive) -> None:
    """By force: there is no primary to ask, as no member finds itself in the set."""
    deadline = time.monotonic() + PRIMARY_SECONDS
    said: PyMongoError
    while True:
        try:
            client.admin.command("replSetReconfig", config, force=True)
        except ConnectionFailure as error:
            said = error  # it closes every connection when its role changes
        except OperationFailure as error:
            if error.code not in _CONFIGURATION_NOT_READY:
                raise
            said = error
        else:
            return
        alive()
        _check(deadline, f"MongoDB did not take its new address: {said}")
        time.sleep(_POLL)


def wait_primary(client: Client, alive: Alive) -> None:
    deadline = time.monotonic() + PRIMARY_SECONDS
    while not _is_primary(client):
        alive()
        _check(deadline, f"MongoDB did not become a writable primary within {PRIMARY_SECONDS:g} s")
        time.sleep(_POLL)


def _is_primary(client: Client) -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except ConnectionFailure:  # as above
        return False


def ensure_root(client: Client, socket: Path, password: str) -> None:
    """The user for people who look after the database (backup, repair). Almanac itself does not use it."""
    _ensure_user(client, socket, "admin", ROOT_USER, password, [{"role": "root", "db": "admin"}])


def ensure_user(client: Client, socket: Path, password: str) -> None:
    """The user that Almanac and those who read mongo.uri log in as."""
    _ensure_user(client, socket, DATABASE, USER, password, [{"role": "readWrite", "db": DATABASE}])


def _ensure_user(
    client: Client, socket: Path, database: str, name: str, password: str, roles: list[dict[str, str]]
) -> None:
    where = client.get_database(database, write_concern=WriteConcern("majority", j=True))
    durable = {"w": "majority", "j": True}
    if not where.command("usersInfo", name)["users"]:
        where.command("createUser", name, pwd=password, roles=roles, writeConcern=durable)
    elif not _can_log_in(socket, database, name, password):
        # The password file was lost and made again, or the files came from a backup.
        where.command("updateUser", name, pwd=password, roles=roles, writeConcern=durable)


def _can_log_in(socket: Path, database: str, name: str, password: str) -> bool:
    try:
        with _client(socket, name, password, database) as client:  # never used again: one that was refused stays so
            client.admin.command("ping")
    except OperationFailure as error:
        if error.code != _AUTHENTICATION_FAILED:
            raise
        return False
    return True


@contextmanager
def _client(socket: Path, user: str, password: str, source: str) -> Iterator[Client]:
    client: Client = MongoClient(
        [quote(str(socket), safe="")],
        username=user,
        password=password,
        authSource=source,
        directConnection=True,
        serverSelectionTimeoutMS=_SELECTION_MS,
        appname="almanac-bootstrap",
    )
    try:
        yield client
    finally:
        client.close()


def _check(deadline: float, message: str) -> None:
    if time.monotonic() > deadline:
        raise EmbeddedError(f"{message}: look into mongod.log in the data directory")
