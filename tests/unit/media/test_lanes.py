"""Streams that need different conversions, converted together."""

from __future__ import annotations

import numpy as np
import pytest

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.g711 import ulaw_decode
from connector.audio.transcode import silence
from connector.media.lanes import Lanes

PCMU, PCMA = AudioFormat(), AudioFormat(Encoding.PCMA)
LINEAR = AudioFormat(Encoding.L16, 8_000)
WIDE = AudioFormat(Encoding.L16, 16_000)


def test_each_row_gets_its_own_conversion() -> None:
    lanes = Lanes(2)
    lanes.open(0, PCMU, PCMU)
    lanes.open(1, PCMU, LINEAR)
    lanes.grow(8)
    lanes.open(5, PCMU, WIDE)
    lanes.open(7, PCMU, LINEAR)
    frames = [bytes(range(40, 200)), bytes(range(41, 201)), bytes(range(42, 202)), b""]
    wide, plain, linear, quiet = lanes.convert(np.array([5, 0, 7, 1]), frames)
    assert len(wide) == 640
    assert plain == frames[1]
    assert linear == ulaw_decode(frames[2]).astype("<i2").tobytes()
    assert quiet == bytes(320)


def test_rows_of_one_lane_keep_their_order() -> None:
    lanes = Lanes(4)
    for row in range(4):
        lanes.open(row, PCMU, LINEAR)
    frames = [bytes([value]) * 160 for value in (1, 2, 3)]
    converted = lanes.convert(np.array([3, 0, 2]), frames)
    assert converted == [ulaw_decode(frame).astype("<i2").tobytes() for frame in frames]


def test_a_row_given_on_has_the_new_streams_conversion_and_none_of_its_sound() -> None:
    lanes = Lanes(1)
    lanes.open(0, PCMU, WIDE)
    row = np.array([0])
    lanes.convert(row, [b"\x80" * 160])
    lanes.open(0, PCMU, WIDE)
    assert lanes.convert(row, [b""]) == [bytes(640)]
    lanes.open(0, PCMU, PCMA)
    assert lanes.convert(row, [b""]) == [silence(PCMA)]


def test_what_cannot_be_resampled_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="cannot resample"):
        Lanes(1).open(0, PCMU, AudioFormat(Encoding.L16, 11_025))
