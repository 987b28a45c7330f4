"""What every bot wire protocol looks like from inside: messages in, audio and marks out, and back.

A dialect is sans-I/O: it never opens a socket, reads a clock or awaits. The worker feeds it what it
received and sends what it returns, so a dialect is tested with plain values.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

WireMessage = str | bytes
"""One WebSocket message: text or binary."""


class RejectCause(enum.StrEnum):
    """Why a message of the bot was not used. A closed set: it is a metric label."""

    NOT_JSON = "not_json"
    BAD_SHAPE = "bad_shape"
    BAD_BASE64 = "bad_base64"
    UNKNOWN_EVENT = "unknown_event"
    TOO_LARGE = "too_large"
    WRONG_STREAM = "wrong_stream"
    NOT_TEXT = "not_text"


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What a bot is told when its stream opens.

    Attributes:
        stream_id: Our id of the stream; a dialect derives its own from it.
        call_id: Our id of the call; the same for every stream of one call.
        parameters: Custom parameters of the profile and of the call.
    """

    stream_id: str
    call_id: str
    parameters: dict[str, str] = field(default_factory=dict)


class BotAudio(msgspec.Struct, frozen=True, gc=False):
    """Audio for the caller, in the dialect's codec, of any length."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class BotMark:
    """The bot wants to be told when everything sent before this has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class BotClear:
    """The bot wants what is queued to be dropped and every pending mark returned."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The message was not used; the call goes on.

    Attributes:
        cause: For the counter.
        detail: For the log, at most 200 characters, never audio.
    """

    cause: RejectCause
    detail: str


BotMessage = BotAudio | BotMark | BotClear | Rejected


class Dialect(Protocol):
    """One stream's side of a wire protocol. Sequence numbers live in here, so one instance serves one stream."""

    def opened(self) -> list[WireMessage]:
        """Messages to send as soon as the WebSocket is open and the call is answered."""
        ...

    def audio(self, payload: bytes, timestamp_ms: int) -> WireMessage:
        """One frame of the caller's audio.

        Args:
            payload: 20 ms of mu-law, 160 bytes (RFC 3551 section 4.5.14).
            timestamp_ms: Media time of the frame since the stream began.
        """
        ...

    def dtmf(self, digit: str) -> WireMessage | None:
        """A digit the caller pressed (0-9, A-D, * or #), or None if the protocol has no word for it."""
        ...

    def mark_played(self, name: str) -> WireMessage | None:
        """A mark whose audio has been played, or was cleared."""
        ...

    def closing(self) -> list[WireMessage]:
        """Messages to send before the WebSocket is closed by us."""
        ...

    def decode(self, message: WireMessage) -> BotMessage:
        """Reads one message of the bot. Never raises on what a peer can send."""
        ...
