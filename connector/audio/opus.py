"""Opus (RFC 6716) by libopus, of the optional extra `opus`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECODED_HZ = 48_000
"""The decoder's rate, whatever was encoded."""
BITS_PER_S = 32_000
"""RFC 7587 section 3.1.1 has 28 to 40 kbit/s for full-band speech, 16 to 20 for wideband."""


class OpusMissing(RuntimeError):
    """The library is not installed."""

    def __init__(self) -> None:
        super().__init__("Opus needs the extra `opus`: pip install 'asterisk-connector[opus]'")


class OpusCodec:
    """Both ways of one stream.

    Args:
        rate_hz: Of the samples to encode: 8000, 16000, 24000 or 48000.
        frame_ms: Of each frame to encode: 10, 20, 40 or 60.

    Raises:
        OpusMissing: The library is not installed.
    """

    def __init__(self, rate_hz: int, frame_ms: int = 20) -> None:
        try:
            import av
        except ImportError:
            raise OpusMissing from None
        self._av = av
        self._rate_hz = rate_hz
        self._encoder = av.CodecContext.create("libopus", "w")
        self._encoder.sample_rate = rate_hz
        self._encoder.layout = "mono"
        self._encoder.format = "s16"
        self._encoder.bit_rate = BITS_PER_S
        self._encoder.options = {"application": "voip", "frame_duration": str(frame_ms)}
        self._decoder = av.CodecContext.create("libopus", "r")
        self._decoder.layout = "mono"
        self._decoder.sample_rate = DECODED_HZ

    def decode(self, packet: bytes) -> NDArray[np.int16]:
        """The next packet, as samples at `DECODED_HZ`.

        Raises:
            ValueError: It is no Opus packet.
        """
        try:
            frames = self._decoder.decode(self._av.Packet(packet))
        except self._av.FFmpegError as error:
            raise ValueError(f"not an Opus packet: {error}") from None
        pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """One frame of samples as one packet."""
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))
