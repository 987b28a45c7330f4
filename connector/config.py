"""Settings: one TOML file plus environment variables, validated whole at load.

Every mistake is reported at once, each with the file or variable it came from, the key, and what is allowed.
An environment variable overrides the file: `CONNECTOR__PBX__MAIN__AMI__SECRET` is `pbx.main.ami.secret`.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

ENV_PREFIX = "CONNECTOR__"
"""Environment variables with this prefix are settings; `__` separates the parts of the key."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,30}")


class ConfigError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: One sentence each: where, which key, what is wrong, what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _ip_literal(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address, for example 127.0.0.1; names are not resolved here") from None
    return value


Port = Annotated[int, Field(ge=1, le=65535)]


class NodeSettings(_Section):
    """This process."""

    name: str = "node1"
    """Part of every id that we give to Asterisk's channels and bridges: lower-case letters, digits and _."""

    @field_validator("name")
    @classmethod
    def _valid(cls, value: str) -> str:
        return _checked_name(value)


class HttpSettings(_Section):
    """Metrics, health and the live page."""

    host: str = "127.0.0.1"
    """Address to listen on. There is no login yet: keep it on loopback or behind a proxy that has one."""
    port: Port = 8089


class LogSettings(_Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class MediaSettings(_Section):
    """The RTP side towards Asterisk. One UDP port carries all streams and stays the same over restarts."""

    bind_host: str = "127.0.0.1"
    """IP address of the UDP socket."""
    bind_port: Port = 32000
    """UDP port; the one that a firewall between Asterisk and us must let through. Above Asterisk's RTP ports and
    below those that the system hands out by itself, so nothing else takes it while we are down."""
    advertise_host: str = ""
    """IP address that Asterisk sends to. Empty: bind_host. Needed when bind_host is 0.0.0.0 or behind NAT."""
    max_streams: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Streams at once, over all PBXs. A call beyond goes on in the dialplan."""
    playout_max_ms: Annotated[int, Field(ge=100, le=600_000)] = 120_000
    """How much audio of the bot may wait to be played; what comes beyond is dropped and counted."""
    prebuffer_ms: Annotated[int, Field(ge=0, le=500)] = 40
    """How long the bot's first audio after silence waits, to ride out its jitter."""

    _bind = field_validator("bind_host")(_ip_literal)

    @field_validator("advertise_host")
    @classmethod
    def _advertise(cls, value: str) -> str:
        return _ip_literal(value) if value else value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if ipaddress.ip_address(self.bind_host).is_unspecified and not self.advertise_host:
            raise ValueError(
                f"advertise_host is needed with bind_host {self.bind_host}: Asterisk is told one address to send to"
            )
        return self

    @property
    def external_host(self) -> str:
        """`host:port` for ExternalMedia."""
        host = self.advertise_host or self.bind_host
        return f"[{host}]:{self.bind_port}" if ":" in host else f"{host}:{self.bind_port}"


class AmiSettings(_Section):
    """The manager account; see asterisk-conf/connector-manager.conf for the rights it needs."""

    host: str = "127.0.0.1"
    port: Port = 5038
    username: str = "connector"
    secret: SecretStr
    tls: bool = False
    """Connect with TLS (tlsenable in manager.conf)."""
    tls_ca_file: Path | None = None
    """CA certificate of the PBX; none: the system's."""

    @field_validator("username")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return _checked_line(value)

    @field_validator("secret")
    @classmethod
    def _one_line_secret(cls, value: SecretStr) -> SecretStr:
        _checked_line(value.get_secret_value())
        return value


class AriSettings(_Section):
    """The ARI account; see asterisk-conf/connector-ari.conf."""

    url: str = "http://127.0.0.1:8088/ari"
    username: str = "connector"
    password: SecretStr
    app: str = "connector"
    """Name of the Stasis application in the dialplan. No other process may use it."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        return _checked_url(value, ("http", "https")).rstrip("/")

    @field_validator("app")
    @classmethod
    def _valid(cls, value: str) -> str:
        return _checked_name(value)


class PbxSettings(_Section):
    """One Asterisk."""

    ami: AmiSettings
    ari: AriSettings
    max_streams: Annotated[int, Field(ge=0)] = 0
    """Streams at once on this PBX; 0: as many as its RTP port range allows (an exhausted range crashes Asterisk)."""
    resync_interval_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How often the live state is compared with Asterisk's own lists. A `queue reload` announces nothing of what it
    changes, so for so long it may go unseen."""
    rtp_host: str = ""
    """IP address at which we reach Asterisk's RTP. Empty: what Asterisk says; set it where NAT makes that wrong."""

    @field_validator("rtp_host")
    @classmethod
    def _rtp_host(cls, value: str) -> str:
        return _ip_literal(value) if value else value


class ProfileSettings(_Section):
    """A bot: the first argument of Stasis() in the dialplan names one of these."""

    url: str
    """ws:// or wss:// address of the bot."""
    dialect: Literal["twilio"] = "twilio"
    """The wire protocol that the bot speaks."""
    connect_timeout_ms: Annotated[int, Field(ge=100, le=1_800)] = 1_500
    """Bound of DNS, TCP, TLS and WebSocket handshake; then the call goes on in the dialplan, within 2 s in all."""
    max_session_minutes: Annotated[int, Field(ge=1, le=1_440)] = 60
    """A longer stream is ended and the call goes on in the dialplan."""
    max_message_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = 1_048_576
    """Longer messages of the bot are refused and counted."""
    parameters: dict[str, str] = {}
    """Custom parameters that the bot gets with `start`."""
    headers: dict[str, SecretStr] = {}
    """HTTP headers of the upgrade request, for example an Authorization."""

    @field_validator("url")
    @classmethod
    def _ws(cls, value: str) -> str:
        return _checked_url(value, ("ws", "wss"))

    @field_validator("headers")
    @classmethod
    def _header_lines(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, content in value.items():
            _checked_line(name)
            _checked_line(content.get_secret_value())
        return value


class Settings(_Section):
    """All settings. `connector config` prints them as they are in effect, `connector config --schema` their schema."""

    node: NodeSettings = NodeSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    media: MediaSettings = MediaSettings()
    pbx: dict[str, PbxSettings] = Field(min_length=1)
    """The PBXs by name, for example [pbx.main]."""
    profile: dict[str, ProfileSettings] = {}
    """The bots by name, for example [profile.support_bot]."""

    @field_validator("pbx", "profile")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            _checked_name(name)
        return value

    @model_validator(mode="after")
    def _one_pbx_an_application(self) -> Self:
        seen: dict[tuple[str, str], str] = {}
        for name, pbx in self.pbx.items():
            key = (pbx.ari.url, pbx.ari.app)
            if key in seen:
                raise ValueError(
                    f"pbx.{name} and pbx.{seen[key]} name the same ARI application {pbx.ari.app!r} at {pbx.ari.url}; "
                    "each PBX may be listed once"
                )
            seen[key] = name
        return self


def _checked_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: 1 to 31 lower-case letters, digits and _, not starting with _")
    return value


def _checked_line(value: str) -> str:
    if not value or any(character in value for character in "\r\n\0"):
        raise ValueError("must be one non-empty line without control characters")
    return value


def _checked_url(value: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: addresses are shown in logs; use the keys made for them")
    return value


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads and validates the settings.

    Args:
        path: The TOML file, or None for settings from the environment alone.
        environ: Environment variables.

    Raises:
        ConfigError: With every problem found, none of which shows a secret.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path}: is not TOML: {error}"]) from None
    from_environment = _overlay(data, environ)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        where = str(path) if path is not None else "environment"
        raise ConfigError([_problem(entry, where, from_environment) for entry in error.errors()]) from None


def effective(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, secrets hidden, for printing."""
    return settings.model_dump(mode="json")


def schema() -> dict[str, Any]:
    """JSON Schema of the settings file."""
    return Settings.model_json_schema()


def _overlay(data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Writes settings from the environment over `data`; returns which key came from which variable."""
    origins: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        keys = variable.removeprefix(ENV_PREFIX).lower().split("__")
        target = data
        for key in keys[:-1]:
            child = target.setdefault(key, {})
            if not isinstance(child, dict):
                raise ConfigError([f"{variable}: {key} is a single value in the file, not a section"])
            target = child
        target[keys[-1]] = environ[variable]
        origins[".".join(keys)] = variable
    return origins


def _problem(entry: Any, where: str, from_environment: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in entry["loc"])
    source = from_environment.get(key, where)
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        section = ".".join(str(part) for part in entry["loc"][:-1]) or "the top level"
        return f"{source}: {key}: unknown key; allowed in {section}: {_allowed(entry['loc'][:-1])}"
    if kind == "missing":
        return f"{source}: {key}: is missing"
    if kind == "value_error":
        text = str(context.get("error", entry["msg"]))
        return f"{source}: {key}: {text}" if key else f"{source}: {text}"
    return f"{source}: {key}: {entry['msg'][0].lower()}{entry['msg'][1:]}"


def _allowed(location: tuple[str | int, ...]) -> str:
    """The keys of the section at `location`."""
    model: type[BaseModel] = Settings
    parts = iter(location)
    for part in parts:
        annotation = model.model_fields[str(part)].annotation
        if get_origin(annotation) is dict:
            next(parts, None)  # the name of a PBX or a profile
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return ", ".join(model.model_fields)
