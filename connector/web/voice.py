"""What a supervisor's microphone sends, checked at the edge: 20 ms of PCM a message, no faster than it is spoken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from connector.audio import g711

RATE_HZ = 8000
FRAME_MS = 20
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2
FRAMES_AHEAD = 5
"""That may come at once after a stall of the network; what Asterisk holds of them the agent hears later for good."""


class BadVoice(Exception):
    """It is not what a microphone of ours sends; the text is a sentence."""


class Mouth:
    """Takes one supervisor's voice.

    Args:
        say: Takes 20 ms of mu-law.
        monotonic: Seconds that never go back.

    Attributes:
        dropped: Frames that came faster than they are spoken.
    """

    def __init__(self, say: Callable[[bytes], None], *, monotonic: Callable[[], float]) -> None:
        self.dropped = 0
        self._say = say
        self._monotonic = monotonic
        self._allowed = float(FRAMES_AHEAD)
        self._at = monotonic()

    def take(self, message: bytes) -> None:
        """Passes a message on.

        Args:
            message: 160 samples, 16 bits each, little-endian.

        Raises:
            BadVoice: It is of another size.
        """
        if len(message) != FRAME_BYTES:
            raise BadVoice(f"a message of the microphone has {FRAME_BYTES} bytes, this one {len(message)}")
        now = self._monotonic()
        self._allowed = min(FRAMES_AHEAD, self._allowed + (now - self._at) * 1000 / FRAME_MS)
        self._at = now
        if self._allowed < 1:
            self.dropped += 1
            return
        self._allowed -= 1
        self._say(g711.ulaw_encode(np.frombuffer(message, "<i2").astype(np.int16)).tobytes())
