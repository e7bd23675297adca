"""What is told of a mongod that ended: the lines that say why, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ml.database.embedded import reason
from ml.database.embedded.reason import tail_of, why_it_ended


def line(severity: str, words: str, component: str = "CONTROL", **attributes: Any) -> str:
    return json.dumps({"s": severity, "c": component, "id": 1, "msg": words, "attr": attributes})


def test_errors_before_all_else() -> None:
    logged = "\n".join(
        [
            line("I", "MongoDB starting"),
            line("W", "Access control is not enabled"),
            line("E", "Error setting up listener", error={"code": 9001, "errmsg": "Address already in use"}),
            line("I", "Shutting down"),
        ]
    )
    told = why_it_ended(48, "printed noise", logged)
    assert told.startswith("ended with exit code 48: Error setting up listener: Address already in use")
    assert "ALMANAC_EMBEDDED_PORT" in told
    assert "Access control" not in told
    assert "noise" not in told


def test_the_storage_engines_shape_and_no_words_of_giving_up() -> None:
    logged = "\n".join(
        [
            line("E", "WiredTiger error message", "WT", error=-31809, message={"msg": "WiredTiger.turtle: read error"}),
            line("F", "Fatal assertion", "ASSERT", msgid=50853),
            line("F", "\n\n***aborting after fassert() failure\n\n", "ASSERT"),
            line("F", "Writing fatal message", message="Got signal: 6 (Aborted).\n"),
        ]
    )
    assert why_it_ended(-6, "", logged) == (
        "was ended by SIGABRT: WiredTiger error message: WiredTiger.turtle: read error"
    )


def test_the_last_few_and_each_once() -> None:
    logged = "\n".join(line("E", f"error {number}") for number in (1, 2, 3, 3, 4))
    assert why_it_ended(1, "", logged) == "ended with exit code 1: error 2; error 3; error 4"


def test_what_was_printed_where_nothing_was_logged() -> None:
    assert why_it_ended(2, "Error parsing option\n\ntry --help\n") == (
        "ended with exit code 2: Error parsing option; try --help"
    )
    assert why_it_ended(2, "") == "ended with exit code 2"


def test_only_this_runs_part_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "mongod.log"
    log.write_text("earlier\n")
    since = log.stat().st_size
    with log.open("a") as file:
        file.write("now\n")
    assert tail_of(log, since) == "now\n"
    assert tail_of(tmp_path / "none", 0) == ""


def test_a_long_log_is_not_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "mongod.log"
    log.write_text("x" * (reason.TAIL * 2) + "the end")
    tail = tail_of(log, 0)
    assert len(tail) == reason.TAIL
    assert tail.endswith("the end")
