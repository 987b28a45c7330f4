"""The beep that tells a caller that the call is recorded."""

from __future__ import annotations

import numpy as np

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.tone import sine
from connector.audio.transcode import Transcoder

BEEP_HZ = 1400.0
BEEP_MS = 200
BEEP_DBFS = -18.0
FRAME_MS = 20


class Beeper:
    """Mixes a beep into what a caller hears, the first after a second.

    Args:
        audio: What the frames are.
        every_s: From beep to beep.
    """

    def __init__(self, audio: AudioFormat, every_s: int) -> None:
        linear = AudioFormat(Encoding.L16, audio.rate_hz)
        self._decode, self._encode = Transcoder(audio, linear), Transcoder(linear, audio)
        count = audio.rate_hz * FRAME_MS // 1000
        self._beep = [
            sine(BEEP_HZ, count, rate_hz=audio.rate_hz, start=number * count, dbfs=BEEP_DBFS).astype(np.int32)
            for number in range(BEEP_MS // FRAME_MS)
        ]
        self._period = every_s * 1000 // FRAME_MS
        self._frame = -1000 // FRAME_MS

    def mix(self, frame: bytes | None) -> bytes | None:
        """20 ms of the bot, None for silence; returns what the caller is to hear."""
        number, self._frame = self._frame, self._frame + 1
        if number < 0 or number % self._period >= len(self._beep):
            return frame
        samples = np.frombuffer(self._decode.convert_one(frame or b""), "<i2").astype(np.int32)
        mixed = np.clip(samples + self._beep[number % self._period], -32768, 32767).astype("<i2")
        return self._encode.convert_one(mixed.tobytes())
