"""What a run of audio bytes means: its encoding, its rate, and how long a frame is."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Encoding(enum.StrEnum):
    """How samples are written. Names as in RFC 3551 and RFC 7587, in lower case."""

    PCMU = "pcmu"
    """mu-law, ITU-T G.711."""
    PCMA = "pcma"
    """A-law, ITU-T G.711."""
    L16 = "l16"
    """16 bit linear, little-endian: as WebSocket peers, AudioSocket and chan_websocket have it."""
    L16BE = "l16be"
    """16 bit linear, big-endian: as RTP has it (RFC 3551 section 4.5.11). The other order is heard as white noise."""
    G722 = "g722"
    """16 kHz wideband in 64 kbit/s; its RTP clock says 8000 (RFC 3551 section 4.5.2)."""
    OPUS = "opus"


_BYTES_PER_SAMPLE = {
    Encoding.PCMU: 1.0,
    Encoding.PCMA: 1.0,
    Encoding.L16: 2.0,
    Encoding.L16BE: 2.0,
    Encoding.G722: 0.5,
}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono audio.

    Attributes:
        encoding: How samples are written.
        rate_hz: Samples a second; 16000 for G.722.
        frame_ms: Length of one frame.
    """

    encoding: Encoding = Encoding.PCMU
    rate_hz: int = 8000
    frame_ms: int = 20

    @property
    def frame_samples(self) -> int:
        """Samples of one frame."""
        return self.rate_hz * self.frame_ms // 1000

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame.

        Raises:
            ValueError: Opus frames have no fixed size.
        """
        if self.encoding is Encoding.OPUS:
            raise ValueError("an Opus frame has no fixed size")
        return int(self.frame_samples * _BYTES_PER_SAMPLE[self.encoding])
