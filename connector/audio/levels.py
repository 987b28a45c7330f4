"""What a piece of sound is like: level, silence, clipping, DC, and whether it sounds better read in another way.

Sound that is read with the wrong codec or byte order is noise: samples tell little of the one that follows. Speech,
music and tones can be predicted from the samples before (linear prediction, as every speech coder does it), so the
right reading is the one with the highest prediction gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.g711 import alaw_decode, ulaw_decode

FULL_SCALE = 32768.0
CLIPPED = 32_100
"""From this magnitude on a sample is at its codec's end: mu-law ends at 32124, A-law at 32256."""
SILENT_DBFS = -50.0
"""Of the mean power: what is below counts as silence. Comfort noise is about -60, a quiet speaker about -40."""
EMPTY_DBFS = -96.0
"""Digital silence, and the least that is told."""

_LOUD_ENOUGH = -40.0
_ORDER = 8
"""Samples that a prediction is made from: two for each of the formants below 4 kHz."""
_MIN_GAIN_DB = 8.0
"""Less is noise, however it is read."""
_BETTER_DB = 3.0
"""By how much another reading must be better predicted."""

_LINEAR = {Encoding.L16: "<i2", Encoding.L16BE: ">i2"}
READABLE = frozenset({Encoding.PCMU, Encoding.PCMA, Encoding.L16, Encoding.L16BE})
"""Encodings that can be looked at sample by sample."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one piece of sound is like.

    Attributes:
        samples: Its length.
        power: Mean square, 1.0 at full scale.
        peak: Largest magnitude, 1.0 at full scale.
        clipped: Samples at the end of the range.
        dc: Mean, -1.0 to 1.0.
    """

    samples: int
    power: float
    peak: float
    clipped: int
    dc: float

    @classmethod
    def of_sums(cls, samples: int, total: int, squares: int, peak: int, clipped: int) -> Look:
        """From sums over the samples, of which there is one at least.

        Args:
            samples: How many.
            total: Of all.
            squares: Of their squares.
            peak: The largest magnitude.
            clipped: How many are at the end of the range.
        """
        power, dc = squares / samples / FULL_SCALE**2, total / samples / FULL_SCALE
        return cls(samples, power, peak / FULL_SCALE, clipped, dc)

    @property
    def dbfs(self) -> float:
        """Mean power against full scale; a full-scale sine is at -3."""
        return dbfs(self.power)

    @property
    def silent(self) -> bool:
        """Nobody speaks."""
        return self.dbfs < SILENT_DBFS


def dbfs(power: float) -> float:
    """Mean square (1.0 at full scale) in dB, not below `EMPTY_DBFS`."""
    return max(EMPTY_DBFS, 10.0 * math.log10(power)) if power > 0 else EMPTY_DBFS


def read(payload: bytes, encoding: Encoding) -> NDArray[np.int16]:
    """Samples of a payload; a last odd byte of 16 bit audio is left out.

    Raises:
        ValueError: The encoding is none of `READABLE`.
    """
    if encoding is Encoding.PCMU:
        return ulaw_decode(payload)
    if encoding is Encoding.PCMA:
        return alaw_decode(payload)
    if encoding in _LINEAR:
        return np.frombuffer(payload, _LINEAR[encoding], len(payload) // 2).astype(np.int16)
    raise ValueError(f"{encoding} has no samples to look at")


def look(samples: NDArray[np.int16]) -> Look:
    """Looks at a piece of sound, shape (n,)."""
    if not samples.size:
        return Look(0, 0.0, 0.0, 0, 0.0)
    wave = samples.astype(np.float32)
    total, square = float(wave.sum()), float(wave @ wave)
    peak = float(max(-int(samples.min()), int(samples.max())))
    mean = total / wave.size
    return Look(
        samples=wave.size,
        power=square / wave.size / FULL_SCALE**2,
        peak=peak / FULL_SCALE,
        clipped=int(np.count_nonzero((samples >= CLIPPED) | (samples <= -CLIPPED))) if peak >= CLIPPED else 0,
        dc=mean / FULL_SCALE,
    )


def prediction_gain_db(samples: NDArray[np.int16]) -> float:
    """By how much linear prediction from 8 samples lowers the power (Markel and Gray, Linear Prediction of Speech).

    0 for white noise and silence, 10 to 40 for speech and tones.
    """
    wave = samples.astype(np.float64)
    wave -= wave.mean() if wave.size else 0.0
    if wave.size < 4 * _ORDER or not wave.any():
        return 0.0
    # Least squares by the normal equations: a tenth of what a decomposition costs, and tones need no more precision.
    windows = np.lib.stride_tricks.sliding_window_view(wave, _ORDER + 1).T.copy()
    products = windows @ windows.T
    within, across, power = products[:_ORDER, :_ORDER], products[:_ORDER, _ORDER], float(products[_ORDER, _ORDER])
    weights = np.linalg.solve(within + np.eye(_ORDER) * (float(within.trace()) * 1e-9 + 1e-9), across)
    left = power - 2.0 * float(weights @ across) + float(weights @ within @ weights)
    return 10.0 * math.log10(power / max(left, power * 1e-6)) if power > 0 else 0.0


def sounds_like(payload: bytes, encoding: Encoding) -> Encoding | None:
    """How a loud payload makes more sense than as it is declared.

    Args:
        payload: As it came; 50 ms of it or more.
        encoding: As which it was declared, one of `READABLE`.

    Returns:
        Another encoding, or None where the declared one may be right.
    """
    declared = read(payload, encoding)
    if look(declared).dbfs < _LOUD_ENOUGH:
        return None
    gains = {other: prediction_gain_db(read(payload, other)) for other in READABLE if other is not encoding}
    best = max(gains, key=lambda other: gains[other])
    if gains[best] < _MIN_GAIN_DB or gains[best] < prediction_gain_db(declared) + _BETTER_DB:
        return None
    return best


def narrowband(samples: NDArray[np.int16], rate_hz: int) -> bool | None:
    """Whether sound has been at half its rate before: it stops at a quarter of the rate as at a wall.

    Args:
        samples: 100 ms or more.
        rate_hz: Its rate.

    Returns:
        None where the sound has too little just below the wall to tell.
    """
    if samples.size < rate_hz // 10:
        return None
    wave = samples.astype(np.float64)
    power = np.abs(np.fft.rfft(wave * np.hanning(wave.size))) ** 2
    hz = np.fft.rfftfreq(wave.size, 1 / rate_hz)
    wall = rate_hz / 4
    below = float(power[(hz > wall * 0.70) & (hz < wall * 0.85)].mean())
    above = float(power[(hz > wall * 1.15) & (hz < wall * 1.6)].mean())
    whole = float(power.mean())
    if below <= whole * 1e-4:  # 40 dB under the mean: a tone, or a voice without hiss
        return None
    return above < below * 1e-3


def describe(audio: AudioFormat) -> str:
    """A format in words for a person."""
    return f"{audio.encoding.value} at {audio.rate_hz} Hz"
