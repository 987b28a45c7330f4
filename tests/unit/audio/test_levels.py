"""Levels as defined, and sound that was read in the wrong way found out, without a false alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.audio import g711, levels
from connector.audio.formats import Encoding
from connector.audio.tone import sine

RATE_HZ = 8000


def voice(count: int, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """A hum with 24 harmonics that moves as speech does, and a little noise."""
    t = np.arange(count) / rate_hz
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(6 * np.pi * t)) / rate_hz
    wave = sum(np.sin(k * pitch) / k**1.2 * (1 + 0.5 * np.sin(8 * np.pi * t + k)) for k in range(1, 25))
    noise = np.random.default_rng(1).normal(0, 40, count)
    return np.asarray(wave / np.abs(wave).max() * 8000 + noise, np.float64).astype(np.int16)


def written(samples: NDArray[np.int16], encoding: Encoding) -> bytes:
    ways: dict[Encoding, Any] = {
        Encoding.PCMU: g711.ulaw_encode,
        Encoding.PCMA: g711.alaw_encode,
        Encoding.L16: lambda samples: samples.astype("<i2"),
        Encoding.L16BE: lambda samples: samples.astype(">i2"),
    }
    result: bytes = ways[encoding](samples).tobytes()
    return result


SOUNDS = {
    "voice": voice(800),
    "600 Hz": sine(600, 800, rate_hz=RATE_HZ),
    "quiet 300 Hz": sine(300, 800, rate_hz=RATE_HZ, dbfs=-30),
    "chord": sine(440, 800, rate_hz=RATE_HZ, dbfs=-12)
    + sine(1210, 800, rate_hz=RATE_HZ, dbfs=-14)
    + sine(2500, 800, rate_hz=RATE_HZ, dbfs=-16),
}
NO_SENSE = {
    "noise": np.random.default_rng(2).normal(0, 2000, 800).astype(np.int16),
    "1000 Hz": sine(1000, 800, rate_hz=RATE_HZ),
    "2000 Hz": sine(2000, 800, rate_hz=RATE_HZ),
    "3000 Hz": sine(3000, 800, rate_hz=RATE_HZ),
    "silence": np.zeros(800, np.int16),
}
"""Noise, and tones whose period is a few whole samples: every reading of them repeats."""


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("right", sorted(levels.READABLE))
@pytest.mark.parametrize("declared", sorted(levels.READABLE))
def test_a_wrong_reading_is_found_and_the_right_one_is_left_alone(
    name: str, right: Encoding, declared: Encoding
) -> None:
    found = levels.sounds_like(written(SOUNDS[name], right), declared)
    assert found == (None if declared is right else right)


@pytest.mark.parametrize("name", NO_SENSE)
@pytest.mark.parametrize("right", sorted(levels.READABLE))
def test_what_makes_no_sense_is_no_false_alarm(name: str, right: Encoding) -> None:
    assert levels.sounds_like(written(NO_SENSE[name], right), right) is None


def test_levels_are_mean_power_against_full_scale() -> None:
    loud = levels.look(sine(600, 8000, rate_hz=RATE_HZ, dbfs=0))
    assert loud.dbfs == pytest.approx(-3.01, abs=0.01)
    assert loud.peak == pytest.approx(1, abs=0.001)
    assert loud.clipped > 0
    soft = levels.look(sine(600, 8000, rate_hz=RATE_HZ, dbfs=-20))
    assert soft.dbfs == pytest.approx(-23.01, abs=0.01)
    assert (soft.clipped, soft.silent) == (0, False)
    assert levels.look(np.zeros(160, np.int16)).dbfs == levels.EMPTY_DBFS
    assert levels.look(np.zeros(0, np.int16)).silent
    assert levels.look(np.full(160, 3277, np.int16)).dc == pytest.approx(0.1, abs=0.001)
    assert levels.look(np.full(160, -32768, np.int16)).peak == 1


def test_sound_that_was_at_half_the_rate_ends_as_at_a_wall() -> None:
    rate_hz = 16_000
    noise = np.random.default_rng(3).normal(0, 3000, 3200)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(noise.size, 1 / rate_hz) > 3900] = 0
    assert levels.narrowband(np.fft.irfft(spectrum).astype(np.int16), rate_hz) is True
    assert levels.narrowband(noise.astype(np.int16), rate_hz) is False
    assert levels.narrowband(sine(600, 3200, rate_hz=rate_hz), rate_hz) is None
    assert levels.narrowband(np.zeros(3200, np.int16), rate_hz) is None
    assert levels.narrowband(noise[:100].astype(np.int16), rate_hz) is None


def test_a_format_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        levels.read(b"x", Encoding.OPUS)
    assert levels.read(b"\x01\x02\x03", Encoding.L16).tolist() == [0x0201]
