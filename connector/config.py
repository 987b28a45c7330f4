"""Settings: one TOML file plus environment variables, validated whole at load.

Every mistake is reported at once, each with the file or variable it came from, the key, and what is allowed.
An environment variable overrides the file: `CONNECTOR__PBX__MAIN__AMI__SECRET` is `pbx.main.ami.secret`. A list is
written as JSON there, for example `["10.0.0.0/8"]`. `CONNECTOR__PBX__MAIN__AMI__SECRET__FILE` is the path
of a file that holds the value.
"""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from connector.audio.wire import WireName
from connector.config_nats import NatsSettings
from connector.config_people import AgentSettings, QueueSettings
from connector.config_profiles import OutgoingSettings as OutgoingSettings, ProfileSettings as ProfileSettings
from connector.config_recording import RecordingSettings
from connector.config_store import StoreSettings, checked_queue_log
from connector.config_tracing import TracingSettings
from connector.config_types import Port, Section, checked_line, checked_name, checked_url, checked_zone, ip_literal
from connector.config_vendors import VendorApiSettings
from connector.config_web import (
    HttpSettings as HttpSettings,
    OidcSettings as OidcSettings,
    WebhookSettings as WebhookSettings,
)
from connector.dialects.registry import DIALECTS

ENV_PREFIX = "CONNECTOR__"
"""Environment variables with this prefix are settings; `__` separates the parts of the key."""


class ConfigError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: One sentence each: where, which key, what is wrong, what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NodeSettings(Section):
    """This process."""

    name: str = "node1"
    """Part of every id that we give to Asterisk's channels and bridges: lower-case letters, digits and _."""
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """At SIGTERM no new call is taken, and those with a bot may go on for so long; then they are handed back to the
    dialplan. A second signal ends the wait."""

    @field_validator("name")
    @classmethod
    def _valid(cls, value: str) -> str:
        return checked_name(value)


class LogSettings(Section):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class MetricsSettings(Section):
    """What Prometheus is given beyond the usual."""

    agents: bool = False
    """Also a series for each agent: with some hundred of them they are most of what a scrape carries, and they tell who
    does what."""


class MediaSettings(Section):
    """The RTP side towards Asterisk. Each media worker has one UDP port for all its streams, the same over restarts."""

    bind_host: str = "127.0.0.1"
    """IP address of the UDP socket."""
    bind_port: Port = 32000
    """UDP port of the first worker; the next has the next port, and so on: a firewall between Asterisk and us must let
    them through. Above Asterisk's RTP ports and below those that the system hands out by itself, so nothing else takes
    them while we are down."""
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Media workers. 0: one for each processor but one, at least one."""
    fast_path: bool = True
    """Let the compiled helper, where it could be built, read and write the audio of bots at ws://. `false`: it is done
    in Python, at about half the speed."""
    max_streams_per_worker: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Streams at once in one worker."""
    advertise_host: str = ""
    """IP address that Asterisk sends to. Empty: bind_host. Needed when bind_host is 0.0.0.0 or behind NAT."""
    max_streams: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Streams at once, over all PBXs. A call beyond goes on in the dialplan."""
    playout_max_ms: Annotated[int, Field(ge=100, le=600_000)] = 120_000
    """How much audio of the bot may wait to be played; what comes beyond is dropped and counted."""
    prebuffer_ms: Annotated[int, Field(ge=0, le=500)] = 40
    """How long the bot's first audio after silence waits, to ride out its jitter."""

    _bind = field_validator("bind_host")(ip_literal)

    @field_validator("advertise_host")
    @classmethod
    def _advertise(cls, value: str) -> str:
        return ip_literal(value) if value else value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if ipaddress.ip_address(self.bind_host).is_unspecified and not self.advertise_host:
            raise ValueError(
                f"advertise_host is needed with bind_host {self.bind_host}: Asterisk is told one address to send to"
            )
        return self

    @property
    def worker_count(self) -> int:
        """How many media workers run on this machine."""
        return self.workers or max(1, len(os.sched_getaffinity(0)) - 1)

    def external_host(self, port: int) -> str:
        """`host:port` for ExternalMedia, with the port of the worker that takes the stream."""
        host = self.advertise_host or self.bind_host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class AmiSettings(Section):
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
        return checked_line(value)

    @field_validator("secret")
    @classmethod
    def _one_line_secret(cls, value: SecretStr) -> SecretStr:
        checked_line(value.get_secret_value())
        return value


