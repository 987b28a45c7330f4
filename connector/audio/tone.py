"""Sine tones, and finding them again: how audio is proved to have arrived."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32767.0


class Dominant(NamedTuple):
    """The strongest tone of a piece of audio.

    Attributes:
        hz: Its frequency; 0 in silence.
        dbfs: Its level against a full-scale sine; -inf in silence.
        share: Its part of the energy of all that is not DC, 0 to 1.
    """

    hz: float
    dbfs: float
    share: float


def sine(hz: float, count: int, *, rate_hz: int, start: int = 0, dbfs: float = -10.0) -> NDArray[np.int16]:
    """A part of an endless sine.

    Args:
        hz: Frequency, below half the rate.
        count: Samples wanted.
        rate_hz: Sample rate.
        start: Sample to begin at, so that successive parts join without a click.
        dbfs: Level against a full-scale sine, at most 0.

    Returns:
        Samples of shape (count,).
    """
    n = np.arange(start, start + count, dtype=np.float64)
    wave = FULL_SCALE * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz / rate_hz * n)
    return np.rint(wave).astype(np.int16)


def dominant_tone(samples: NDArray[np.int16], rate_hz: int) -> Dominant:
    """Finds the strongest tone by FFT (Hann window, the peak refined by a parabola through its neighbours).

    Args:
        samples: Shape (n,); the resolution is about rate_hz / n, so 200 ms separate tones 20 Hz apart.
        rate_hz: Sample rate.

    Returns:
        Frequency, level and share. Where there is no signal, or under 16 samples: 0, -inf, 0.
    """
    if samples.size < 16:
        return Dominant(0.0, -np.inf, 0.0)
    wave = samples.astype(np.float64)
    wave -= wave.mean()
    window = np.hanning(wave.size)
    power = np.abs(np.fft.rfft(wave * window)) ** 2
    power[0] = 0.0
    total = float(power.sum())
    if total <= 0.0:
        return Dominant(0.0, -np.inf, 0.0)
    peak = int(power.argmax())
    # A Hann window spreads a tone over its bin and two on either side.
    low, high = max(peak - 2, 0), min(peak + 3, power.size)
    energy = float(power[low:high].sum())
    # A sine of amplitude a holds a^2 / 4 * N * sum(window^2) in its half of the spectrum (Parseval).
    amplitude = np.sqrt(4.0 * energy / (wave.size * float((window**2).sum())))
    return Dominant(
        hz=(peak + _offset(power, peak)) * rate_hz / wave.size,
        dbfs=float(20 * np.log10(amplitude / FULL_SCALE)),
        share=energy / total,
    )


def seam_db(samples: NDArray[np.int16], hz: float, rate_hz: int, *, period_ms: int = 20) -> float:
    """How loud it clicks where frames join: the strongest line a multiple of the frame rate away from a tone.

    Args:
        samples: A second or more of the tone alone, shape (n,).
        hz: The tone; no multiple of the frame rate itself.
        rate_hz: Sample rate.
        period_ms: Length of a frame.

    Returns:
        Its level against the tone in dB. G.711 has -50 of its own noise in a line of a second; frames that do not
        join -30 and more.
    """
    power = np.abs(np.fft.rfft(samples * np.blackman(samples.size))) ** 2
    step = 1000 / period_ms
    bins = samples.size / rate_hz
    away = np.concatenate(
        (np.arange(hz - step, step, -step), np.arange(hz + step, min(rate_hz / 2, 4000) - step, step))
    )
    lines = power[np.rint(away * bins).astype(np.int64)]
    return float(10 * np.log10(lines.max() / power[round(hz * bins)]))


def _offset(power: NDArray[np.float64], peak: int) -> float:
    """Where the true maximum lies between bins, -0.5 to 0.5: vertex of a parabola through the logarithms."""
    if not 0 < peak < power.size - 1:
        return 0.0
    left, middle, right = np.log(np.maximum(power[peak - 1 : peak + 2], 1e-12))
    curvature = left - 2 * middle + right
    return 0.0 if curvature == 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))
