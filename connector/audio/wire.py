"""How audio goes between Asterisk and us: by what, in which format each way, and what RTP says of it.

Asterisk names its formats (`ulaw`, `slin16`, ...); an ExternalMedia channel is asked for by such a name. Towards us it
sends what was asked for. Back, over RTP, it takes only payload types that have a number of their own in RFC 3551
section 6, whatever was asked for: what is sent as slin16 or opus is dropped without a word (seen on 16.28 and 22.10).
So wideband both ways over RTP is G.722, and 48 kHz goes one way alone. AudioSocket and chan_websocket carry the same
format both ways, linear in little-endian order.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from connector.audio.formats import AudioFormat, Encoding

PCMU = AudioFormat()
PCMA = AudioFormat(Encoding.PCMA)
G722 = AudioFormat(Encoding.G722, 16_000)


class Transport(enum.StrEnum):
    """What carries audio between Asterisk and us."""

    RTP = "rtp"
    """UDP, chan_rtp: on every version."""
    AUDIOSOCKET = "audiosocket"
    """TCP, Asterisk dials us: chan_audiosocket."""
    WEBSOCKET = "websocket"
    """We dial Asterisk's HTTP server: chan_websocket."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One way to carry audio.

    Attributes:
        transport: By what.
        codec: Asterisk's name of the format that it sends.
        heard: What Asterisk sends.
        said: What it takes.
        heard_type: RTP payload type of `heard`; 0 where there is no RTP.
        said_type: RTP payload type of `said`.
        heard_clock_hz: RTP clock of `heard`. That of `said` is 8000 always.
    """

    transport: Transport
    codec: str
    heard: AudioFormat
    said: AudioFormat
    heard_type: int = 0
    said_type: int = 0
    heard_clock_hz: int = 8_000

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"{self.transport.value}/{self.codec}"


def _linear(rate_hz: int, encoding: Encoding = Encoding.L16) -> AudioFormat:
    return AudioFormat(encoding, rate_hz)


def _rtp(codec: str, audio: AudioFormat, payload_type: int) -> Wire:
    return Wire(Transport.RTP, codec, audio, audio, payload_type, payload_type)


PLAIN = _rtp("ulaw", PCMU, 0)
"""What every Asterisk can."""

WireName = Literal[
    "rtp/ulaw",
    "rtp/alaw",
    "rtp/g722",
    "rtp/slin16",
    "rtp/slin48",
    "audiosocket/slin",
    "audiosocket/slin16",
    "audiosocket/slin48",
    "websocket/ulaw",
    "websocket/alaw",
    "websocket/g722",
    "websocket/slin",
    "websocket/slin16",
    "websocket/slin48",
]
"""Transport and codec, as in the settings."""

_SAME_BOTH_WAYS = {
    "ulaw": PCMU,
    "alaw": PCMA,
    "g722": G722,
    "slin": _linear(8_000),
    "slin16": _linear(16_000),
    "slin48": _linear(48_000),
}
_OVER_RTP = {
    "ulaw": PLAIN,
    "alaw": _rtp("alaw", PCMA, 8),
    "g722": _rtp("g722", G722, 9),
    "slin16": Wire(Transport.RTP, "slin16", _linear(16_000, Encoding.L16BE), G722, 118, 9, 16_000),
    "slin48": Wire(Transport.RTP, "slin48", _linear(48_000, Encoding.L16BE), G722, 126, 9, 48_000),
}


def _wire(name: str) -> Wire:
    transport, _, codec = name.partition("/")
    if transport == Transport.RTP:
        return _OVER_RTP[codec]
    audio = _SAME_BOTH_WAYS[codec]
    return Wire(Transport(transport), codec, audio, audio)


WIRES: Mapping[str, Wire] = MappingProxyType({name: _wire(name) for name in get_args(WireName)})
"""By name."""
