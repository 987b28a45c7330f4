"""What every bot wire protocol looks like from inside: messages in, audio and marks out, and back.

A dialect is sans-I/O: it never opens a socket, reads a clock or awaits. The worker feeds it what it
received and sends what it returns, so a dialect is tested with plain values. Its life on one WebSocket:

    upgrade -> connected -> [decode until ready] -> opened -> audio, dtmf, decode, ... -> closing -> [decode until done]

`connected` comes before the call is answered: a bot that refuses its handshake costs the caller nothing.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import SecretStr

from connector.audio.formats import AudioFormat
from connector.config_types import Section
from connector.dialects.commands import Command, Notice

WireMessage = str | bytes
"""One WebSocket message: text or binary."""

MAX_DETAIL = 200
"""Characters of `Rejected.detail`."""


class RejectCause(enum.StrEnum):
    """Why a message of the bot was not used. A closed set: it is a metric label."""

    NOT_JSON = "not_json"
    BAD_SHAPE = "bad_shape"
    BAD_BASE64 = "bad_base64"
    BAD_FORMAT = "bad_format"
    """Audio in a format that the stream does not have."""
    UNKNOWN_EVENT = "unknown_event"
    TOO_LARGE = "too_large"
    WRONG_STREAM = "wrong_stream"
    NOT_TEXT = "not_text"
    OUT_OF_TURN = "out_of_turn"
    """Right in itself, but not now: audio before the handshake, or audio from a bot that may only listen."""


class Track(enum.StrEnum):
    """Whose voice it is."""

    CALLER = "caller"
    AGENT = "agent"
    """The person, or whatever else is on the other side of the caller."""


class StopReason(enum.StrEnum):
    """Why we end a stream, as a bot may be told."""

    CALLER_HUNG_UP = "caller_hung_up"
    TRANSFERRED = "transferred"
    BOT_ENDED = "bot_ended"
    SESSION_LIMIT = "session_limit"
    SHUTDOWN = "shutdown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What a bot is told when its stream opens.

    Attributes:
        stream_id: Our id of the stream; a dialect derives its own from it.
        call_id: Our id of the call; the same for every stream of one call.
        parameters: Custom parameters of the profile and of the call. Dialects that have fields of their own for them
            take `from`, `fromName`, `to`, `direction`, `language`, `queue`, `agent` and `campaign` out of these.
        tracks: Whose audio the stream carries, in this order.
        two_way: Whether the bot may speak.
    """

    stream_id: str
    call_id: str
    parameters: dict[str, str] = field(default_factory=dict)
    tracks: tuple[Track, ...] = (Track.CALLER,)
    two_way: bool = True

    def fact(self, name: str) -> str:
        """One of the parameters that dialects know by name; empty where it is not known."""
        return self.parameters.get(name, "")

    def custom(self) -> dict[str, str]:
        """The parameters that dialects do not know by name."""
        return {name: value for name, value in self.parameters.items() if name not in FACTS}


FACTS = frozenset({"from", "fromName", "to", "direction", "language", "queue", "agent", "campaign"})


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The HTTP request that opens a WebSocket.

    Attributes:
        url: ws:// or wss://.
        headers: May hold secrets, so never logged.
        subprotocols: Offered to the server (RFC 6455 section 1.9).
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = ()


# -- what a bot says -------------------------------------------------------------------------------------------


class BotAudio(msgspec.Struct, frozen=True, gc=False):
    """Audio for the caller, in the dialect's `from_bot` format, of any length."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class BotMark:
    """The bot wants to be told when everything sent before this has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class BotClear:
    """The bot wants what is queued to be dropped and every pending mark returned."""


