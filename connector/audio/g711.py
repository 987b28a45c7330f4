"""Mu-law and A-law, exact to ITU-T G.711 (11/88) as its reference code (ITU-T G.191, STL) computes them, by table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
ULAW_SILENCE = 0xFF
"""Mu-law of the sample 0 (RFC 3551 section 4.5.14)."""
ALAW_SILENCE = 0xD5
"""A-law of the smallest positive sample; A-law has no 0."""


def _ulaw_to_linear() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_to_linear() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    linear_segment = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear_segment, (linear_segment + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _segment(magnitude: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Number of bits of each value beyond the lowest `width`."""
    beyond = magnitude[:, None] >> (width + np.arange(8, dtype=np.int32)) != 0
    return np.asarray(beyond.sum(axis=1), np.int32)


def _linear_to_ulaw() -> NDArray[np.uint8]:
    linear = np.arange(-32768, 32768, dtype=np.int32)
    # The recommendation quantises 14 bits and biases by 33 so that all segments begin at a power of two. Negative
    # samples go by one's complement, which keeps the halves symmetric.
    biased = np.minimum((np.where(linear < 0, ~linear, linear) >> 2) + 33, 0x1FFF)
    segment = _segment(biased, 6)
    code = (segment << 4) | ((biased >> (segment + 1)) & 15)
    return np.asarray(~np.where(linear < 0, code | 0x80, code) & 0xFF, np.uint8)


def _linear_to_alaw() -> NDArray[np.uint8]:
    linear = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.where(linear < 0, ~linear, linear) >> 4
    segment = _segment(magnitude, 4)
    code = (segment << 4) | ((magnitude >> np.maximum(segment - 1, 0)) & 15)
    return (np.where(linear < 0, code, code | 0x80) ^ 0x55).astype(np.uint8)


_ULAW_DECODE = _ulaw_to_linear()
_ALAW_DECODE = _alaw_to_linear()
# Indexed by the sample's 16 bits read as unsigned, so a lookup needs no offset.
_ULAW_ENCODE = np.roll(_linear_to_ulaw(), -32768)
_ALAW_ENCODE = np.roll(_linear_to_alaw(), -32768)


def ulaw_decode(payload: bytes | NDArray[np.uint8]) -> NDArray[np.int16]:
    """Mu-law to linear PCM.

    Args:
        payload: Bytes, or an array of them of any shape.

    Returns:
        Samples of the same shape, -32124 to 32124.
    """
    return _ULAW_DECODE[_octets(payload)]


def ulaw_encode(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Linear PCM of any shape to mu-law of the same shape; `.tobytes()` makes a payload."""
    return _ULAW_ENCODE[samples.view(np.uint16)]


def alaw_decode(payload: bytes | NDArray[np.uint8]) -> NDArray[np.int16]:
    """A-law to linear PCM.

    Args:
        payload: Bytes, or an array of them of any shape.

    Returns:
        Samples of the same shape, -32256 to 32256.
    """
    return _ALAW_DECODE[_octets(payload)]


def alaw_encode(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Linear PCM of any shape to A-law of the same shape; `.tobytes()` makes a payload."""
    return _ALAW_ENCODE[samples.view(np.uint16)]


def _octets(payload: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, np.uint8)
