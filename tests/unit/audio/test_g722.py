"""G.722 against the reference code of ITU-T G.191 (Software Tools Library, g722demo at 64 kbit/s), bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from connector.audio.g722 import RATE_HZ, G722Codec
from connector.audio.tone import dominant_tone, sine

REFERENCE = np.load(Path(__file__).with_name("g722_reference.npz"))
"""100 ms each of a sweep from 50 Hz to 7 kHz, speech-like noise, silence and noise at 16 kHz; what the reference
encoder made of them, and the reference decoder of that."""


def test_encodes_as_the_reference_does() -> None:
    codec = G722Codec()
    frames = REFERENCE["samples"].reshape(-1, 320)
    assert b"".join(codec.encode(frame) for frame in frames) == REFERENCE["coded"].tobytes()


def test_decodes_as_the_reference_does() -> None:
    codec = G722Codec()
    frames = REFERENCE["coded"].reshape(-1, 160)
    decoded = np.concatenate([codec.decode(frame.tobytes()) for frame in frames])
    assert (decoded == REFERENCE["decoded"]).all()


def test_a_tone_keeps_its_pitch_and_level() -> None:
    codec = G722Codec()
    for hz in (300, 1000, 3400, 6000):
        heard = codec.decode(codec.encode(sine(hz, RATE_HZ, rate_hz=RATE_HZ)))
        tone = dominant_tone(heard[1600:], RATE_HZ)
        assert abs(tone.hz - hz) < 2
        assert abs(tone.dbfs + 10) < 0.5


def test_streams_have_states_of_their_own() -> None:
    frames = REFERENCE["samples"].reshape(-1, 320)
    one, other = G722Codec(), G722Codec()
    coded = []
    for frame in frames:
        coded.append(one.encode(frame))
        other.encode(frame[::-1])
    assert b"".join(coded) == REFERENCE["coded"].tobytes()
