"""Loss concealment: what stands in the place of packets that were lost, made of the sound before them.

After G.711 Appendix I (ITU-T, 1999): the last pitch period is repeated, at full level for 10 ms and then 20 % softer
each 10 ms, so that nothing is left after 60 ms; where packets come again they are faded in over what is made up. Left
out of it, for the sake of a caller who is heard without delay and of simplicity: the Appendix holds all audio back by
3.75 ms to fade into the first repeated period, and repeats two and three periods where a loss is long. Instead the
step from the last sample to the first repeated one is taken back over a quarter of a period.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connector.audio import g711
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.levels import READABLE, read

MAX_MS = 60
"""Beyond nothing is made up: a longer loss is silence."""
_FULL_MS, _FADE_MS = 10, 50
_MIN_PERIOD_MS, _MAX_PERIOD_MS = 5, 15
"""Pitch of 200 Hz to 66 Hz; of a higher voice it is two periods or three."""
_WINDOW_MS = 20
"""Over which the period is looked for."""
_PAST_MS = _WINDOW_MS + _MAX_PERIOD_MS
_FADE_IN_MS, _FADE_IN_MORE_MS, _MAX_FADE_IN_MS = 2, 4, 10
"""At the end: so much, so much more for each 10 ms that were made up, and at most."""

Wave = NDArray[np.float32]


class Concealer:
    """Of one stream, in the format in which its packets come.

    Args:
        audio: One of `READABLE`.

    Raises:
        ValueError: A format that cannot be read without a state: G.722.
    """

    def __init__(self, audio: AudioFormat) -> None:
        if audio.encoding not in READABLE:
            raise ValueError(f"losses in {audio.encoding.value} are not concealed")
        self._encoding = audio.encoding
        self._per_ms = audio.rate_hz // 1000
        self._sample_bytes = audio.frame_bytes // audio.frame_samples
        self._past_bytes = _PAST_MS * self._per_ms * self._sample_bytes
        self._past = b""
        self._period: Wave | None = None
        """What is repeated, while something is made up."""
        self._step = 0.0
        self._made = 0  # samples, since the last packet

    def forget(self) -> None:
        """What came before says nothing of what comes next: silence was between, or another sender."""
        self._past = b""
        self._period = None

    @property
    def able(self) -> bool:
        """Whether enough sound came without a pause to go on with."""
        return len(self._past) == self._past_bytes

    def heard(self, payload: bytes) -> bytes:
        """A packet; returns its payload, faded in where it ends a loss."""
        if self._period is not None:
            payload = self._faded_in(payload)
            self._period = None
        past = self._past + payload
        self._past = past[-self._past_bytes :]
        return payload

    def make_up(self, samples: int) -> bytes:
        """The next so many samples, in the format of the packets; silence if not `able`."""
        if self._period is None:
            self._begin()
        wave = self._next(samples)
        self._made += samples
        return self._written(wave)

    def _begin(self) -> None:
        past = read(self._past, self._encoding).astype(np.float32)
        self._made, self._step = 0, 0.0
        if not self.able:
            self._period = np.zeros(self._per_ms, np.float32)
            return
        size = pitch_period(past, self._per_ms)
        period = past[-size:].copy()
        # Its end is faded into what was before its begin, so that it joins itself.
        quarter = size // 4
        rise = np.arange(1, quarter + 1, dtype=np.float32) / (quarter + 1)
        period[-quarter:] += (past[-size - quarter : -size] - period[-quarter:]) * rise
        self._period = period
        self._step = float(past[-1] - past[-size - 1])

    def _next(self, samples: int) -> Wave:
        period = self._period
        assert period is not None
        at = np.arange(self._made, self._made + samples)
        wave: Wave = period[at % period.size]
        if self._step:
            quarter = period.size // 4
            wave = wave + self._step * np.maximum(0.0, 1.0 - (at + 1) / quarter).astype(np.float32)
        ms = at / self._per_ms
        return wave * np.clip(1.0 - (ms - _FULL_MS) / _FADE_MS, 0.0, 1.0).astype(np.float32)

    def _faded_in(self, payload: bytes) -> bytes:
        fade_ms = min(_FADE_IN_MS + _FADE_IN_MORE_MS * self._made // (10 * self._per_ms), _MAX_FADE_IN_MS)
        samples = min(fade_ms * self._per_ms, len(payload) // self._sample_bytes)
        head = samples * self._sample_bytes
        real = read(payload[:head], self._encoding).astype(np.float32)
        rise: Wave = np.arange(1, samples + 1, dtype=np.float32) / np.float32(samples + 1)
        made_up = self._next(samples)
        return self._written(made_up + (real - made_up) * rise) + payload[head:]

    def _written(self, wave: Wave) -> bytes:
        samples = np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)
        match self._encoding:
            case Encoding.PCMU:
                return g711.ulaw_encode(samples).tobytes()
            case Encoding.PCMA:
                return g711.alaw_encode(samples).tobytes()
            case Encoding.L16BE:
                return samples.astype(">i2").tobytes()
            case _:
                return samples.astype("<i2").tobytes()


def pitch_period(past: Wave, per_ms: int) -> int:
    """By how many samples the end of this sound is most like what came before: normalised cross-correlation.

    Args:
        past: The last 35 ms, shape (n,).
        per_ms: Samples a millisecond.
    """
    window = _WINDOW_MS * per_ms
    shortest, longest = _MIN_PERIOD_MS * per_ms, _MAX_PERIOD_MS * per_ms
    now = past[-window:]
    # Row k begins `longest - k` samples before the window does.
    before = np.lib.stride_tricks.sliding_window_view(past[-window - longest : -shortest], window)
    energy = np.einsum("ij,ij->i", before, before)
    likeness = (before @ now) / np.sqrt(energy + 1.0)
    return longest - int(likeness.argmax())


def concealer_for(audio: AudioFormat) -> Concealer | None:
    """What conceals losses in this format; None where nothing can."""
    return Concealer(audio) if audio.encoding in READABLE else None
