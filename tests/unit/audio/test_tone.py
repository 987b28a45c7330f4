"""Tones are found where they are, and nothing is found where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from connector.audio.g711 import ulaw_decode, ulaw_encode
from connector.audio.tone import dominant_tone, sine


@given(hz=st.floats(200, 3400), dbfs=st.floats(-30, 0))
def test_a_tone_through_ulaw_is_found(hz: float, dbfs: float) -> None:
    found = dominant_tone(ulaw_decode(ulaw_encode(sine(hz, 1600, rate_hz=8000, dbfs=dbfs))), 8000)
    assert found.hz == pytest.approx(hz, abs=2)
    assert found.dbfs == pytest.approx(dbfs, abs=0.7)
    assert found.share > 0.95


def test_the_stronger_of_two_is_dominant() -> None:
    both = sine(1000, 1600, rate_hz=8000, dbfs=-12) + sine(600, 1600, rate_hz=8000, dbfs=-18)
    found = dominant_tone(both, 8000)
    assert found.hz == pytest.approx(1000, abs=1)
    assert found.share == pytest.approx(0.8, abs=0.02)


def test_parts_join_without_a_click() -> None:
    whole = sine(1234.5, 320, rate_hz=8000)
    parts = [sine(1234.5, 160, rate_hz=8000, start=start) for start in (0, 160)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_noise_has_no_share_worth_the_name() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 1600).astype(np.int16)
    assert dominant_tone(noise, 8000).share < 0.1


@pytest.mark.parametrize("samples", [np.zeros(1600, np.int16), np.full(1600, 500, np.int16), np.zeros(0, np.int16)])
def test_silence_has_no_tone(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
    assert dominant_tone(samples, 8000) == (0.0, -np.inf, 0.0)
