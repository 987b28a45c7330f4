"""A chime in an agent's ear during a conversation, which the caller does not hear: look at your texts."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connector.audio import g711
from connector.audio.tone import sine
from connector.dialects.base import Track
from connector.streams.listening import FRAME_SAMPLES, Listening, Voice
from connector.streams.taps import Taps

TONES_HZ = (880.0, 1175.0)
TONE_S = 0.35
DBFS = -15.0
FRAME_S = FRAME_SAMPLES / g711.SAMPLE_RATE_HZ
START_S = 10.0
"""For Asterisk to make the tap."""
LAST_S = 0.2
"""For what was sent to be played before the way to the agent is taken away."""


class NoChime(Exception):
    """Asterisk did not let it be played; the text says why."""


def chime_samples() -> NDArray[np.int16]:
    """Two tones that die away, at 8 kHz."""
    count = int(TONE_S * g711.SAMPLE_RATE_HZ)
    fading = np.exp(-4 * np.arange(count) / count) * np.minimum(1, np.arange(count) / 80)
    tones = (sine(hz, count, rate_hz=g711.SAMPLE_RATE_HZ, dbfs=DBFS) * fading for hz in TONES_HZ)
    return np.concatenate(list(tones)).astype(np.int16)


async def chime(taps: Taps, channel_id: str) -> None:
    """Plays it, and returns when it has been played.

    Args:
        taps: Of the agent's PBX.
        channel_id: Of the agent's channel.

    Raises:
        NoChime: It cannot be played.
        TapRefused: There is no room for it.
    """
    listening = taps.listen(channel_id, lambda _track, _audio: None, speaker=Track.AGENT, voice=Voice.TAPPED)
    try:
        started = asyncio.create_task(listening.started.wait())
        waits: set[asyncio.Future[Any]] = {started, listening.over}
        await asyncio.wait(waits, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if not listening.started.is_set():
            raise NoChime(listening.over.result() if listening.over.done() else "Asterisk is too slow")
        await _play(listening)
    finally:
        listening.stop()


async def _play(listening: Listening) -> None:
    audio = g711.ulaw_encode(chime_samples()).tobytes()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, start in enumerate(range(0, len(audio) - FRAME_SAMPLES + 1, FRAME_SAMPLES)):
        await asyncio.sleep(max(0.0, began + number * FRAME_S - loop.time()))
        listening.say(audio[start : start + FRAME_SAMPLES])
    await asyncio.sleep(LAST_S)
