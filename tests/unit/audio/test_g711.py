"""G.711 against the recommendation: its tables, and its reference code's way of computing."""

from __future__ import annotations

import numpy as np
import pytest

from connector.audio.g711 import ALAW_SILENCE, ULAW_SILENCE, alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)
ALL_CODES = np.arange(256, dtype=np.uint8)


def ulaw_compress(sample: int) -> int:
    """ITU-T G.191, one sample at a time."""
    magnitude = min(((~sample if sample < 0 else sample) >> 2) + 33, 0x1FFF)
    segment, rest = 1, magnitude >> 6
    while rest:
        segment, rest = segment + 1, rest >> 1
    code = ((8 - segment) << 4) | (15 - ((magnitude >> segment) & 15))
    return code | 0x80 if sample >= 0 else code


def alaw_compress(sample: int) -> int:
    """ITU-T G.191, one sample at a time."""
    code = (~sample if sample < 0 else sample) >> 4
    if code > 15:
        exponent = 1
        while code > 31:
            code, exponent = code >> 1, exponent + 1
        code = code - 16 + (exponent << 4)
    return (code | 0x80 if sample >= 0 else code) ^ 0x55


def test_every_sample_is_encoded_as_the_reference_does() -> None:
    assert ulaw_encode(ALL_SAMPLES).tolist() == [ulaw_compress(int(sample)) for sample in ALL_SAMPLES]
    assert alaw_encode(ALL_SAMPLES).tolist() == [alaw_compress(int(sample)) for sample in ALL_SAMPLES]


@pytest.mark.parametrize(
    ("code", "sample"),
    [
        (0x80, 32124),
        (0x00, -32124),
        (0xFF, 0),
        (0x7F, 0),
        (0xFE, 8),
        (0x7E, -8),
        (0xF0, 120),
        (0xEF, 132),
        (0x8F, 16764),
    ],
)
def test_ulaw_decodes_to_the_values_of_table_2(code: int, sample: int) -> None:
    assert ulaw_decode(bytes([code])).tolist() == [sample]


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xC5, 264), (0xDA, 248), (0xF5, 528), (0x80, 5504)],
)
def test_alaw_decodes_to_the_values_of_table_1(code: int, sample: int) -> None:
    assert alaw_decode(bytes([code])).tolist() == [sample]


def test_every_code_survives_decoding_and_encoding() -> None:
    back = ulaw_encode(ulaw_decode(ALL_CODES))
    # Mu-law has a zero of either sign; the positive one is the one to send.
    assert back.tolist() == [0xFF if code == 0x7F else code for code in range(256)]
    assert alaw_encode(alaw_decode(ALL_CODES)).tolist() == list(range(256))


def test_the_error_is_never_over_half_a_step() -> None:
    for encode, decode, smallest_step in ((ulaw_encode, ulaw_decode, 8), (alaw_encode, alaw_decode, 16)):
        samples = ALL_SAMPLES[np.abs(ALL_SAMPLES.astype(np.int32)) <= 32124]
        error = np.abs(decode(encode(samples)).astype(np.int32) - samples)
        # 16 steps to a segment, each segment twice the one before: a step is at most a 16th of the biased magnitude.
        allowed = np.maximum(smallest_step, (np.abs(samples.astype(np.int32)) + 132) / 32 + 4)
        assert (error <= allowed).all()


def test_silence() -> None:
    assert ulaw_encode(np.zeros(1, np.int16)).tolist() == [ULAW_SILENCE]
    assert alaw_encode(np.zeros(1, np.int16)).tolist() == [ALAW_SILENCE]


def test_shapes_are_kept() -> None:
    rows = ALL_SAMPLES[:480].reshape(3, 160)
    assert ulaw_encode(rows).shape == (3, 160)
    assert alaw_decode(alaw_encode(rows)).shape == (3, 160)
    assert ulaw_decode(b"").shape == (0,)