@dataclass(frozen=True, slots=True)
class BotReply:
    """The protocol wants these messages sent back at once. They are no business of anybody else."""

    messages: tuple[WireMessage, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The message was not used; the call goes on.

    Attributes:
        cause: For the counter.
        detail: For the log, at most 200 characters, never audio.
    """

    cause: RejectCause
    detail: str


BotMessage = BotAudio | BotMark | BotClear | BotReply | Rejected | Command


# -- the dialect -----------------------------------------------------------------------------------------------


# -- for the compiled helper -----------------------------------------------------------------------------------


class Field(enum.Enum):
    """What stands between the literal parts of an audio message."""

    COUNTER_A = "counter_a"
    COUNTER_B = "counter_b"
    """Numbers that grow by one from message to message."""
    STAMP_MS = "stamp_ms"
    """Media time of the frame."""
    BASE64 = "base64"
    BYTES = "bytes"
    """The frame itself."""


@dataclass(frozen=True, slots=True)
class AudioTemplate:
    """How a dialect's audio messages look, as long as nothing else is sent: so that they can be written without it.

    Attributes:
        pieces: Literals, in UTF-8, and fields, in order.
        binary: Whether it is a binary message.
        counters: What stands in the next message.
    """

    pieces: tuple[bytes | Field, ...]
    binary: bool = False
    counters: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class AudioPattern:
    """How a bot's audio messages look: all that differs from one to the next is the audio.

    Attributes:
        head: Before the audio, in UTF-8.
        tail: Behind it.
        base64: Whether the audio is in base64.
        binary: Whether it is a binary message.
        unit_bytes: The audio is a multiple of so many bytes; a message with another length does not fit.
    """

    head: bytes
    tail: bytes
    base64: bool = True
    binary: bool = False
    unit_bytes: int = 1


class DialectOptions(Section):
    """What can be set about a dialect. Each dialect has its own; `name` tells them apart."""

    name: str

    @property
    def to_bot(self) -> AudioFormat:
        """The caller's audio as `Dialect.audio` takes it."""
        return AudioFormat()

    @property
    def from_bot(self) -> AudioFormat:
        """The bot's audio as `BotAudio` holds it."""
        return self.to_bot

    @property
    def mixes(self) -> bool:
        """Whether one WebSocket carries both tracks of a call, told apart; else each has one of its own."""
        return False

    def plain(self) -> dict[str, Any]:
        """As plain values, secrets in clear: for the media worker alone."""
        return {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in self.model_dump(mode="python").items()
        }


class Dialect(abc.ABC):
    """One stream's side of a wire protocol. Sequence numbers live in here, so one instance serves one WebSocket.

    What a protocol has no word for is left out: the defaults here say nothing.

    Attributes:
        options_type: Its settings.
        mode: What it can carry: a bot that speaks, one that only listens, or either.
        ready: Whether the bot has completed the handshake; until then the call is not answered.
        done: After `closing`: whether the bot has said its last word, so that the WebSocket may be closed.
        heartbeat_s: How often `heartbeat` wants to be called; None: never.
    """

    options_type: ClassVar[type[DialectOptions]]
    mode: ClassVar[Literal["two_way", "listen", "either"]] = "two_way"
    ready: bool = True
    done: bool = True
    heartbeat_s: float | None = None

    @abc.abstractmethod
    def __init__(self, start: StreamStart, options: Any) -> None: ...

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """The upgrade request with what the protocol adds: query, headers, signature, subprotocols.

        Args:
            request: URL and headers of the profile.
            unix_s: Wall-clock time, for signatures.
            nonce: Random text, another one each time.
        """
        return request

    def connected(self) -> list[WireMessage]:
        """Messages to send as soon as the WebSocket is open, before the call is answered."""
        return []

    def opened(self) -> list[WireMessage]:
        """Messages to send when the call is answered: audio follows."""
        return []

    @abc.abstractmethod
    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """One frame of audio for the bot, or None when the protocol wants more of it in one message, or none now.

        Args:
            payload: 20 ms in the format `to_bot`.
            timestamp_ms: Media time of the frame since the stream began.
            track: Whose.
        """
        ...

    def dtmf(self, digit: str) -> WireMessage | None:
        """A digit the caller pressed (0-9, A-D, * or #), or None if the protocol has no word for it."""
        return None

    def mark_played(self, name: str) -> WireMessage | None:
        """A mark whose audio has been played, or was cleared."""
        return None

    def cleared(self, played_ms: int) -> list[WireMessage]:
        """What was queued has been dropped, as the bot wanted; marks have been returned before.

        Args:
            played_ms: How far the caller has heard: a position in all audio that `decode` has given so far, in which
                what was dropped counts as passed.
        """
        return []

    def notify(self, notice: Notice) -> list[WireMessage]:
        """Something that the bot may want to know."""
        return []

    def heartbeat(self) -> Sequence[BotMessage]:
        """Called every `heartbeat_s`: what the protocol sends or concludes when nothing else happens."""
        return ()

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """Messages to send before the WebSocket is closed by us."""
        return []

    def template(self) -> AudioTemplate | None:
        """How the messages of `audio` will look if nothing else is sent before them; None: not to be told so.

        A dialect that gives one bears no numbers in what `decode` returns.
        """
        return None

    def sent(self, messages: int) -> None:
        """So many messages were written by the template, and not by `audio`."""
        return

    def pattern(self) -> AudioPattern | None:
        """How the bot's audio messages look, once that is known; None: as long as every message is for `decode`."""
        return None

    @abc.abstractmethod
    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads one message of the bot. Never raises on what a peer can send."""
        ...
