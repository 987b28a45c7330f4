"""RustPBX MediaPass: binary messages of 16 bit linear both ways, nothing else; the rate stands in the URL's query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from connector.audio.formats import AudioFormat, Encoding
from connector.config_types import whole
from connector.dialects.base import (
    BotAudio,
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
from connector.dialects.wire import Gather, WholeSamples, with_query

Rate = Annotated[Literal[8000, 16000, 24000, 48000], BeforeValidator(whole)]


class RustpbxOptions(DialectOptions):
    """RustPBX MediaPass. Its own words: input is towards the call, output towards the server."""

    name: Literal["rustpbx"] = "rustpbx"
    input_sample_rate: Rate = 16000
    """Of what the server sends."""
    output_sample_rate: Rate = 16000
    """Of what the server gets."""
    packet_size: Annotated[int, Field(ge=320, le=65_536)] = 2_560
    """Bytes of one message to the server: 80 ms at 16 kHz. 3200 in the source of RustPBX, 2560 in its documentation."""

    @field_validator("packet_size")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even: samples have two bytes")
        return value

    @property
    def to_bot(self) -> AudioFormat:
        """16 bit linear."""
        return AudioFormat(Encoding.L16, self.output_sample_rate)

    @property
    def from_bot(self) -> AudioFormat:
        """16 bit linear."""
        return AudioFormat(Encoding.L16, self.input_sample_rate)


class Rustpbx(Dialect):
    """One stream of MediaPass."""

    options_type = RustpbxOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: RustpbxOptions) -> None:
        self._start = start
        self._options = options
        self._gather = Gather(options.packet_size)
        self._samples = WholeSamples()

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Adds `sample_rate` and `packet_size`."""
        url = with_query(
            request.url, sample_rate=self._options.output_sample_rate, packet_size=self._options.packet_size
        )
        return Upgrade(url, request.headers, request.subprotocols)

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """A message of `packet_size`. The protocol has one track: of several, the first is sent."""
        if track is not self._start.tracks[0]:
            return None
        whole = self._gather.add(payload, timestamp_ms)
        return None if whole is None else whole[0]

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """What audio still waits."""
        rest = self._gather.rest()
        return [] if rest is None else [rest[0]]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Binary is audio; RustPBX ignores text."""
        if isinstance(message, str):
            return (Rejected(RejectCause.UNKNOWN_EVENT, f"text message of {len(message)} characters"),)
        if not self._start.two_way:
            return (Rejected(RejectCause.OUT_OF_TURN, "audio on a stream that only listens"),)
        return (BotAudio(self._samples.add(message)),)
