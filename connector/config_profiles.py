"""Settings of a profile: which calls are streamed, where to, how, and what becomes of them."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from connector.audio.wire import WireName
from connector.config_steps import ConnectSettings, PassthruSettings
from connector.config_targets import checked_target
from connector.config_types import SecretHeaders, Section, checked_header_name, checked_line, checked_url
from connector.dialects.registry import DEFAULT, AnyOptions

Direction = Literal["inbound", "outbound", "internal", "unknown"]


class Mode(enum.StrEnum):
    """How a profile's stream stands to its call. A closed set: it is a metric label."""

    VOICEBOT = "voicebot"
    """The bot is the other party: audio both ways, the call waits in Stasis()."""
    ASSIST = "assist"
    """The bot listens while an agent talks to the caller, from the agent's answer to the end."""
    MONITOR = "monitor"
    """The server listens while a bot talks to the caller, as long as the bot has the call."""
    CAMPAIGN = "campaign"
    """The server listens to calls that bear the tag of a campaign, from when both sides are connected to the end."""
    ON_DEMAND = "on_demand"
    """The server listens to whichever calls somebody asks for: by REST, from the dialplan, by an AMI UserEvent."""
    PASSTHRU = "passthru"
    """Nothing is streamed: a server is told of the call by HTTP, and its answer says where the call goes."""
    CONNECT = "connect"
    """Nothing is streamed: a server says by HTTP whom to call, and Asterisk dials."""


STEPS = frozenset({Mode.PASSTHRU, Mode.CONNECT})
"""Modes in which nothing is streamed."""


class MatchSettings(Section):
    """Which calls a profile is for. Every key that is set has to fit; of its values, any. Nothing set: every call."""

    pbxs: tuple[str, ...] = ()
    """Names of PBXs."""
    queues: tuple[str, ...] = ()
    """Queues: the one that an agent answered from, or `queue=NAME` among the arguments of Stasis()."""
    dids: tuple[str, ...] = ()
    """Numbers that the caller dialled; `*` at the end stands for any digits."""
    campaigns: tuple[str, ...] = ()
    """Tags of outbound calls: `campaign=TAG` among the arguments of Stasis(), or the channel variable
    CONNECTOR_CAMPAIGN."""
    bots: tuple[str, ...] = ()
    """Profiles of bots that have the call; for the mode `monitor`."""
    trunks: tuple[str, ...] = ()
    """Endpoints that the call came in or goes out by, for example `PJSIP/carrier`."""
    headers: dict[str, str] = Field(default={})
    """SIP headers of the caller's INVITE and their values; `*` at the end of a value stands for anything."""
    directions: tuple[Direction, ...] = ()
    percent: Annotated[float, Field(ge=0, le=100)] = 100
    """Of the calls that fit so far. Which ones follows from the call's id, so one call is always decided alike."""

    @field_validator("headers")
    @classmethod
    def _header_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            checked_header_name(name)
            checked_line(content)
        return value


class AuthSettings(Section):
    """How the connector proves to the bot who it is."""

    kind: Literal["none", "basic", "bearer", "hmac", "twilio"] = "none"
    """`hmac`: HMAC-SHA256 of time and URL in X-Connector-Signature. `twilio`: HMAC-SHA1 of the URL in
    X-Twilio-Signature, as Twilio signs with the account's auth token."""
    username: str = ""
    """For basic."""
    secret: SecretStr = SecretStr("")
    """Password, token or key. `env:NAME` is the environment variable CONNECTOR_SECRET_NAME, `file:NAME` a file in
    `outgoing.secrets_directory`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind != "none" and not self.secret.get_secret_value():
            raise ValueError(f"{self.kind} needs a secret")
        if self.kind == "basic" and (not self.username or ":" in self.username):
            raise ValueError("basic needs a username without a colon")
        return self


class ReconnectSettings(Section):
    """When the connection to the bot breaks in the middle of a call; a bot that closes it properly is done."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 0
    """How often the bot is dialled again; 0: the call goes on without it."""
    meanwhile: Literal["silence", "music"] = "silence"
    """What the caller hears."""


