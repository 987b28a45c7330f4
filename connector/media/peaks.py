"""The outline of a recording: how loud each side is along it, for a picture to seek in."""

from __future__ import annotations

import wave
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS_MAX = 600
"""About as many as a page has room for."""
BLOCK_FRAMES = 65_536
FULL_SCALE = 255


class Unreadable(Exception):
    """The file is no sound, or of a kind that cannot be read here; the text is a sentence."""


class Peaks(msgspec.Struct, frozen=True, kw_only=True):
    """An outline.

    Attributes:
        duration_ms: Of the sound.
        left: The highest sample of each of equal parts of it, 0 to 255: the caller.
        right: The same of the other side.
    """

    duration_ms: int
    left: tuple[int, ...]
    right: tuple[int, ...]


def peaks_of(path: Path, bins: int = BINS_MAX) -> Peaks:
    """Reads a recording, a piece at a time. For a thread.

    Args:
        path: A stereo file of `media.recorder`.
        bins: At most so many parts.

    Raises:
        Unreadable: It is none.
    """
    try:
        with closing(_wav(path) if path.suffix == ".wav" else _compressed(path)) as source:
            rate_hz, frames = next(source)
            highest = np.zeros((max(1, min(bins, frames)), 2), np.int32)
            at = 0
            for block in source:
                part = (np.arange(at, at + len(block)) * len(highest)) // max(1, frames)
                np.maximum.at(highest, np.minimum(part, len(highest) - 1), np.abs(block.astype(np.int32)))
                at += len(block)
    except (OSError, EOFError, wave.Error, RuntimeError, ImportError) as error:
        raise Unreadable(f"{path.name} cannot be read as sound: {error}") from None
    scaled = np.minimum(FULL_SCALE, highest * (FULL_SCALE + 1) // 32_768)
    return Peaks(
        duration_ms=at * 1000 // rate_hz, left=tuple(scaled[:, 0].tolist()), right=tuple(scaled[:, 1].tolist())
    )


def _wav(path: Path) -> Generator[Any, None, None]:
    """Gives rate and length, then the samples, shape (n, 2)."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (2, 2):
            raise wave.Error("it is not stereo of 16 bits")
        yield file.getframerate(), file.getnframes()
        while data := file.readframes(BLOCK_FRAMES):
            yield np.frombuffer(data[: len(data) // 4 * 4], "<i2").reshape(-1, 2)


def _compressed(path: Path) -> Generator[Any, None, None]:
    import soundfile

    with soundfile.SoundFile(str(path)) as file:
        if file.channels != 2:
            raise RuntimeError("it is not stereo")
        yield file.samplerate, file.frames
        for block in file.blocks(BLOCK_FRAMES, dtype="int16", always_2d=True):
            yield _int16(block)


def _int16(block: Any) -> NDArray[np.int16]:
    return np.asarray(block, np.int16)
