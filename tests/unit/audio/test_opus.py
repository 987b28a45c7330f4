"""Opus by its library, and without it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from connector.audio.opus import DECODED_HZ, OpusCodec, OpusMissing
from connector.audio.tone import dominant_tone, sine


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
def test_a_tone_survives(rate_hz: int) -> None:
    codec = OpusCodec(rate_hz)
    said = sine(1000, rate_hz, rate_hz=rate_hz).reshape(-1, rate_hz // 50)
    packets = [codec.encode(frame) for frame in said]
    assert all(10 < len(packet) < 160 for packet in packets)
    heard = np.concatenate([codec.decode(packet) for packet in packets])
    assert heard.size == DECODED_HZ
    tone = dominant_tone(heard[DECODED_HZ // 4 :], DECODED_HZ)
    assert abs(tone.hz - 1000) < 2
    assert abs(tone.dbfs + 10) < 0.5


def test_what_is_no_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="not an Opus packet"):
        OpusCodec(48000).decode(b"\xff\xff\xff\xff")


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OpusMissing, match=r"pip install 'asterisk-connector\[opus\]'"):
        OpusCodec(48000)
