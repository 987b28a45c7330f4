"""The outline of a recording is where its sound is, of every kind of file that is written."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from connector.audio.tone import sine
from connector.media.peaks import Peaks, Unreadable, peaks_of

RATE_HZ = 8_000


def stereo(seconds: int) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """The caller in the first half, the other side, half as loud, in the second."""
    half = seconds * RATE_HZ // 2
    sound = np.zeros((2 * half, 2), np.int16)
    sound[:half, 0] = sine(1000, half, rate_hz=RATE_HZ, dbfs=-3)
    sound[half:, 1] = sine(600, half, rate_hz=RATE_HZ, dbfs=-9)
    return sound


def written(path: Path, sound: np.ndarray[tuple[int, int], np.dtype[np.int16]]) -> Path:
    if path.suffix == ".wav":
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(sound.tobytes())
    else:
        soundfile.write(path, sound.astype(np.int32) << 16, RATE_HZ)
    return path


def assert_outline(found: Peaks, bins: int) -> None:
    assert len(found.left) == len(found.right) == bins
    middle, edge = bins // 2, max(1, bins // 20)  # a lossy file begins a little early
    assert np.allclose(found.left[edge : middle - edge], 180, atol=12)
    assert max(found.left[middle + edge :]) < 12
    assert max(found.right[: middle - edge]) < 12
    assert np.allclose(found.right[middle + edge : -edge], 90, atol=12)


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_each_kind_of_file_has_the_outline_of_its_sound(tmp_path: Path, container: str) -> None:
    found = peaks_of(written(tmp_path / f"a.{container}", stereo(20)), bins=100)
    assert found.duration_ms == pytest.approx(20_000, abs=100)
    assert_outline(found, 100)


def test_a_long_one_is_read_in_pieces_and_a_short_one_has_fewer_parts(tmp_path: Path) -> None:
    assert_outline(peaks_of(written(tmp_path / "long.wav", stereo(60)), bins=7), 7)
    assert len(peaks_of(written(tmp_path / "short.wav", stereo(20)[:5])).left) == 5
    assert peaks_of(written(tmp_path / "none.wav", stereo(20)[:0])) == Peaks(duration_ms=0, left=(0,), right=(0,))


def test_full_scale_fits(tmp_path: Path) -> None:
    sound = np.full((800, 2), -32_768, np.int16)
    assert set(peaks_of(written(tmp_path / "a.wav", sound), bins=10).left) == {255}


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF" + bytes(100), b"no sound at all" * 100])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
def test_what_is_no_sound_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=name):
        peaks_of(tmp_path / name)


def test_one_channel_is_no_recording_of_ours(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, stereo(1)[:, 0], RATE_HZ)
        with pytest.raises(Unreadable):
            peaks_of(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        peaks_of(tmp_path / "a.wav")