class HandoverSettings(Section):
    """Where a call may go from the bot, and what goes with it."""

    allow: tuple[str, ...] = ("dialplan", "hangup", "queue:*")
    """Targets that the bot may choose, `*` for any characters: queue:NAME, extension:NUMBER@CONTEXT, sip:USER@HOST,
    profile:NAME. A bot that may dial any number can be talked into dialling expensive ones."""
    on_close: str = "dialplan"
    """Where the call goes when the bot just closes its connection."""
    on_failure: str = "dialplan"
    """Where the call goes when the bot cannot be reached or its connection breaks."""
    context: str = "connector-handover"
    """Dialplan context that does it, from asterisk-conf/connector-extensions.conf."""
    announce: str = ""
    """Sound that the caller hears before; empty for none."""
    announce_agent: str = ""
    """Sound that the person who answers hears before the caller is put through; empty for none."""
    sip_endpoint: str = ""
    """PJSIP endpoint by which SIP addresses are dialled; empty: they are not."""

    _targets = field_validator("on_close", "on_failure")(checked_target)

    @field_validator("context", "announce", "announce_agent", "sip_endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_./-]{0,80}", value):
            raise ValueError("may hold letters, digits and _ . / -")
        return value


class PlayoutSettings(Section):
    """What becomes of the bot's audio before the caller hears it."""

    when_full: Literal["drop_newest", "drop_oldest"] = "drop_newest"
    """What gives way when more waits than may. `drop_newest`: what was accepted is played as sent, as with Twilio.
    `drop_oldest`: the caller hears the latest."""
    max_ms: Annotated[int, Field(ge=100, le=600_000)] | None = None
    """How much of the bot's audio may wait; not set: as `media.playout_max_ms` says."""
    idle: Literal["silence", "nothing"] = "silence"
    """What Asterisk gets while the bot says nothing: packets of silence, or, over RTP, no packets. Some phones and
    trunks give a call up that brings them none."""
    cleared_marks: Literal["return", "leave_out"] = "return"
    """Whether a mark is returned when the audio before it is cleared: at once, as Twilio does, or never, for a bot that
    takes a mark for what the caller has heard."""
    gain_db: Annotated[float, Field(ge=-40, le=20)] = 0
    """How much louder the bot is made."""
    fade_ms: Annotated[int, Field(ge=0, le=200)] = 0
    """How long the bot's speech goes on, getting softer, when it clears it. 0: it stops with the next 20 ms."""
    ambiance_file: Path | None = None
    """WAV file (16 bit) that is played over and over under the bot's voice: the sounds of an office."""
    ambiance_db: Annotated[float, Field(ge=-60, le=0)] = -12
    """How loud that is, against the file."""
    duck_db: Annotated[float, Field(ge=-60, le=0)] = -12
    """How much softer while the bot speaks."""


