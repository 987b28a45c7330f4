"""The instrument that says which tone came back."""

from __future__ import annotations

import numpy as np
import pytest

from connector.lab.report import TONE_TOLERANCE_HZ
from connector.lab.rtp import RATE_HZ, burst_source
from connector.lab.traffic import BURST_MS, BURST_PERIOD_MS, FIRST_TONE_HZ, TONE_STEP_HZ, TONES, burst_hz


@pytest.mark.parametrize("number", [0, 1, 17, TONES - 1])
@pytest.mark.parametrize("gap_ms", [0, 20, 47])
def test_the_tone_of_bursts_is_found_whatever_silence_lies_between(number: int, gap_ms: int) -> None:
    hz = FIRST_TONE_HZ + TONE_STEP_HZ * number
    sent = burst_source(hz, on_ms=BURST_MS, period_ms=BURST_PERIOD_MS)(0, 3 * RATE_HZ)
    gap = np.zeros(gap_ms * RATE_HZ // 1000, np.int16)
    pieces = np.array_split(sent[BURST_MS * RATE_HZ // 1000 :], 7)
    heard = np.concatenate([part for piece in pieces for part in (piece, gap)])
    assert burst_hz(heard) == pytest.approx(hz, abs=TONE_TOLERANCE_HZ)


def test_silence_has_no_tone() -> None:
    assert burst_hz(np.zeros(8_000, np.int16)) == 0.0
    assert burst_hz(np.zeros(0, np.int16)) == 0.0
