"""Exotel AgentStream, applets Voicebot (two-way) and Stream (listening): JSON text, 16 bit linear in base64.

Field names are those of Exotel's pages; numbers are text, as the newest of them has it (older ones: numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator

from connector.audio.formats import AudioFormat, Encoding
from connector.config_types import whole
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
    Upgrade,
    WireMessage,
)
from connector.dialects.wire import (
    MAX_NAME,
    Gather,
    Json,
    VendorIds,
    WholeSamples,
    bad_shape,
    base64,
    hashed,
    member,
    read_audio,
    read_object,
    scalar,
    text,
    unknown_event,
    with_query,
)

MAX_PARAMETERS = 3
MAX_PARAMETER_CHARACTERS = 256
MESSAGE_MS = 100
DTMF_MS = 100
"""Exotel tells how long a key was held; Asterisk's bridge does not hand that on, so this is said of each."""


class ExotelOptions(DialectOptions):
    """Exotel AgentStream: Voicebot and Stream applets."""

    name: Literal["exotel"] = "exotel"
    rate_hz: Annotated[Literal[8000, 16000, 24000], BeforeValidator(whole)] = 8000
    """Samples a second, both ways; other than 8000 is told to the bot as `sample-rate` in the URL, too."""
    account_sid: str = ""
    """The account_sid that the bot is told; empty: one of ours."""
    numbers: Literal["text", "number"] = "text"
    """How sequence_number, chunk and timestamp are written: as text (newest pages) or as numbers (older bots)."""

    @property
    def to_bot(self) -> AudioFormat:
        """16 bit linear."""
        return AudioFormat(Encoding.L16, self.rate_hz)


class Exotel(Dialect):
    """One stream of Exotel's protocol."""

    options_type = ExotelOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: ExotelOptions) -> None:
        self._start = start
        self._rate_hz = options.rate_hz
        self._as_text = options.numbers == "text"
        self._account_sid, self._call_sid, self._stream_sid = vendor_ids(options, start.call_id, start.stream_id)
        self._sequence = 0
        self._chunk = 0
        self._gather = Gather(options.to_bot.rate_hz * 2 * MESSAGE_MS // 1000)
        self._samples = WholeSamples()

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Adds `sample-rate` where it is not the one that Exotel takes for granted."""
        if self._rate_hz == 8000:
            return request
        url = with_query(request.url, **{"sample-rate": self._rate_hz})
        return Upgrade(url, request.headers, request.subprotocols)

    def opened(self) -> list[WireMessage]:
        """`connected` and `start`."""
        start = {
            "stream_sid": self._stream_sid,
            "call_sid": self._call_sid,
            "account_sid": self._account_sid,
            "from": self._start.fact("from"),
            "to": self._start.fact("to"),
            "custom_parameters": _few(self._start.custom()),
            "media_format": {"encoding": "audio/x-raw", "sample_rate": str(self._rate_hz), "bit_rate": "16"},
        }
        return [text({"event": "connected"}), self._numbered("start", start)]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`media`, one for each 100 ms. The protocol has one track: of several, the caller's is sent."""
        if track is not self._start.tracks[0]:
            return None
        whole = self._gather.add(payload, timestamp_ms)
        return None if whole is None else self._media(*whole)

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`, which the Stream applet does not have."""
        if not self._start.two_way:
            return None
        return self._numbered("dtmf", {"digit": digit, "duration": self._number(DTMF_MS)})

    def mark_played(self, name: str) -> WireMessage | None:
        """`mark`."""
        return self._numbered("mark", {"name": name})

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """What audio still waits, then `stop`."""
        rest = self._gather.rest()
        tail = [] if rest is None else [self._media(*rest)]
        why = "callended" if reason is StopReason.CALLER_HUNG_UP else "stopped"
        stop = {"call_sid": self._call_sid, "account_sid": self._account_sid, "reason": why}
        return [*tail, self._numbered("stop", stop)]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads `media`, `mark` or `clear`, in the spellings that real bots use."""
        parsed = read_object(message)
        return (parsed if isinstance(parsed, Rejected) else self._meaning(parsed),)

    def _meaning(self, message: Json) -> BotMessage:
        event = message.get("event")
        if event not in ("media", "mark", "clear"):
            return unknown_event(event)
        sid = scalar(message, "stream_sid", "streamSid")
        if sid is not None and sid != self._stream_sid:
            return Rejected(RejectCause.WRONG_STREAM, f"stream_sid {sid[:64]!r}")
        if not self._start.two_way:
            return Rejected(RejectCause.OUT_OF_TURN, f"{event} on a stream that only listens")
        if event == "clear":
            self._samples.clear()
            return BotClear()
        if event == "mark":
            name = scalar(member(message, "mark"), "name")
            return bad_shape("mark without a name") if name is None else BotMark(name[:MAX_NAME])
        audio = read_audio(member(message, "media").get("payload"))
        return BotAudio(self._samples.add(audio.payload)) if isinstance(audio, BotAudio) else audio

    def _media(self, payload: bytes, since_ms: int) -> str:
        self._chunk += 1
        media = {
            "chunk": self._number(self._chunk),
            "timestamp": self._number(since_ms),
            "payload": base64(payload),
        }
        return self._numbered("media", media)

    def _numbered(self, event: str, value: Json) -> str:
        self._sequence += 1
        number = self._number(self._sequence)
        return text({"event": event, "sequence_number": number, "stream_sid": self._stream_sid, event: value})

    def _number(self, value: int) -> str | int:
        return str(value) if self._as_text else value


def _few(parameters: dict[str, str]) -> dict[str, str]:
    """As many as Exotel passes on: three, of 256 characters in all."""
    left = MAX_PARAMETER_CHARACTERS
    few: dict[str, str] = {}
    for name, value in parameters.items():
        if len(few) < MAX_PARAMETERS and len(name) + len(value) <= left:
            few[name] = value
            left -= len(name) + len(value)
    return few


def vendor_ids(options: ExotelOptions, call_id: str, stream_id: str) -> VendorIds:
    """account_sid, call_sid and stream_sid of a stream."""
    return VendorIds(options.account_sid or hashed("asterisk-connector"), hashed(call_id), hashed(stream_id))
