"""Telnyx media streaming over WebSocket: JSON text, audio in base64, bidirectional mode `rtp` or listening.

Field names as in Telnyx's "Media streaming over WebSockets"; numbers are text there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from connector.audio.formats import AudioFormat, Encoding
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    Dialect,
    DialectOptions,
    RejectCause,
    Rejected,
    StopReason,
    StreamStart,
    Track,
    WireMessage,
)
from connector.dialects.commands import Failed
from connector.dialects.wire import (
    MAX_NAME,
    Json,
    VendorIds,
    WholeSamples,
    bad_shape,
    base64,
    hashed,
    hashed_uuid,
    member,
    read_audio,
    read_object,
    scalar,
    short,
    text,
    unknown_event,
)

_TRACKS = {Track.CALLER: "inbound", Track.AGENT: "outbound"}
_FORMATS = {
    "PCMU": AudioFormat(Encoding.PCMU),
    "PCMA": AudioFormat(Encoding.PCMA),
    "L16": AudioFormat(Encoding.L16, 16000),
}


class TelnyxOptions(DialectOptions):
    """Telnyx media streaming."""

    name: Literal["telnyx"] = "telnyx"
    encoding: Literal["PCMU", "PCMA", "L16"] = "PCMU"
    """Both ways: mu-law or A-law at 8 kHz, or 16 bit linear, little-endian, at 16 kHz."""
    user_id: str = ""
    """The user_id that the bot is told; empty: one of ours."""
    client_state: str = ""
    """Handed to the bot as it is; Telnyx has it in base64."""

    @property
    def to_bot(self) -> AudioFormat:
        """By encoding."""
        return _FORMATS[self.encoding]

    @property
    def mixes(self) -> bool:
        """By `track`."""
        return True


class Telnyx(Dialect):
    """One stream of Telnyx's protocol."""

    options_type = TelnyxOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: TelnyxOptions) -> None:
        self._start = start
        self._options = options
        self._user_id, self._call_control_id, self._stream_id = vendor_ids(options, start.call_id, start.stream_id)
        self._sequence = 0
        self._chunks = dict.fromkeys(Track, 0)
        self._samples = WholeSamples() if options.encoding == "L16" else None

    def opened(self) -> list[WireMessage]:
        """`connected` and `start`."""
        shape = self._options.to_bot
        start = {
            "user_id": self._user_id,
            "call_control_id": self._call_control_id,
            "call_session_id": hashed_uuid(self._start.call_id),
            "from": self._start.fact("from"),
            "to": self._start.fact("to"),
            "client_state": self._options.client_state,
            "custom_parameters": self._start.custom(),
            "media_format": {"encoding": self._options.encoding, "sample_rate": shape.rate_hz, "channels": 1},
        }
        return [text({"event": "connected", "version": "1.0.0"}), self._numbered("start", start)]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`media`."""
        self._chunks[track] += 1
        media = {
            "track": _TRACKS[track],
            "chunk": str(self._chunks[track]),
            "timestamp": str(timestamp_ms),
            "payload": base64(payload),
        }
        return self._numbered("media", media)

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`."""
        return self._numbered("dtmf", {"digit": digit})

    def mark_played(self, name: str) -> WireMessage | None:
        """`mark`."""
        return self._numbered("mark", {"name": name})

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """`stop`."""
        return [self._numbered("stop", {"user_id": self._user_id, "call_control_id": self._call_control_id})]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads `media`, `mark`, `clear` or `error`."""
        parsed = read_object(message)
        return (parsed if isinstance(parsed, Rejected) else self._meaning(parsed),)

    def _meaning(self, message: Json) -> BotMessage:
        event = message.get("event")
        if event == "error":
            payload = member(message, "payload")
            return Failed(scalar(payload, "code") or "", short(payload.get("title")) or short(payload.get("detail")))
        if event not in ("media", "mark", "clear"):
            return unknown_event(event)
        stream_id = scalar(message, "stream_id", "streamId")
        if stream_id is not None and stream_id != self._stream_id:
            return Rejected(RejectCause.WRONG_STREAM, f"stream_id {stream_id[:64]!r}")
        if not self._start.two_way:
            return Rejected(RejectCause.OUT_OF_TURN, f"{event} on a stream that only listens")
        if event == "clear":
            if self._samples is not None:
                self._samples.clear()
            return BotClear()
        if event == "mark":
            name = scalar(member(message, "mark"), "name")
            return bad_shape("mark without a name") if name is None else BotMark(name[:MAX_NAME])
        audio = read_audio(member(message, "media").get("payload"))
        if self._samples is not None and isinstance(audio, BotAudio):
            return BotAudio(self._samples.add(audio.payload))
        return audio

    def _numbered(self, event: str, value: Json) -> str:
        self._sequence += 1
        sequence = str(self._sequence)
        return text({"event": event, "sequence_number": sequence, event: value, "stream_id": self._stream_id})


def vendor_ids(options: TelnyxOptions, call_id: str, stream_id: str) -> VendorIds:
    """user_id, call_control_id and stream_id of a stream."""
    account = options.user_id or hashed_uuid("asterisk-connector")
    return VendorIds(account, f"v3:{hashed(call_id)}", hashed_uuid(stream_id))
