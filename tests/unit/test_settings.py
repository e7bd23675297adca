"""Settings: where they come from, and the one line that says what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import settings as module
from api.resources import RESOURCES, domain
from settings import PLANNED, Settings, SettingsError, eve_settings, load_settings

KEY = "alm_0123456789abcdef"
URI = "mongodb://db.example/almanac?replicaSet=rs0"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .env and no secrets but those of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SECRETS_DIR", tmp_path / "secrets")


def line(**given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir == tmp_path / "data"
    assert (settings.host, settings.port, settings.jobs) == ("127.0.0.1", 8000, True)
    assert (settings.max_body_mb, settings.max_model_mb) == (64, 2048)
    assert (settings.build_seconds, settings.build_memory_mb) == (300, 8192)
    assert (settings.log_level, settings.log_format) == ("info", None)
    assert settings.mongo_uri is settings.admin_key is settings.embedded_port is None


def test_every_source_and_which_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").mkdir()
    for name, value in {"ALMANAC_PORT": "1001", "HOST": "secret.example", "ADMIN_KEY": KEY + "\n"}.items():
        (tmp_path / "secrets" / name).write_text(value)
    assert load_settings().port == 1001
    assert load_settings().host == "secret.example"
    key = load_settings().admin_key
    assert key is not None
    assert key.get_secret_value() == KEY
    (tmp_path / ".env").write_text("ALMANAC_PORT=1002\nOTHER=1\n")
    assert load_settings().port == 1002
    monkeypatch.setenv("ALMANAC_PORT", "1003")
    assert load_settings().port == 1003
    assert load_settings(port=1004, host=None).port == 1004
    assert load_settings(port=1004, host=None).host == "secret.example"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_MONGO_URI", "")
    monkeypatch.setenv("ALMANAC_PORT", "")
    assert load_settings().mongo_uri is None
    assert load_settings().port == 8000


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "0", "greater than or equal to 1"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "http", "valid integer"),
        ("EMBEDDED_PORT", "-1", "greater than or equal to 1"),
        ("MAX_BODY_MB", "0", "greater than or equal to 1"),
        ("MAX_MODEL_MB", "lots", "valid integer"),
        ("LIVE_MODELS", "0", "greater than or equal to 1"),
        ("LIVE_MODELS", "1001", "less than or equal to 1000"),
        ("BUILD_SECONDS", "0", "greater than 0"),
        ("BUILD_SECONDS", "nan", "less than or equal to 86400"),
        ("BUILD_MEMORY_MB", "1", "greater than or equal to 256"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LOG_FORMAT", "xml", "'json' or 'console'"),
        ("JOBS", "maybe", "boolean"),
        ("AUTH", "none", "'required' or 'off'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ALMANAC_{name}", value)
    assert line().startswith(f"ALMANAC_{name} is {value!r}: ")
    assert allowed in line()


def test_a_wrong_value_in_a_file_is_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ALMANAC_PORT=many\n")
    assert line().startswith("ALMANAC_PORT is 'many': ")


def test_a_wrong_value_of_the_command_line_is_shown() -> None:
    assert line(port=0).startswith("ALMANAC_PORT is 0: ")


@pytest.mark.parametrize("value", ["short", "0123456789abcde", "0123456789abcdef\t"])
def test_a_secret_is_never_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", value)
    assert line() == "ALMANAC_ADMIN_KEY is (hidden): at least 16 printable characters"


@pytest.mark.parametrize(
    "uri", ["http://db", "db.example", "mongodb://", "mongodb://u:hunter2/2@db", "mongodb://u:hun@ter2@db:port/x"]
)
def test_a_uri_that_is_none(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_MONGO_URI", uri)
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", KEY)
    assert line().startswith("ALMANAC_MONGO_URI is (hidden): a mongodb:// or mongodb+srv:// URI of a replica set")
    assert "hunter2" not in line()
    assert "ter2" not in line()


def test_with_a_database_of_ones_own_the_key_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_MONGO_URI", URI)
    assert line().startswith("ALMANAC_ADMIN_KEY is not set")
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", KEY)
    assert load_settings().mongo_uri is not None
    assert KEY not in repr(load_settings())


def test_a_misspelled_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_PROT", "1")
    assert line().startswith("ALMANAC_PROT is no setting; there are ALMANAC_ADMIN_KEY, ")


def test_a_misspelled_setting_in_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ALMANAC_PROT=1\n")
    assert "ALMANAC_PROT is no setting" in line()


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_a_setting_that_is_not_built_yet_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ALMANAC_{name}", "1")
    assert line() == f"ALMANAC_{name} is not built yet in this version: unset it"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_who_asks_matters_not_on_loopback_alone(host: str) -> None:
    settings = load_settings(auth="off", host=host)
    assert eve_settings(settings, domain())["TRUSTED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert "TRUSTED_HOSTS" not in eve_settings(load_settings(host=host), domain())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])
def test_auth_is_not_off_for_others(host: str) -> None:
    assert line(auth="off", host=host).startswith("ALMANAC_AUTH is 'off': off only where ALMANAC_HOST is loopback (")
    assert load_settings(host=host).auth == "required"


def test_no_planned_setting_is_built() -> None:
    assert not PLANNED & {name.upper() for name in Settings.model_fields}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_what_eve_has_on_by_default_is_off() -> None:
    eve = eve_settings(Settings(max_body_mb=3, max_model_mb=5, _env_file=None), domain())
    assert eve["MAX_CONTENT_LENGTH"] == 3 * 2**20
    assert eve["MAX_MODEL_BYTES"] == 5 * 2**20
    assert eve["RENDERERS"] == ["api.render.JSONRenderer"]
    assert not eve["ALLOW_OVERRIDE_HTTP_METHOD"]
    assert not eve["UPSERT_ON_PUT"]
    names = {"models", "inputs", "results", "jobs", "deliveries", "keys", "users"}
    assert set(eve["DOMAIN"]) == set(RESOURCES) == names
    for entry in eve["DOMAIN"].values():
        assert "DELETE" not in entry["resource_methods"]
        assert "PUT" not in entry["item_methods"]
