"""The text messages of our own protocol, version 1; their JSON Schema (docs/schemas/raw-v1.json) is made from them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from connector.dialects.base import StopReason, Track

VERSION = 1
SUBPROTOCOL = "asterisk-connector.v1"
"""Offered at the upgrade; a server need not choose it."""


# -- to the bot ------------------------------------------------------------------------------------------------


class _ToBot(msgspec.Struct, frozen=True, tag_field="type"):
    """`seq` counts the text messages of a socket from 1."""

    seq: int


class AudioShape(msgspec.Struct, frozen=True):
    """What binary messages hold."""

    encoding: Literal["l16", "pcmu", "pcma", "opus"]
    rate_hz: int
    message_ms: int
    track_byte: bool
    """Whether each message to the bot begins with a byte that names its track by its place in `tracks`."""


class StartMessage(_ToBot, frozen=True, tag="start"):
    """The first message: the call is answered, audio follows."""

    version: Literal[1]
    stream: str
    call: str
    tracks: list[Track]
    two_way: bool
    audio: AudioShape
    parameters: dict[str, str]
    """Of the profile and the call: `from`, `fromName`, `to`, and what else is set."""


class DtmfMessage(_ToBot, frozen=True, tag="dtmf"):
    """The caller pressed a key."""

    digit: str


class MarkMessage(_ToBot, frozen=True, tag="mark"):
    """All audio that was sent before this mark has been played, or was cleared."""

    name: str


class ClearedMessage(_ToBot, frozen=True, tag="cleared"):
    """The answer to `clear`, after the marks that were pending."""

    played_ms: int
    """Of all audio that the bot has sent, how far the caller has heard."""


class HoldMessage(_ToBot, frozen=True, tag="hold"):
    """The caller was put on hold, or taken back."""

    held: bool


class TransferMessage(_ToBot, frozen=True, tag="transfer"):
    """What becomes of a transfer."""

    state: Literal["started", "answered", "failed"]
    target: str
    reason: str


class QualityMessage(_ToBot, frozen=True, tag="quality"):
    """How well the caller is heard; `mos` is 0 where it is not known."""

    loss_percent: float
    jitter_ms: float
    mos: float


class ReconnectedMessage(_ToBot, frozen=True, tag="reconnected"):
    """Follows `start` on a socket that goes on with a stream which an earlier socket began."""

    gap_ms: int
    attempt: int


class StopMessage(_ToBot, frozen=True, tag="stop"):
    """The last message; the WebSocket closes with 1000."""

    reason: StopReason


ToBot = (
    StartMessage
    | DtmfMessage
    | MarkMessage
    | ClearedMessage
    | HoldMessage
    | TransferMessage
    | QualityMessage
    | ReconnectedMessage
    | StopMessage
)

# -- from the bot ----------------------------------------------------------------------------------------------


class MarkRequest(msgspec.Struct, frozen=True, tag_field="type", tag="mark"):
    """Tell me when all audio before this has been played."""

    name: str


class ClearRequest(msgspec.Struct, frozen=True, tag_field="type", tag="clear"):
    """Drop what is queued: the caller speaks."""


class DtmfRequest(msgspec.Struct, frozen=True, tag_field="type", tag="dtmf"):
    """Press keys towards the caller's side."""

    digits: str


class TransferRequest(msgspec.Struct, frozen=True, tag_field="type", tag="transfer"):
    """Hand the caller over."""

    target: str = ""
    reason: str = ""
    summary: str = ""
    headers: dict[str, str] = {}
    blind: bool = False


class HangUpRequest(msgspec.Struct, frozen=True, tag_field="type", tag="hang_up"):
    """End the call."""

    reason: str = ""


class MuteRequest(msgspec.Struct, frozen=True, tag_field="type", tag="mute"):
    """Send me the caller's audio no more, or again."""

    muted: bool


class PauseRequest(msgspec.Struct, frozen=True, tag_field="type", tag="pause"):
    """As mute, and pause the recording too: the caller gives something that must not be kept."""

    paused: bool


class EndRequest(msgspec.Struct, frozen=True, tag_field="type", tag="end"):
    """My part is over, the call goes on in the dialplan."""

    reason: str = ""
    data: dict[str, Any] = {}


class ErrorRequest(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """Something went wrong; with `fatal` the stream ends as one whose bot failed."""

    message: str
    code: str = ""
    fatal: bool = False


class EventRequest(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """Anything else that somebody may want to see: a transcript, an intent."""

    name: str
    data: dict[str, Any] = {}


FromBot = (
    MarkRequest
    | ClearRequest
    | DtmfRequest
    | TransferRequest
    | HangUpRequest
    | MuteRequest
    | PauseRequest
    | EndRequest
    | ErrorRequest
    | EventRequest
)


def schema() -> dict[str, Any]:
    """JSON Schema of the text messages, both ways."""
    (to_bot, from_bot), components = msgspec.json.schema_components((ToBot, FromBot), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SUBPROTOCOL}: text messages",
        "$defs": {**components, "ToBot": to_bot, "FromBot": from_bot},
        "anyOf": [{"$ref": "#/$defs/ToBot"}, {"$ref": "#/$defs/FromBot"}],
    }