class ProfileSettings(Section):
    """A bot, or a server that listens. The first argument of Stasis() names a profile, or `match` finds it."""

    url: str
    """ws:// or wss:// address of the bot; or an http:// or https:// address that is asked at each call and answers
    with it: {"url": "wss://..."}."""
    dialect: AnyOptions = DEFAULT
    """The wire protocol that the bot speaks: its name, or a table with `name` and the settings of that dialect."""
    mode: Mode = Mode.VOICEBOT
    audio: WireName | Literal[""] = ""
    """How audio goes between Asterisk and us: transport and codec. Empty: as `pbx.NAME.audio` says."""
    enabled: bool = True
    """A profile that is not takes no more calls."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Of several profiles that fit a call the one with the highest counts, then the first by name."""
    match: MatchSettings = MatchSettings()
    auth: AuthSettings = AuthSettings()
    headers: SecretHeaders = Field(default={})
    """More HTTP headers of the upgrade request. Values as `env:NAME` and `file:NAME` as in `auth.secret`."""
    parameters: dict[str, str] = Field(default={})
    """Custom parameters that the bot gets with `start`."""
    sip_headers: tuple[str, ...] = ()
    """Headers of the caller's INVITE that the bot gets as parameters of the same name, for example X-UUI."""
    max_parameters: Annotated[int, Field(ge=0, le=100)] = 100
    """Of the profile's and the call's parameters together; Exotel allows 3. Those beyond are dropped and counted."""
    max_parameter_characters: Annotated[int, Field(ge=0, le=65_536)] = 4_096
    """Of all names and values together; Exotel allows 256."""
    connect_timeout_ms: Annotated[int, Field(ge=100, le=10_000)] = 1_500
    """Bound of one attempt: DNS, TCP, TLS and WebSocket handshake."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 3
    """How often a bot that answers 5xx is dialled; one that cannot be reached is tried twice, a 4xx is final."""
    dial_timeout_ms: Annotated[int, Field(ge=100, le=30_000)] = 1_500
    """Bound of all attempts together; then the call goes on as `handover.on_failure` says."""
    max_session_minutes: Annotated[int, Field(ge=1, le=1_440)] = 60
    """A longer stream is ended and the call goes on."""
    max_message_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = 1_048_576
    """Longer messages of the bot are refused and counted."""
    reorder_max_ms: Annotated[int, Field(ge=0, le=200)] = 0
    """How long a packet of the caller may wait for one that should have come before it. What comes in order never
    waits; 0: nothing does, and a packet that comes late is left out."""
    conceal_loss: bool = False
    """Whether the sound of packets that were lost is made up of what was before, up to 60 ms at a time; else the bot
    gets silence. For bots that listen to people; what measures calls should hear what was lost. Not with G.722."""
    playout: PlayoutSettings = PlayoutSettings()
    record: bool = False
    """Whether calls with this bot, or that it listens to, are recorded, as `recording` says."""
    status_callback: str = ""
    """http:// or https:// address that is told when a stream starts, stops or fails, in the words of the dialect's
    vendor, proven as `auth` says; empty: nobody is."""
    reconnect: ReconnectSettings = ReconnectSettings()
    handover: HandoverSettings = HandoverSettings()
    passthru: PassthruSettings = PassthruSettings()
    """For `mode = "passthru"`."""
    connect: ConnectSettings = ConnectSettings()
    """For `mode = "connect"`."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value, ("ws", "wss", "http", "https", "grpc", "grpc+plain"))

    @field_validator("status_callback")
    @classmethod
    def _callback(cls, value: str) -> str:
        return checked_url(value, ("http", "https")) if value else value

    @field_validator("sip_headers")
    @classmethod
    def _sip_header_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            checked_header_name(name)
        return value

    @model_validator(mode="after")
    def _step(self) -> Self:
        if self.mode in STEPS and not self.asks_for_url:
            raise ValueError(f"url: mode {self.mode.value} asks an http:// or https:// address")
        return self

    @model_validator(mode="after")
    def _grpc_by_its_dialect(self) -> Self:
        if self.is_grpc != (self.dialect.name == "ringcx-grpc"):
            raise ValueError("url begins with grpc:// (TLS) or grpc+plain:// if, and only if, dialect is ringcx-grpc")
        return self

    @property
    def is_grpc(self) -> bool:
        """Whether the server is reached by gRPC, not by WebSocket."""
        return urlsplit(self.url).scheme.startswith("grpc")

    @property
    def asks_for_url(self) -> bool:
        """Whether the address has to be asked for at each call."""
        return urlsplit(self.url).scheme in ("http", "https")


class OutgoingSettings(Section):
    """Where the connector may connect to for profiles.

    Addresses that stand in the settings file are trusted; those that come by the API, or as answers of a server, have
    to fit.
    """

    allowed_hosts: tuple[str, ...] = ()
    """Names of hosts, `*.example.com` for any below. Empty: any."""
    allow_private: tuple[str, ...] = ()
    """Hosts, addresses or networks (10.0.0.0/8) within private networks that may be reached; others are refused."""
    timeout_ms: Annotated[int, Field(ge=100, le=30_000)] = 5_000
    """Of one HTTP request, from the name look-up to the last byte."""
    max_answer_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 65_536
    """A longer answer of an HTTP server is refused."""
    breaker_failures: Annotated[int, Field(ge=0, le=1_000)] = 10
    """A bot that so many calls in a row could not reach is left alone for a while; 0: never."""
    breaker_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    """How long at first; twice as long each time, up to a minute."""
    secrets_directory: Path | None = None
    """Where `file:NAME` in a profile is looked for; not set: nowhere."""
