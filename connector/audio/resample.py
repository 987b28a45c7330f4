"""Streams from one sample rate to another, without a seam between frames.

A windowed sinc, evaluated for one millisecond of output at a time: that millisecond is a matrix product of the samples
around it, so a frame of many streams is one product, and what a stream keeps between frames are the last samples
alone. Cutting audio into other pieces gives the same samples, bit for bit.

Libraries were measured for this. `soxr`, the best known, filters by FFT in blocks and holds back 20 to 175 ms at any
of its filtering qualities; a call has 5 ms to spend.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATES_HZ = (8_000, 16_000, 24_000, 48_000)
PASS_SHARE, STOP_SHARE = 0.425, 0.525
"""Of the lower rate: flat up to the one (3.4 kHz at 8 kHz, the telephone band), silent from the other."""
STOP_DB = 70.0
"""Below that: the noise of G.711 itself is at 38."""

Samples = NDArray[np.int16]


def delay_ms(source_hz: int, target_hz: int) -> float:
    """How much later sound comes out: 2.72 ms where the lower rate is 8 kHz, half of it at 16 kHz; 0 for the same."""
    return 0.0 if source_hz == target_hz else 1000 * _half_width_s(min(source_hz, target_hz))


class Resampler:
    """Resamples the audio of many streams, each a row.

    Args:
        source_hz: One of `RATES_HZ`.
        target_hz: One of `RATES_HZ`, another.
        capacity: Rows.

    Attributes:
        kernel: What makes a millisecond of output of the input up to its end: shape (input samples, output samples).
        past: Shape (rows, samples): the input that the next millisecond needs too.

    Raises:
        ValueError: Other rates.
    """

    def __init__(self, source_hz: int, target_hz: int, *, capacity: int = 1) -> None:
        self._block = source_hz // 1000
        self.kernel = _kernel(source_hz, target_hz)
        self.past: NDArray[np.float32] = np.zeros((capacity, len(self.kernel) - self._block), np.float32)

    def grow(self, capacity: int) -> None:
        """Makes room for more rows; those there are stay."""
        self.past = np.concatenate((self.past, np.zeros((capacity - len(self.past), self.past.shape[1]), "f4")))

    def reset(self, row: int) -> None:
        """The row belongs to another stream now: it has heard silence so far."""
        self.past[row] = 0

    def convert(self, samples: Samples, rows: NDArray[np.int64]) -> Samples:
        """The next piece of each of these rows.

        Args:
            samples: Shape (n, k), k whole milliseconds.
            rows: Shape (n,), each row once.

        Returns:
            Shape (n, k at the other rate).
        """
        count, size = samples.shape
        width, out = self.kernel.shape
        known = np.concatenate((self.past[rows], samples), axis=1, dtype=np.float32, casting="same_kind")
        self.past[rows] = known[:, size:]
        blocks = size // self._block
        across, along = known.strides
        windows = np.ndarray((count, blocks, width), np.float32, known, 0, (across, along * self._block, along))
        wave = windows.reshape(-1, width) @ self.kernel
        np.rint(wave, out=wave)
        np.clip(wave, -32768, 32767, out=wave)
        return wave.astype(np.int16).reshape(count, blocks * out)


def _half_width_s(lower_hz: int) -> float:
    """Half the length of a Kaiser window for that attenuation and transition (Kaiser 1974)."""
    transition = 2 * math.pi * (STOP_SHARE - PASS_SHARE)
    return (STOP_DB - 7.95) / (2.285 * transition) / 2 / lower_hz


@lru_cache
def _kernel(source_hz: int, target_hz: int) -> NDArray[np.float32]:
    """What makes a millisecond of output of the input up to its end: shape (input samples, output samples)."""
    if source_hz == target_hz or not {source_hz, target_hz} <= set(RATES_HZ):
        raise ValueError(f"cannot resample from {source_hz} to {target_hz} Hz: two of {RATES_HZ}")
    lower_hz = min(source_hz, target_hz)
    half_s = _half_width_s(lower_hz)
    block = source_hz // 1000
    past = math.ceil(2 * half_s * source_hz)
    heard_s = (np.arange(past + block) - past) / source_hz
    said_s = np.arange(target_hz // 1000) / target_hz - half_s
    apart_s = said_s[None, :] - heard_s[:, None]
    inside = np.clip(1 - (apart_s / half_s) ** 2, 0, None)
    beta = 0.1102 * (STOP_DB - 8.7)
    window = np.where(inside > 0, np.i0(beta * np.sqrt(inside)), 0)
    kernel = window * np.sinc((PASS_SHARE + STOP_SHARE) * lower_hz * apart_s)
    kernel /= kernel.sum(axis=0)  # so that each phase passes DC alike: else DC would come out with a ripple
    return kernel.astype(np.float32)
