"""The embedded MongoDB as it runs: what it listens on, who may come in, and what it can do."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from pymongo.errors import ConfigurationError, OperationFailure

from ml.database.embedded import EmbeddedMongo, running_uri
from tests.integration.embedded.databases import DURABLE, client, root_client


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedMongo]:
    """One that the tests which only look share."""
    directory = Path(tempfile.mkdtemp(prefix="alm-"))
    with EmbeddedMongo(directory) as mongo:
        yield mongo
    shutil.rmtree(directory)


def directory_of(mongo: EmbeddedMongo) -> Path:
    return Path(psutil.Process(mongo.pid).cmdline()[2]).parent


def test_the_uri_and_its_file(running: EmbeddedMongo) -> None:
    data_dir = directory_of(running)
    uri = running_uri(data_dir)
    assert uri is not None
    assert (data_dir / "mongo.uri").read_text().strip() == uri
    password = (data_dir / "almanac.pw").read_text()
    path = quote(str(data_dir / "mongod.sock"), safe="")
    assert uri == f"mongodb://almanac:{password}@{path}/almanac?authSource=almanac&replicaSet=rs0"
    assert (data_dir / "root.pw").read_text() not in uri


def test_files_with_secrets_are_private(running: EmbeddedMongo) -> None:
    data_dir = directory_of(running)
    private = ["mongo.uri", "root.pw", "almanac.pw", "mongod.key", "mongod.log", "almanac.lock"]
    assert {name: stat.S_IMODE((data_dir / name).stat().st_mode) for name in private} == dict.fromkeys(private, 0o600)
    for name in ("db", "mongod.sock"):
        assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o700
    assert not list(data_dir.glob("*.new"))


def test_unix_socket_alone(running: EmbeddedMongo) -> None:
    process = psutil.Process(running.pid)
    assert process.net_connections(kind="inet") == []
    listening = {str(found.laddr) for found in process.net_connections(kind="unix") if found.laddr}
    assert listening == {str(directory_of(running) / "mongod.sock")}, "not /tmp/mongodb-27017.sock either"


def test_a_replica_set_of_one_with_a_journal(running: EmbeddedMongo) -> None:
    with root_client(directory_of(running)) as root:
        hello = root.admin.command("hello")
        assert hello["setName"] == "rs0"
        assert hello["isWritablePrimary"]
        assert hello["hosts"] == [str(directory_of(running) / "mongod.sock")]
        assert root.almanac.get_collection("journaled", write_concern=DURABLE).insert_one({}).acknowledged
        options = root.admin.command("getCmdLineOpts")["parsed"]
    assert options["security"]["authorization"] == "enabled"
    assert options["security"]["keyFile"] == str(directory_of(running) / "mongod.key")
    cache = max(0.25, min(4.0, 0.1 * psutil.virtual_memory().total / 2**30))
    assert options["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"] == pytest.approx(cache, abs=0.01)


def test_the_parameters_that_it_was_started_with_hold(running: EmbeddedMongo) -> None:
    with root_client(directory_of(running)) as root:
        asked = {"enableLocalhostAuthBypass": 1, "transactionLifetimeLimitSeconds": 1}
        found = root.admin.command({"getParameter": 1, **asked})
    assert found["enableLocalhostAuthBypass"] is False
    assert found["transactionLifetimeLimitSeconds"] == 20, "a killed worker's transaction is not waited for a minute"


def test_discovery_transactions_and_change_streams_work_over_the_socket(running: EmbeddedMongo) -> None:
    uri = running_uri(directory_of(running))
    assert uri is not None
    with client(uri) as connected:
        inputs = connected.almanac.streamed
        inputs.insert_one({"_id": 0})
        with inputs.watch() as stream, connected.start_session() as session:
            with session.start_transaction():
                inputs.insert_one({"_id": 1}, session=session)
            assert next(stream)["documentKey"] == {"_id": 1}


def test_no_javascript(running: EmbeddedMongo) -> None:
    uri = running_uri(directory_of(running))
    assert uri is not None
    with client(uri) as connected, pytest.raises(OperationFailure):
        list(connected.almanac.inputs.find({"$where": "true"}))


def test_nothing_without_logging_in(running: EmbeddedMongo) -> None:
    host = quote(str(directory_of(running) / "mongod.sock"), safe="")
    with client(f"mongodb://{host}/?directConnection=true") as connected:
        with pytest.raises(OperationFailure, match="requires authentication"):
            connected.almanac.inputs.find_one()
        with pytest.raises(OperationFailure, match="requires authentication"):
            connected.admin.command("createUser", "intruder", pwd="x", roles=["root"])


def test_the_user_has_its_database_and_nothing_else(running: EmbeddedMongo) -> None:
    uri = running_uri(directory_of(running))
    assert uri is not None
    with client(uri) as connected:
        connected.almanac.mine.insert_one({"a": 1})
        connected.almanac.mine.create_index("a")
        connected.almanac.create_collection("checked", validator={"a": {"$exists": True}})
        assert "checked" in connected.almanac.list_collection_names()
        connected.almanac.drop_collection("checked")
        for refused in (
            lambda: connected.other.theirs.insert_one({}),
            lambda: connected.other.theirs.find_one(),
            lambda: connected.admin.command("usersInfo", 1),
            lambda: connected.almanac.command("createUser", "more", pwd="x", roles=["readWrite"]),
            lambda: connected.admin.command("shutdown"),
        ):
            with pytest.raises(OperationFailure) as raised:
                refused()
            assert raised.value.code == 13


def test_ctrl_c_does_not_reach_it(running: EmbeddedMongo) -> None:
    assert os.getpgid(running.pid) == running.pid != os.getpgid(0)


def test_the_wrong_password_is_refused(running: EmbeddedMongo) -> None:
    uri = running_uri(directory_of(running))
    assert uri is not None
    wrong = uri.replace(uri.split(":")[2].split("@")[0], "wrong")
    with pytest.raises((OperationFailure, ConfigurationError)), client(wrong) as connected:
        connected.almanac.inputs.find_one()
