"""The caller of a profile test: what Asterisk is to a media worker, an RTP address that speaks and listens."""

from __future__ import annotations

import asyncio
import itertools
import uuid
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connector.audio import g711
from connector.audio.levels import look
from connector.config import MediaSettings, ProfileSettings
from connector.config_profiles import Mode
from connector.dialects.base import Track
from connector.dialects.commands import Command, HangUp, Transfer
from connector.dialects.registry import DIALECTS
from connector.lab.rtp import RATE_HZ, RtpSession, Source, silence
from connector.media.control import Address, EndCause, StreamEnded
from connector.media.engine import StreamHandle
from connector.media.voice import load_ambiance
from connector.streams.dialling import Dialler
from connector.streams.opening import open_message
from connector.streams.parameters import bounded

HOST = "127.0.0.1"
FROM, TO = "+15550100", "+15550199"
LOOK_S = 0.02
PITCH_HZ = 130.0
SYLLABLES_HZ = 4.0
FORMANTS_HZ = (500.0, 1_500.0, 2_500.0)
"""Of a neutral vowel; a bot that looks for a voice finds one."""


@dataclass(frozen=True, slots=True)
class Patient:
    """How long is waited for what, in seconds.

    Attributes:
        greeting: For the bot to speak first.
        quiet: Silence after which the bot has finished; and how long that may take, `finish`.
        finish: See `quiet`.
        speech: How long the caller speaks.
        answer: For the bot to answer.
        interrupt: How long the caller speaks into the bot's speech.
        digits: For the bot to do something about digits.
        freeze: How long nothing is read.
        after: How long the bot has to stay afterwards.
    """

    greeting: float = 5.0
    quiet: float = 0.7
    finish: float = 8.0
    speech: float = 3.0
    answer: float = 5.0
    interrupt: float = 3.0
    digits: float = 2.0
    freeze: float = 3.0
    after: float = 2.0


class TrialCall:
    """One call, as its bot sees it.

    Args:
        name: Of the profile.
        profile: Its settings.
        media: As real calls have it.
        dialler: Dials the bot.
        trusted: The profile stands in the settings file.
        say: What the caller says.
    """

    def __init__(
        self,
        *,
        name: str,
        profile: ProfileSettings,
        media: MediaSettings,
        dialler: Dialler,
        trusted: bool,
        say: Source,
    ) -> None:
        self.two_way = is_two_way(profile)
        self.decided: Command | None = None
        """What the bot wants done with the call."""
        self._name, self._profile, self._media = name, profile, media
        self._dialler, self._trusted, self._say = dialler, trusted, say
        mixed = not self.two_way and profile.dialect.mixes
        self._tracks = (Track.CALLER, Track.AGENT) if mixed else (Track.CALLER,)
        self._sides = [RtpSession(HOST) for _ in self._tracks]
        self._id = uuid.uuid4().hex
        self._handle: StreamHandle | None = None
        self._looked = 0
        self._last_heard = 0.0

    @property
    def handle(self) -> StreamHandle:
        """The open stream."""
        assert self._handle is not None, "open() first"
        return self._handle

    async def open(self) -> None:
        """Dials the bot, as a call does.

        Raises:
            StreamFailed: It does not take the call.
        """
        profile = self._profile
        parameters, _ = bounded(
            {"from": FROM, "fromName": "profile test", "to": TO},
            profile.parameters,
            most=profile.max_parameters,
            characters=profile.max_parameter_characters,
        )
        request = open_message(
            profile,
            self._media,
            stream_id=self._id,
            pbx="test",
            call_id=f"test:{self._id}",
            parameters=parameters,
            tracks=self._tracks,
            two_way=self.two_way,
        )
        self._handle = await self._dialler.open(request, self._name, profile, trusted=self._trusted)

    async def open_again(self) -> None:
        """Dials the bot for the same call once more, after the connection broke. Raises as `open` does."""
        self.handle.close(EndCause.BOT_LOST)
        await self.handle.ended
        await self.open()
        self.answer()

    def answer(self) -> None:
        """Audio begins, both ways."""
        for track, side in zip(self._tracks, self._sides, strict=True):
            self.handle.attach(Address(HOST, side.port), track if len(self._tracks) > 1 else None)
            side.start((self.handle.rtp.host, self.handle.rtp.port))

    def speak(self, speaks: bool) -> None:
        """Begins or stops to say something."""
        for side in self._sides:
            side.source = self._say if speaks else silence

    def heard_since(self, unix_s: float) -> bool:
        """Whether anything but silence came from the bot."""
        return self.last_heard > unix_s

    @property
    def last_heard(self) -> float:
        """When something else than silence came last, Unix time; 0.0 if it never did."""
        side = self._sides[0]
        new = side.packets_in - self._looked
        self._looked = side.packets_in
        for packet in itertools.islice(reversed(side.received), new):
            if not look(g711.ulaw_decode(packet.payload)).silent:
                self._last_heard = packet.at
                break
        return self._last_heard

    @property
    def over(self) -> bool:
        """Whether the bot has ended it, or wants the call to go elsewhere."""
        if self._handle is None:
            return False
        while self.decided is None and not self.handle.commands.empty():
            command = self.handle.commands.get_nowait()
            if isinstance(command, HangUp | Transfer):
                self.decided = command
        return self.decided is not None or self.handle.ended.done()

    async def until(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Waits; False when the time is up or the call over before."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while not condition():
            if self.over or loop.time() >= deadline_s:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def hang_up(self) -> StreamEnded | None:
        """The caller hangs up. Gives how the stream ended; None if it never began. Again: nothing more happens."""
        for side in self._sides:
            await side.close()
        if self._handle is None:
            return None
        self._handle.close(EndCause.CALLER_HUNG_UP)
        return await self._handle.ended


def is_two_way(profile: ProfileSettings) -> bool:
    """Whether the bot speaks."""
    return profile.mode is Mode.VOICEBOT and DIALECTS[profile.dialect.name].mode != "listen"


def voice(start: int, count: int) -> NDArray[np.int16]:
    """Something like a voice that says nothing: a buzz with formants, four syllables a second, at -16 dBFS."""
    at_s = np.arange(start, start + count) / RATE_HZ
    buzz = np.zeros(count)
    for harmonic in range(1, int(3_400 / PITCH_HZ)):
        hz = harmonic * PITCH_HZ
        weight = sum(1.0 / (1.0 + ((hz - formant) / 150.0) ** 2) for formant in FORMANTS_HZ)
        buzz += weight * np.sin(2 * np.pi * hz * at_s)
    envelope = np.clip(np.sin(2 * np.pi * SYLLABLES_HZ * at_s) + 0.3, 0.0, None)
    loud: NDArray[np.int16] = np.clip(3_000.0 * buzz * envelope, -30_000, 30_000).astype(np.int16)
    return loud


def spoken(file: Path) -> Source:
    """What a WAV file says, over and over, with half a second between.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no WAV file of 16 bit samples.
    """
    try:
        words = load_ambiance(str(file), RATE_HZ)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"no WAV file: {error}") from None
    samples = np.concatenate((words, np.zeros(RATE_HZ // 2, np.int16)))
    return lambda start, count: np.take(samples, np.arange(start, start + count), mode="wrap")
