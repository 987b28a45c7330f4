"""Resampling: level, images, and that no seam between frames can be heard."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.audio.resample import RATES_HZ, Resampler, delay_ms
from connector.audio.tone import dominant_tone, sine

PAIRS = list(itertools.permutations(RATES_HZ, 2))
ROW = np.zeros(1, np.int64)


def resampled(wave: NDArray[np.int16], source_hz: int, target_hz: int, piece_ms: int = 20) -> NDArray[np.int16]:
    resampler = Resampler(source_hz, target_hz)
    size = source_hz * piece_ms // 1000
    pieces = wave[: wave.size // size * size].reshape(-1, 1, size)
    return np.concatenate([resampler.convert(piece, ROW)[0] for piece in pieces])


def spectrum_db(wave: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level of each hertz against full scale, of the last second."""
    window = np.blackman(wave.size)
    return np.asarray(20 * np.log10(np.abs(np.fft.rfft(wave * window)) / (window.sum() / 2 * 32767) + 1e-12))


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_nothing_but_the_tone_comes_out(source_hz: int, target_hz: int) -> None:
    """Frames of 20 ms that did not join would show as lines 50 Hz apart; images and aliases as lines elsewhere."""
    said = sine(1010, 2 * source_hz, rate_hz=source_hz)
    heard = resampled(said, source_hz, target_hz)[-target_hz:]
    levels = spectrum_db(heard)
    assert int(levels.argmax()) == 1010
    assert abs(levels.max() + 10) < 0.05
    beside = np.abs(np.arange(levels.size) - 1010) > 3
    assert levels[beside].max() < -85


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_flat_to_the_end_of_the_band(source_hz: int, target_hz: int) -> None:
    lower_hz = min(source_hz, target_hz)
    for hz in (0.01 * lower_hz, 0.2 * lower_hz, 0.425 * lower_hz):
        heard = resampled(sine(hz, 2 * source_hz, rate_hz=source_hz), source_hz, target_hz)[-target_hz:]
        assert abs(dominant_tone(heard, target_hz).dbfs + 10) < 0.1


@pytest.mark.parametrize(("source_hz", "target_hz"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_carry_is_gone(source_hz: int, target_hz: int) -> None:
    said = sine(0.55 * target_hz, 2 * source_hz, rate_hz=source_hz)
    assert spectrum_db(resampled(said, source_hz, target_hz)[-target_hz:]).max() < -10 - 65


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_the_size_of_pieces_changes_nothing(source_hz: int, target_hz: int) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, source_hz // 5).astype(np.int16)
    whole = resampled(noise, source_hz, target_hz, piece_ms=200).astype(np.int32)
    for piece_ms in (1, 10, 20):
        # The order of additions in a matrix product is the library's own: a sum at a half may round either way.
        assert np.abs(resampled(noise, source_hz, target_hz, piece_ms) - whole).max() <= 1


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_the_delay_is_as_stated(source_hz: int, target_hz: int) -> None:
    said = np.zeros(source_hz // 5, np.int16)
    said[source_hz // 10] = 30_000
    peak = int(np.abs(resampled(said, source_hz, target_hz).astype(np.int32)).argmax())
    assert abs(peak * 1000 / target_hz - 100 - delay_ms(source_hz, target_hz)) <= 500 / target_hz + 1e-6


def test_delays() -> None:
    assert round(delay_ms(8000, 48000), 2) == 2.7
    assert round(delay_ms(24000, 16000), 2) == 1.35
    assert round(delay_ms(48000, 24000), 2) == 0.9
    assert delay_ms(8000, 8000) == 0


def test_rows_are_streams_of_their_own() -> None:
    waves = np.random.default_rng(0).integers(-9000, 9000, (3, 800)).astype(np.int16)
    together = Resampler(8000, 16000, capacity=1)
    together.grow(3)
    order = np.array([2, 0, 1])
    both = np.concatenate([together.convert(waves[:, at : at + 160], order) for at in range(0, 800, 160)], axis=1)
    for wave, out in zip(waves, both, strict=True):
        assert np.abs(resampled(wave, 8000, 16000).astype(np.int32) - out).max() <= 1


def test_a_new_stream_hears_nothing_of_the_one_before() -> None:
    resampler = Resampler(16000, 8000)
    resampler.convert(np.full((1, 320), 30_000, np.int16), ROW)
    resampler.reset(0)
    assert not resampler.convert(np.zeros((1, 320), np.int16), ROW).any()


def test_full_scale_is_cut_and_not_wrapped() -> None:
    square = np.where(np.arange(1600) // 40 % 2, 32767, -32768).astype(np.int16)
    for source_hz, target_hz in PAIRS:
        heard = resampled(square, source_hz, target_hz).astype(np.int32)
        middle = heard[heard.size // 2 :]
        steps = np.abs(np.diff(middle))
        assert middle.max() == 32767
        assert middle.min() == -32768
        assert steps.max() < 65_000  # a wrapped sample would jump by all 65,535


@pytest.mark.parametrize(("source_hz", "target_hz"), [(8000, 8000), (8000, 11025), (44100, 8000)])
def test_other_rates_are_refused(source_hz: int, target_hz: int) -> None:
    with pytest.raises(ValueError, match=r"cannot resample from \d+ to \d+ Hz"):
        Resampler(source_hz, target_hz)
