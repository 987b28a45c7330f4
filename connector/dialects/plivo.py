"""Plivo audio streaming: JSON text, audio in base64, `playAudio`, `checkpoint` and `clearAudio` from the bot.

Field names as in Plivo's page "Audio Streaming"; sequence numbers are numbers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from connector.audio import g711
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
from connector.dialects.commands import SendDigits
from connector.dialects.wire import (
    MAX_NAME,
    Json,
    VendorIds,
    WholeSamples,
    bad_shape,
    base64,
    hashed_uuid,
    member,
    read_audio,
    read_digits,
    read_object,
    scalar,
    text,
    unknown_event,
)

_TRACKS = {Track.CALLER: "inbound", Track.AGENT: "outbound"}


class PlivoOptions(DialectOptions):
    """Plivo audio streaming."""

    name: Literal["plivo"] = "plivo"
    content_type: Literal["audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"] = (
        "audio/x-mulaw;rate=8000"
    )
    """Of the stream, as in Plivo's <Stream contentType>."""
    account_id: str = ""
    """The accountId that the bot is told; empty: one of ours."""

    @property
    def to_bot(self) -> AudioFormat:
        """By content type."""
        encoding, rate_hz = self.shape
        return AudioFormat(Encoding.PCMU if encoding == "audio/x-mulaw" else Encoding.L16, rate_hz)

    @property
    def shape(self) -> tuple[str, int]:
        """Media type and rate."""
        media_type, _, rate = self.content_type.partition(";rate=")
        return media_type, int(rate)

    @property
    def mixes(self) -> bool:
        """By `track`."""
        return True


class Plivo(Dialect):
    """One stream of Plivo's protocol."""

    options_type = PlivoOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: PlivoOptions) -> None:
        self._start = start
        self._encoding, self._rate_hz = options.shape
        self._account_id, self._call_id, self._stream_id = vendor_ids(options, start.call_id, start.stream_id)
        self._sequence = 0
        self._chunks = dict.fromkeys(Track, 0)
        self._samples = WholeSamples()

    def opened(self) -> list[WireMessage]:
        """`start`; Plivo has no message before it."""
        start = {
            "callId": self._call_id,
            "streamId": self._stream_id,
            "accountId": self._account_id,
            "tracks": [_TRACKS[track] for track in self._start.tracks],
            "mediaFormat": {"encoding": self._encoding, "sampleRate": self._rate_hz},
        }
        more = text({name: value for name, value in self._start.parameters.items() if value})
        return [self._numbered({"event": "start", "start": start, "extra_headers": more})]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`media`."""
        self._chunks[track] += 1
        media = {
            "track": _TRACKS[track],
            "timestamp": str(timestamp_ms),
            "chunk": self._chunks[track],
            "payload": base64(payload),
        }
        return self._numbered({"event": "media", "streamId": self._stream_id, "media": media})

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`."""
        key = {"digit": digit, "track": "inbound"}
        return self._numbered({"event": "dtmf", "streamId": self._stream_id, "dtmf": key})

    def mark_played(self, name: str) -> WireMessage | None:
        """`playedStream`, the answer to `checkpoint`."""
        return self._numbered({"event": "playedStream", "streamId": self._stream_id, "name": name})

    def cleared(self, played_ms: int) -> list[WireMessage]:
        """`clearedAudio`."""
        return [self._numbered({"event": "clearedAudio", "streamId": self._stream_id})]

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """`stop`."""
        return [self._numbered({"event": "stop", "streamId": self._stream_id})]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads `playAudio`, `checkpoint`, `clearAudio` or `sendDTMF`."""
        parsed = read_object(message)
        return (parsed if isinstance(parsed, Rejected) else self._meaning(parsed),)

    def _meaning(self, message: Json) -> BotMessage:
        event = message.get("event")
        if event not in ("playAudio", "checkpoint", "clearAudio", "sendDTMF"):
            return unknown_event(event)
        stream_id = scalar(message, "streamId", "stream_id")
        if stream_id is not None and stream_id != self._stream_id:
            return Rejected(RejectCause.WRONG_STREAM, f"streamId {stream_id[:64]!r}")
        if not self._start.two_way:
            return Rejected(RejectCause.OUT_OF_TURN, f"{event} on a stream that only listens")
        if event == "clearAudio":
            self._samples.clear()
            return BotClear()
        if event == "checkpoint":
            name = scalar(message, "name")
            return bad_shape("checkpoint without a name") if name is None else BotMark(name[:MAX_NAME])
        if event == "sendDTMF":
            digits = read_digits(message.get("dtmf"))
            return bad_shape("sendDTMF with no usable digits") if digits is None else SendDigits(digits)
        return self._play(member(message, "media"))

    def _play(self, media: Json) -> BotMessage:
        """Audio names its own format; the other encoding of the stream's rate is taken too."""
        encoding = (scalar(media, "contentType") or self._encoding).partition(";")[0]
        rate = scalar(media, "sampleRate") or str(self._rate_hz)
        if rate != str(self._rate_hz) or encoding not in ("audio/x-mulaw", "audio/x-l16"):
            return Rejected(RejectCause.BAD_FORMAT, f"{encoding[:64]} at {rate[:16]} Hz")
        audio = read_audio(media.get("payload"))
        if not isinstance(audio, BotAudio):
            return audio
        payload = self._samples.add(audio.payload) if encoding == "audio/x-l16" else audio.payload
        if encoding == self._encoding:
            return BotAudio(payload)
        if encoding == "audio/x-l16":
            return BotAudio(g711.ulaw_encode(np.frombuffer(payload, "<i2")).tobytes())
        return BotAudio(g711.ulaw_decode(np.frombuffer(payload, np.uint8)).astype("<i2").tobytes())

    def _numbered(self, message: Json) -> str:
        numbered = {"sequenceNumber": self._sequence, **message}
        self._sequence += 1
        return text(numbered)


def vendor_ids(options: PlivoOptions, call_id: str, stream_id: str) -> VendorIds:
    """accountId, callId and streamId of a stream."""
    return VendorIds(
        options.account_id or hashed_uuid("asterisk-connector"), hashed_uuid(call_id), hashed_uuid(stream_id)
    )
