"""The bot's voice on its way out: louder or softer, over a background, faded where it is cut off.

All in the bot's own format, a frame of 20 ms at a time. A stream that wants none of it has no `Voice`.
"""

from __future__ import annotations

import functools
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.resample import Resampler
from connector.media.frames import FRAME_MS

Samples = NDArray[np.int16]

DUCK_MS = 200
"""For the background to come up again, or go down."""
MAX_AMBIANCE_S = 600
FULL_SCALE = 32_767

log = structlog.get_logger()


class VoiceOptions(msgspec.Struct, frozen=True):
    """What is done to a bot's voice.

    Attributes:
        gain_db: On all that the bot says.
        fade_ms: How long speech goes on, getting softer, when the bot clears it; 0: it stops at the next frame.
        ambiance: WAV file of a background, played over and over; empty: none.
        ambiance_db: On the background.
        duck_db: On the background too while the bot speaks.
    """

    gain_db: float = 0.0
    fade_ms: int = 0
    ambiance: str = ""
    ambiance_db: float = -12.0
    duck_db: float = -12.0


class Voice:
    """What is done to the voice of one stream.

    Args:
        audio: The bot's format: G.711 or linear.
        options: What to do.
        bed: The background at the format's rate, 16 bit; None: none.

    Raises:
        ValueError: A format that has to be decoded with a state.
    """

    def __init__(self, audio: AudioFormat, options: VoiceOptions, bed: Samples | None = None) -> None:
        self._decode, self._encode = _codec(audio.encoding)
        self._gain = 10 ** (options.gain_db / 20)
        self._gain_table = b""
        if audio.encoding is not Encoding.L16:
            every_code = bytes(range(256))
            self._gain_table = self._encode(_clipped(self._decode(every_code) * self._gain))
        self._fade_bytes = options.fade_ms * audio.frame_bytes // audio.frame_ms
        self._frame_samples = audio.frame_samples
        self._bed = bed
        self._bed_at = 0
        self._up, self._down = 10 ** (options.ambiance_db / 20), 10 ** ((options.ambiance_db + options.duck_db) / 20)
        self._level = self._up

    @property
    def idle(self) -> bool:
        """Whether nothing is played while the bot says nothing."""
        return self._bed is None

    def shape(self, frame: bytes | None) -> bytes | None:
        """A frame as the caller is to hear it; None, where there is no background, while the bot says nothing."""
        if self._bed is None:
            return None if frame is None else self._louder(frame)
        target = self._up if frame is None else self._down
        most = abs(self._up - self._down) * FRAME_MS / DUCK_MS
        level = self._level + min(most, max(-most, target - self._level))
        ramp = np.linspace(self._level, level, self._frame_samples, dtype=np.float32)
        self._level = level
        mixed = self._next_of_bed() * ramp
        if frame is not None:
            mixed += self._decode(frame) * self._gain
        return self._encode(_clipped(mixed))

    def faded(self, queued: bytes) -> bytes:
        """The first part of what is cut off, getting softer until it is silent; nothing where no fade is wanted."""
        samples = self._decode(queued[: self._fade_bytes])
        return self._encode(_clipped(samples * np.linspace(1, 0, samples.size, dtype=np.float32)))

    def _louder(self, frame: bytes) -> bytes:
        if self._gain == 1:
            return frame
        if self._gain_table:
            return frame.translate(self._gain_table)
        return self._encode(_clipped(self._decode(frame) * self._gain))

    def _next_of_bed(self) -> NDArray[np.float32]:
        assert self._bed is not None
        at = np.arange(self._bed_at, self._bed_at + self._frame_samples) % self._bed.size
        self._bed_at = int(at[-1]) + 1
        return self._bed[at].astype(np.float32)


def voice_for(audio: AudioFormat, options: VoiceOptions) -> Voice | None:
    """What is to be done; None if nothing is. A background that cannot be read costs itself, not the call."""
    if options.ambiance:
        try:
            return Voice(audio, options, load_ambiance(options.ambiance, audio.rate_hz))
        except (OSError, EOFError, ValueError, wave.Error) as error:
            log.warning("ambiance_unusable", file=options.ambiance, error=str(error))
    return Voice(audio, options) if options.gain_db or options.fade_ms else None


@functools.lru_cache(maxsize=16)  # one copy for all streams of a worker
def load_ambiance(path: str, rate_hz: int) -> Samples:
    """A background at this rate, mono.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no WAV file of 16 bit samples, or is empty or too long.
    """
    with wave.open(str(Path(path)), "rb") as file:
        if file.getsampwidth() != 2 or not 0 < file.getnframes() <= MAX_AMBIANCE_S * file.getframerate():
            raise ValueError(f"a background is a WAV file of 16 bit samples, at most {MAX_AMBIANCE_S} s long")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        mono: Samples = samples.mean(axis=1).astype(np.int16)
        if file.getframerate() == rate_hz:
            return mono
        # Twice, for the second time begins as it ends: no click where it is played anew.
        twice = Resampler(file.getframerate(), rate_hz).convert(np.tile(mono, 2)[None], np.zeros(1, np.int64))[0]
        bed: Samples = twice[-(mono.size * rate_hz // file.getframerate()) :]
        return bed


def _codec(encoding: Encoding) -> tuple[Callable[[bytes], Samples], Callable[[Samples], bytes]]:
    match encoding:
        case Encoding.PCMU:
            return g711.ulaw_decode, lambda samples: g711.ulaw_encode(samples).tobytes()
        case Encoding.PCMA:
            return g711.alaw_decode, lambda samples: g711.alaw_encode(samples).tobytes()
        case Encoding.L16:
            return _from_linear, lambda samples: samples.astype("<i2").tobytes()
        case _:
            raise ValueError(f"a voice in {encoding} cannot be changed")


def _from_linear(data: bytes) -> Samples:
    return np.frombuffer(data, np.dtype("<i2")).astype(np.int16)


def _clipped(samples: NDArray[Any]) -> Samples:
    clipped: Samples = np.clip(np.rint(samples), -FULL_SCALE - 1, FULL_SCALE).astype(np.int16)
    return clipped
