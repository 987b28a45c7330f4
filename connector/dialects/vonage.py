"""Vonage Voice WebSocket endpoints and Audio Connector: 16 bit linear as binary messages, JSON text for the rest.

Field names as in Vonage's "WebSockets" guide of the Voice API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
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
    StreamStart,
    Track,
    WireMessage,
)
from connector.dialects.wire import MAX_NAME, WholeSamples, bad_shape, read_object, text, unknown_event

DTMF_MS = 260
"""Vonage tells how long a key was held; Asterisk's bridge does not hand that on, so this is said of each."""
_RESERVED = frozenset({"event", "content-type"})


class VonageOptions(DialectOptions):
    """Vonage Voice WebSocket."""

    name: Literal["vonage"] = "vonage"
    rate_hz: Annotated[Literal[8000, 16000, 24000], BeforeValidator(whole)] = 16000
    """Samples a second, both ways."""

    @property
    def to_bot(self) -> AudioFormat:
        """16 bit linear."""
        return AudioFormat(Encoding.L16, self.rate_hz)


class Vonage(Dialect):
    """One stream of Vonage's protocol."""

    options_type = VonageOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: VonageOptions) -> None:
        self._start = start
        self._rate_hz = options.rate_hz
        self._samples = WholeSamples()

    def opened(self) -> list[WireMessage]:
        """`websocket:connected`, with the parameters as its members."""
        parameters = {name: value for name, value in self._start.parameters.items() if name not in _RESERVED}
        kind = f"audio/l16;rate={self._rate_hz}"
        return [text({"event": "websocket:connected", "content-type": kind, **parameters})]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """A binary message of 20 ms. The protocol has one track: of several, the first is sent."""
        return payload if track is self._start.tracks[0] else None

    def dtmf(self, digit: str) -> WireMessage | None:
        """`websocket:dtmf`."""
        return text({"event": "websocket:dtmf", "digit": digit, "duration": DTMF_MS})

    def mark_played(self, name: str) -> WireMessage | None:
        """`websocket:notify`, with the payload that the bot gave."""
        return text({"event": "websocket:notify", "payload": msgspec.Raw(name.encode())})

    def cleared(self, played_ms: int) -> list[WireMessage]:
        """`websocket:cleared`."""
        return [text({"event": "websocket:cleared"})]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Binary is audio; text is `clear` or `notify`."""
        if not isinstance(message, str):
            if not self._start.two_way:
                return (Rejected(RejectCause.OUT_OF_TURN, "audio on a stream that only listens"),)
            return (BotAudio(self._samples.add(message)),)
        parsed = read_object(message)
        if isinstance(parsed, Rejected):
            return (parsed,)
        action = parsed.get("action")
        if action not in ("clear", "notify"):
            return (unknown_event(action),)
        if not self._start.two_way:
            return (Rejected(RejectCause.OUT_OF_TURN, f"{action} on a stream that only listens"),)
        if action == "clear":
            self._samples.clear()
            return (BotClear(),)
        # The mark is known by its payload, as JSON text: that comes back as it was.
        name = text(parsed.get("payload"))
        return (BotMark(name) if len(name) <= MAX_NAME else bad_shape("notify with too long a payload"),)