class AriSettings(Section):
    """The ARI account; see asterisk-conf/connector-ari.conf."""

    url: str = "http://127.0.0.1:8088/ari"
    username: str = "connector"
    password: SecretStr
    app: str = "connector"
    """Name of the Stasis application in the dialplan. No other process may use it."""
    tls_ca_file: Path | None = None
    """CA certificate of the PBX, where `url` is https://; none: the system's. It counts for the SIP WebSocket too."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        return checked_url(value, ("http", "https")).rstrip("/")

    @field_validator("app")
    @classmethod
    def _valid(cls, value: str) -> str:
        return checked_name(value)


class PbxSettings(Section):
    """One Asterisk."""

    ami: AmiSettings
    ari: AriSettings
    max_streams: Annotated[int, Field(ge=0)] = 0
    """Streams at once on this PBX; 0: as many as its RTP port range allows (an exhausted range crashes Asterisk)."""
    resync_interval_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How often the live state is compared with Asterisk's own lists. A `queue reload` announces nothing of what it
    changes, so for so long it may go unseen."""
    audio: WireName = "rtp/ulaw"
    """How audio goes between this Asterisk and us: transport and codec. What a version can, says docs/audio.md, and
    `connector check` of this one."""
    rtp_host: str = ""
    """IP address at which we reach Asterisk's RTP. Empty: what Asterisk says; set it where NAT makes that wrong."""
    queue_log: str = ""
    """Asterisk's own account of the queues, to fill gaps from: the path of its file, as /var/log/asterisk/queue_log, or
    the URL of the database that has the table queue_log. Empty: gaps stay."""
    queue_log_password: SecretStr = SecretStr("")
    """Of that database."""
    queue_log_time_zone: str = "UTC"
    """Of the times in that table: UTC with queue_log_realtime_use_gmt in logger.conf, else the PBX's own."""
    sip_ws_url: str = ""
    """Address of the SIP WebSocket that browser phones use, for the connection test; empty: there is none."""
    browser_phone_credentials: bool = False
    """Lets administrators read, over the API, user and password of a person's endpoint that has `webrtc = yes`, for a
    browser phone to log in with. They are read from Asterisk each time, never kept, never logged; each reading is
    in the audit."""

    @field_validator("queue_log")
    @classmethod
    def _queue_log(cls, value: str) -> str:
        return checked_queue_log(value) if value else value

    _queue_log_zone = field_validator("queue_log_time_zone")(checked_zone)

    @field_validator("sip_ws_url")
    @classmethod
    def _sip_ws(cls, value: str) -> str:
        return checked_url(value, ("ws", "wss")) if value else value

    @field_validator("rtp_host")
    @classmethod
    def _rtp_host(cls, value: str) -> str:
        return ip_literal(value) if value else value


class Settings(Section):
    """All settings. `connector config` prints them as they are in effect, `connector config --schema` their schema."""

    node: NodeSettings = NodeSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    media: MediaSettings = MediaSettings()
    pbx: dict[str, PbxSettings] = Field(min_length=1)
    """The PBXs by name, for example [pbx.main]."""
    profile: dict[str, ProfileSettings] = Field(default={})
    """The bots by name, for example [profile.support_bot]."""
    outgoing: OutgoingSettings = OutgoingSettings()
    vendor_api: VendorApiSettings = VendorApiSettings()
    recording: RecordingSettings = RecordingSettings()
    tracing: TracingSettings = TracingSettings()
    nats: NatsSettings = NatsSettings()
    webhook: dict[str, WebhookSettings] = Field(default={})
    """Who is told what happens, by name, for example [webhook.crm]."""
    queue_default: QueueSettings = QueueSettings()
    """What counts for all queues, and for the day of agents, where a queue's own table does not say otherwise."""
    queue: dict[str, QueueSettings] = Field(default={})
    """Queues by their names in Asterisk, for example [queue.support] or [queue."Sales EU"]."""
    agent: dict[str, AgentSettings] = Field(default={})
    """People by id, for example [agent.alice]; who is not here is known by interface and member name."""
    store: StoreSettings = Field(default_factory=StoreSettings)
    webhook_outbox: Path | None = None
    """File that keeps undelivered webhooks over a restart; made when there is a webhook. Left out: webhooks.sqlite in
    `store.directory`."""

    @field_validator("pbx", "profile", "webhook")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            checked_name(name)
        return value

    @property
    def outbox(self) -> Path:
        """The file in effect."""
        return self.webhook_outbox or self.store.directory / "webhooks.sqlite"

    @model_validator(mode="after")
    def _one_owner_an_interface(self) -> Self:
        owners: dict[tuple[str, str], str] = {}
        for agent, settings in self.agent.items():
            if settings.pbx and settings.pbx not in self.pbx:
                raise ValueError(f"agent.{agent}.pbx: there is no [pbx.{settings.pbx}]")
            for pbx in (settings.pbx,) if settings.pbx else tuple(self.pbx):
                for interface in settings.interfaces:
                    other = owners.setdefault((pbx, interface), agent)
                    if other != agent:
                        raise ValueError(f"agent.{agent} and agent.{other} both have the interface {interface}")
        return self

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
        value = environ[variable]
        if len(keys) > 2 and keys[-1] == "file":
            keys.pop()
            value = _content(variable, Path(value))
        target = data
        for key in keys[:-1]:
            child = target.setdefault(key, {})
            if not isinstance(child, dict):
                raise ConfigError([f"{variable}: {key} is a single value in the file, not a section"])
            target = child
        target[keys[-1]] = _list_or_text(value)
        origins[".".join(keys)] = variable
    return origins


def _content(variable: str, path: Path) -> str:
    """A secret that stands in a file of its own, as Docker, Kubernetes and systemd hand them over."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigError([f"{variable}: {path}: cannot be read: {reason}"]) from None


def _list_or_text(text: str) -> Any:
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _problem(entry: Any, where: str, from_environment: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in entry["loc"])
    source = from_environment.get(key, where)
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        section = ".".join(str(part) for part in entry["loc"][:-1]) or "the top level"
        return f"{source}: {key}: unknown key; allowed in {section}: {_allowed(entry['loc'][:-1])}"
    if kind == "missing":
        return f"{source}: {key}: is missing"
    if kind == "union_tag_invalid":
        return f"{source}: {key}: {context['tag']!r} is not known; allowed: {context['expected_tags']}"
    if kind == "value_error":
        text = str(context.get("error", entry["msg"]))
        return f"{source}: {key}: {text}" if key else f"{source}: {text}"
    return f"{source}: {key}: {entry['msg'][0].lower()}{entry['msg'][1:]}"


def _allowed(location: tuple[str | int, ...]) -> str:
    """The keys of the section at `location`."""
    model: type[BaseModel] = Settings
    parts = iter(location)
    for part in parts:
        if part == "dialect":
            model = DIALECTS[str(next(parts))].options_type
            break
        annotation = model.model_fields[str(part)].annotation
        if get_origin(annotation) is dict:
            next(parts, None)  # the name of a PBX or a profile
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return ", ".join(model.model_fields)
