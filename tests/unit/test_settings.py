"""Settings: where they come from, and the one line that says what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import settings as module
from api.resources import RESOURCES, domain
from settings import Settings, SettingsError, eve_settings, load_settings

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
        ("RATE_LIMIT", "often", "expected limits as in 600/minute"),
        ("RATE_LIMIT", "0/minute", "expected limits as in 600/minute"),
        ("RATE_LIMIT", "10/fortnight", "expected limits as in 600/minute"),
        ("RATE_LIMIT", "10/minute;x", "expected limits as in 600/minute"),
        ("TRUSTED_HOSTS", "almanac.example.com:8000", "without ports, got 'almanac.example.com:8000'"),
        ("TRUSTED_HOSTS", "*", "without ports, got '*'"),
        ("TRUSTED_HOSTS", "https://a.example", "expected names as in almanac.example.com"),
        ("TRUSTED_HOSTS", "a.example,b example", "got 'b example'"),
        ("CORS_ORIGINS", "*", "* is not allowed, since requests carry keys"),
        ("CORS_ORIGINS", "https://a.example,*", "* is not allowed, since requests carry keys"),
        ("CORS_ORIGINS", "https://*.example", "expected origins as in https://app.example.com"),
        ("CORS_ORIGINS", "a.example", "expected origins as in https://app.example.com"),
        ("CORS_ORIGINS", "https://a.example/", "without a path, got 'https://a.example/'"),
        ("CORS_ORIGINS", "null", "expected origins as in https://app.example.com"),
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


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_who_asks_matters_not_on_loopback_alone(host: str) -> None:
    settings = load_settings(auth="off", host=host)
    assert settings.hosts == ("localhost", "127.0.0.1", "[::1]")
    assert load_settings(host=host).hosts == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])
def test_auth_is_not_off_for_others(host: str) -> None:
    assert line(auth="off", host=host).startswith("ALMANAC_AUTH is 'off': off only where ALMANAC_HOST is loopback (")
    assert load_settings(host=host).auth == "required"


def test_what_is_given_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_TRUSTED_HOSTS", "Almanac.example.com, .example.org ,[::1],")
    monkeypatch.setenv("ALMANAC_CORS_ORIGINS", "https://app.example.com,http://localhost:3000")
    monkeypatch.setenv("ALMANAC_RATE_LIMIT", "20/second; 600 per minute")
    settings = load_settings()
    assert settings.trusted_hosts == ("almanac.example.com", ".example.org", "[::1]")
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:3000")
    assert settings.rate_limit == "20/second; 600 per minute"
    assert (load_settings(trusted_hosts=None).secret_key, Settings(_env_file=None).tls) == (None, None)


@pytest.mark.parametrize(
    "storage",
    ["memory", "memory://x", "redis://", "mongodb://db", "almanac-memory://", "async+redis://db", "file:///x"],
)
def test_a_storage_of_counts_that_is_none(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_RATE_LIMIT_STORAGE", storage)
    assert line() == (
        "ALMANAC_RATE_LIMIT_STORAGE is (hidden): expected memory://, redis://host:port or memcached://host:port; "
        "unset: the MongoDB"
    )


@pytest.mark.parametrize(
    ("storage", "package"),
    [("redis://:hunter2@db:6379", "redis"), ("rediss://db", "redis"), ("memcached://a:11211,b:11211", "pymemcache")],
)
def test_a_storage_whose_package_is_missing_says_what_to_install(
    storage: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALMANAC_RATE_LIMIT_STORAGE", storage)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == package else name)
    said = line()
    assert said.endswith(f":// needs a package that is not installed: pip install {package}")
    assert "hunter2" not in said
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    assert load_settings().rate_limit_storage is not None


def test_a_secret_that_signs_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_SECRET_KEY", "x" * 31)
    assert line() == "ALMANAC_SECRET_KEY is (hidden): at least 32 printable characters"


CERTIFICATES = Path(__file__).resolve().parents[1] / "certificates"


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("server.crt", None, "ALMANAC_TLS_KEY is not set: with ALMANAC_TLS_CERT it must be given"),
        (None, "server.key", "ALMANAC_TLS_CERT is not set: with ALMANAC_TLS_KEY it must be given"),
        ("none.crt", "server.key", "expected a PEM file that can be read (No such file or directory)"),
        ("server.crt", "none.key", "expected a PEM file that can be read (No such file or directory)"),
        ("server.crt", "other.key", "they do not belong together"),
        ("server.crt", "locked.key", "without a password; one of them is no such PEM file"),
        ("server.key", "server.key", "one of them is no such PEM file"),
        ("server.crt", "server.crt", "one of them is no such PEM file"),
        (".", "server.key", "expected a PEM file that can be read (Is a directory)"),
    ],
)
def test_a_certificate_that_will_not_do(
    cert: str | None, key: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in (("CERT", cert), ("KEY", key)):
        if file is not None:
            monkeypatch.setenv(f"ALMANAC_TLS_{name}", str(CERTIFICATES / file))
    assert said in line()


def test_with_a_certificate_the_address_is_one_of_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("CERT", "server.crt"), ("KEY", "server.key")):
        monkeypatch.setenv(f"ALMANAC_TLS_{name}", str(CERTIFICATES / file))
    assert load_settings().url == "https://127.0.0.1:8000"
    assert load_settings(host="::1", port=5).url == "https://[::1]:5"


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
    names = {"models", "inputs", "results", "jobs", "deliveries", "keys", "users", "audit"}
    assert set(eve["DOMAIN"]) == set(RESOURCES) == names
    for entry in eve["DOMAIN"].values():
        assert "DELETE" not in entry["resource_methods"]
        assert "PUT" not in entry["item_methods"]
