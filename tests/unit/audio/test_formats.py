"""Sizes of frames."""

import pytest

from connector.audio.formats import AudioFormat, Encoding


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "frame_bytes"),
    [
        (Encoding.PCMU, 8000, 160),
        (Encoding.PCMA, 8000, 160),
        (Encoding.L16, 8000, 320),
        (Encoding.L16, 16000, 640),
        (Encoding.L16, 48000, 1920),
        (Encoding.L16BE, 16000, 640),
        (Encoding.G722, 16000, 160),
    ],
)
def test_a_frame_of_20_ms(encoding: Encoding, rate_hz: int, frame_bytes: int) -> None:
    assert AudioFormat(encoding, rate_hz).frame_bytes == frame_bytes


def test_opus_has_no_fixed_frame() -> None:
    with pytest.raises(ValueError, match="no fixed size"):
        _ = AudioFormat(Encoding.OPUS, 48000).frame_bytes
