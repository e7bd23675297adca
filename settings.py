"""Almanac's settings, typed, from the environment, .env or /run/secrets; and the dict that Eve is started with."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri

PREFIX = "ALMANAC_"
ENV_FILE = Path(".env")
SECRETS_DIR = Path("/run/secrets")

#: Where requests are counted, by the scheme of a URL: the package that it takes.
COUNTED_BY = {"memory": None, "redis": "redis", "rediss": "redis", "redis+unix": "redis", "memcached": "pymemcache"}
HOST = re.compile(r"\.?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")

#: The names that a browser on this machine has for it.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

Port = Annotated[int, Field(ge=1, le=65535)]
#: Names with commas between.
Names = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """A setting is wrong; one line that names the setting, the value and what is allowed."""


class Settings(BaseSettings):
    """Everything that can be set. Each field is the environment variable ALMANAC_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    #: A MongoDB replica set; unset: a private mongod on DATA_DIR.
    mongo_uri: SecretStr | None = None
    #: The private mongod listens on this loopback port too; unset: on a unix socket alone.
    embedded_port: Port | None = None
    data_dir: Annotated[Path, Field(validate_default=True)] = Path("data")
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 8000
    #: Whether `serve` starts a worker process for jobs.
    jobs: bool = True
    #: Unset: made at the first start, in DATA_DIR/admin.key.
    admin_key: SecretStr | None = None
    #: Signs sessions. Unset: made at the first start, in DATA_DIR/secret.key; with MONGO_URI there are then none.
    secret_key: SecretStr | None = None
    #: Requests of a key, or of an address without one: 600/minute; 20/second. Unset: any number.
    rate_limit: str | None = None
    #: memory://, redis://... or memcached://...; unset: the database.
    rate_limit_storage: SecretStr | None = None
    #: Names of this server; a leading dot stands for every name below. None: any.
    trusted_hosts: Names = ()
    #: Origins whose pages may read answers.
    cors_origins: Names = ()
    #: PEM files; both: everything is HTTPS.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    #: Whether requests need a key, or a user's name and password; off: everyone acts as the administrator.
    auth: Literal["required", "off"] = "required"
    #: HTTP processes, each with its own copy of the models that are kept loaded.
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    #: Requests that can be under way at once in each of them.
    threads: Annotated[int, Field(ge=16, le=1024)] = 64
    #: Whether the threads that answer requests share one core, as one alone can have the interpreter.
    pin_threads: bool = True
    #: Rows in one executor call, and rows that may wait for one, for each model.
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 64
    queue_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    #: Versions that stay loaded beyond those with an alias and each name's newest.
    live_models: Annotated[int, Field(ge=1, le=1000)] = 8
    #: How long a prediction may take where the request says nothing.
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] = 30_000
    #: How long a worker that says nothing keeps its jobs, before another takes them over.
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15
    #: Whether /metrics answers without a key.
    metrics_public: bool = False
    #: Whether the webhooks of jobs may lead to private, loopback and link-local addresses.
    webhook_private_targets: bool = False
    #: After how many days inputs, results, ended jobs and deliveries are removed; unset: never.
    retention_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    max_body_mb: Annotated[int, Field(ge=1, le=2048)] = 64
    max_model_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    build_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    build_memory_mb: Annotated[int, Field(ge=256)] = 8192
    #: Unset: what is quickest of that which is proven equal to Keras.
    executor: Literal["onnx", "openvino", "tf"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: Unset: console where standard error is a terminal, else json.
    log_format: Literal["json", "console"] | None = None

    @field_validator("admin_key", "secret_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None, field: ValidationInfo) -> SecretStr | None:
        least = 16 if field.field_name == "admin_key" else 32
        if key is not None and (len(key.get_secret_value()) < least or not key.get_secret_value().isprintable()):
            raise ValueError(f"at least {least} printable characters")
        return key

    @field_validator("auth")
    @classmethod
    def _off_on_loopback_alone(cls, auth: str, info: ValidationInfo) -> str:
        host = info.data.get("host", "")
        if auth == "off" and host and not _is_loopback(host):
            raise ValueError(f"off only where ALMANAC_HOST is loopback (127.0.0.1, ::1, localhost), and it is {host!r}")
        return auth

    @field_validator("data_dir", "tls_cert", "tls_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # Other processes are given paths below it, and have working directories of their own.
        return path.expanduser().absolute() if path is not None else None

    @field_validator("rate_limit")
    @classmethod
    def _is_limit(cls, text: str | None) -> str | None:
        if text is not None:
            from limits import parse_many  # late: most start without

            try:
                limits = parse_many(text)
            except ValueError:
                limits = []
            if not limits or not all(limit.amount and limit.get_expiry() for limit in limits):
                raise ValueError("expected limits as in 600/minute or 20/second; 600/minute; 10000/day")
        return text

    @field_validator("rate_limit_storage")
    @classmethod
    def _is_storage(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        scheme, found, rest = given.get_secret_value().partition("://")
        if not found or scheme not in COUNTED_BY or bool(rest) == (scheme == "memory"):
            raise ValueError("expected memory://, redis://host:port or memcached://host:port; unset: the MongoDB")
        package = COUNTED_BY[scheme]
        if package is not None and find_spec(package) is None:
            raise ValueError(f"{scheme}:// needs a package that is not installed: pip install {package}")
        return given

    @field_validator("trusted_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else given

    @field_validator("trusted_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(host.lower() for host in hosts)
        wrong = [host for host in hosts if not HOST.fullmatch(host)]
        if wrong:
            raise ValueError(
                f"expected names as in almanac.example.com,.example.org,[::1], without ports, got {wrong[0]!r}"
            )
        return hosts

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins:
            raise ValueError("* is not allowed, since requests carry keys: name each origin")
        wrong = [origin for origin in origins if not ORIGIN.fullmatch(origin)]
        if wrong:
            raise ValueError(f"expected origins as in https://app.example.com, without a path, got {wrong[0]!r}")
        return origins

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of this server that requests may be for; none: any."""
        # Without keys, another site's name that leads here would make its pages this server's own.
        return LOOPBACK_NAMES if self.auth == "off" else self.trusted_hosts

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The files of the certificate and its key; None: HTTP is spoken in the clear."""
        return (self.tls_cert, self.tls_key) if self.tls_cert is not None and self.tls_key is not None else None

    @property
    def url(self) -> str:
        """Where the server is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @field_validator("mongo_uri")
    @classmethod
    def _is_uri(cls, uri: SecretStr | None) -> SecretStr | None:
        if uri is not None:
            try:
                parse_uri(uri.get_secret_value(), validate=True)
            except (InvalidURI, ValueError) as error:
                raise ValueError(f"a mongodb:// or mongodb+srv:// URI of a replica set ({error})") from None
        return uri

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment, .env, then secrets: files named ALMANAC_ADMIN_KEY or just ADMIN_KEY."""
        if not SECRETS_DIR.is_dir():
            return init_settings, env_settings, dotenv_settings
        prefixed = SecretsSettingsSource(settings_cls, secrets_dir=SECRETS_DIR, env_prefix=PREFIX)
        bare = SecretsSettingsSource(settings_cls, secrets_dir=SECRETS_DIR, env_prefix="")
        return init_settings, env_settings, dotenv_settings, prefixed, bare


def load_settings(**given: Any) -> Settings:
    """The settings from every source; `given` (what the command line said) goes before all. Raises SettingsError."""
    _refuse_unknown()
    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(_env_file=ENV_FILE, **given)
    except ValidationError as error:
        raise SettingsError(_one_line(error, given)) from None
    if settings.mongo_uri is not None and settings.admin_key is None:
        raise SettingsError(
            "ALMANAC_ADMIN_KEY is not set: with ALMANAC_MONGO_URI it must be given (at least 16 printable characters)"
        )
    _check_certificate(settings.tls_cert, settings.tls_key)
    return settings


def _check_certificate(cert: Path | None, key: Path | None) -> None:
    """Raise SettingsError where the files are not both there, or do not belong together."""
    if cert is None and key is None:
        return
    if cert is None or key is None:
        missing, given = ("TLS_CERT", "TLS_KEY") if cert is None else ("TLS_KEY", "TLS_CERT")
        raise SettingsError(f"{PREFIX}{missing} is not set: with {PREFIX}{given} it must be given (a PEM file)")
    for name, path in (("TLS_CERT", cert), ("TLS_KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}{name} is {str(path)!r}: expected a PEM file that can be read ({error.strerror})"
            ) from None
    try:
        # The password of a key that has one would be asked for at the terminal; an empty one is refused.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        reason = "they do not belong together" if "MISMATCH" in str(error) else "one of them is no such PEM file"
        raise SettingsError(
            f"{PREFIX}TLS_CERT is {str(cert)!r} and {PREFIX}TLS_KEY {str(key)!r}: expected a certificate and its key, "
            f"without a password; {reason}"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_unknown() -> None:
    known = {name.upper() for name in Settings.model_fields}
    dotenv = dotenv_values(ENV_FILE) if ENV_FILE.is_file() else {}
    for variable in sorted({*os.environ, *dotenv}):
        name = variable.removeprefix(PREFIX)
        if name == variable or name.upper() in known:
            continue
        raise SettingsError(f"{variable} is no setting; there are {', '.join(sorted(PREFIX + n for n in known))}")


def _one_line(error: ValidationError, given: dict[str, Any]) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    field = str(problem["loc"][0]) if problem["loc"] else ""
    variable = PREFIX + field.upper()
    secret = "SecretStr" in str(Settings.model_fields[field].annotation) if field in Settings.model_fields else False
    value = given.get(field, os.environ.get(variable, os.environ.get(variable.lower())))
    if value is None and ENV_FILE.is_file():
        value = dotenv_values(ENV_FILE).get(variable)
    shown = "(hidden)" if secret else repr(value)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{variable} is {shown}: {message[:1].lower()}{message[1:]}"


def eve_settings(settings: Settings, domain: dict[str, Any]) -> dict[str, Any]:
    """What Eve is started with. Everything that Eve has on by default and Almanac does not want is named here."""
    return {
        "DOMAIN": domain,
        "URL_PREFIX": "api",
        "API_VERSION": "v1",
        "RENDERERS": ["api.render.JSONRenderer"],
        "STANDARD_ERRORS": [],  # api/errors.py makes every error
        "HATEOAS": False,  # api/endpoints.py makes the two links that lists have
        "BANDWIDTH_SAVER": False,
        "MERGE_NESTED_DOCUMENTS": False,
        "NORMALIZE_DOTTED_FIELDS": False,
        "ALLOW_OVERRIDE_HTTP_METHOD": False,
        "UPSERT_ON_PUT": False,
        "RETURN_MEDIA_AS_BASE64_STRING": False,
        "RESOURCE_METHODS": ["GET"],
        "ITEM_METHODS": ["GET"],
        "PAGINATION_DEFAULT": 25,
        "PAGINATION_LIMIT": 1000,
        "OPTIMIZE_PAGINATION_FOR_SPEED": False,
        "MONGO_WRITE_CONCERN": {"w": "majority", "j": True},
        "MAX_CONTENT_LENGTH": settings.max_body_mb * 2**20,
        "MAX_MODEL_BYTES": settings.max_model_mb * 2**20,
        "METRICS_PUBLIC": settings.metrics_public,
        # Scripts cannot read the cookie, and other sites' forms and scripts do not send it; their links do.
        "SECRET_KEY": settings.secret_key.get_secret_value() if settings.secret_key else None,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "MAX_FORM_MEMORY_SIZE": 2**20,
        "MAX_FORM_PARTS": 64,
    }
