"""Bot audio on its way to the caller: in any size and faster than real time in, one frame each 20 ms out.

Marks are positions in the audio. A mark fires when what was sent before it has been played, not when it came in;
`clear` drops what waits and gives back every pending mark (Twilio Media Streams, "mark" and "clear").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Self, TypeVar

from connector.audio.formats import AudioFormat
from connector.audio.transcode import silence
from connector.dialects.commands import Command
from connector.media.control import OpenStream
from connector.media.frames import FRAME_MS
from connector.media.voice import Voice, voice_for

UNDERRUN_WITHIN_MS = 200
"""Audio that comes so soon after the buffer ran dry was meant to follow at once; later it is a new utterance."""
MAX_MARKS = 1_000
"""Pending marks; a bot that sends more without audio to play would fill the memory."""
_PCMU = AudioFormat()


class AfterAudio(str):
    """A mark of our own: what is to be done once the audio before it has been played."""

    command: Command

    def __new__(cls, command: Command) -> Self:
        """A mark with this to do."""
        mark = super().__new__(cls)
        mark.command = command
        return mark


class Playout:
    """The playout buffer of one stream, bounded in time.

    Args:
        max_ms: How much audio may wait. What comes beyond is dropped and counted.
        drop_oldest: Of what waits, for the newest; else the newest is dropped, so that what was accepted is played as
            sent (Twilio).
        prebuffer_ms: The first audio after silence waits so long, or until so much of it is there.
        audio: What the bot sends; not Opus, whose packets are decoded before.
        voice: What is done to it; None: nothing.
    """

    def __init__(
        self,
        *,
        max_ms: int,
        prebuffer_ms: int,
        drop_oldest: bool = False,
        audio: AudioFormat = _PCMU,
        voice: Voice | None = None,
    ) -> None:
        self.dropped_bytes = 0
        self.underruns = 0
        self.marks_dropped = 0
        self._frame_bytes = audio.frame_bytes
        self._bytes_per_ms = self._frame_bytes // FRAME_MS
        self._silence = silence(audio)
        self._max_bytes = max_ms * self._bytes_per_ms
        self._prebuffer_bytes = min(prebuffer_ms * self._bytes_per_ms, self._max_bytes)
        self._prebuffer_ms = prebuffer_ms
        self._frames: deque[bytes] = deque()
        self._rest = bytearray()  # less than a frame, behind them: a bot that sends single bytes costs no more memory
        self._fading: deque[bytes] = deque()  # what a clear lets fade out; it has no position any more
        self._drop_oldest = drop_oldest
        self._voice = voice
        self._accepted = 0  # positions: bytes since the stream began
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._speaking = False
        self._waited_ms = 0
        self._dry_ms: int | None = None

    @property
    def queued_bytes(self) -> int:
        """Audio that waits."""
        return self._accepted - self._played

    @property
    def played_ms(self) -> int:
        """Position of what is played, in all audio that was accepted, in whole milliseconds."""
        return self._played // self._bytes_per_ms

    @property
    def offered_ms(self) -> int:
        """All audio that came, dropped or not, in whole milliseconds."""
        return (self._accepted + self.dropped_bytes) // self._bytes_per_ms

    @property
    def queued_ms(self) -> int:
        """Audio that waits, in whole milliseconds."""
        return self.queued_bytes // self._bytes_per_ms

    def take_back(self) -> None:
        """Holds everything itself again, if it was lent."""

    def write(self, audio: bytes) -> int:
        """Queues audio of any length.

        Returns:
            How many bytes were dropped, because the buffer is full.
        """
        room = self._max_bytes - self._accepted + self._played
        dropped = max(0, len(audio) - room)
        if dropped:
            self.dropped_bytes += dropped
            audio = self._make_room(audio, dropped) if self._drop_oldest else audio[:room]
        if audio:
            if self._dry_ms is not None and self._dry_ms <= UNDERRUN_WITHIN_MS:
                self.underruns += 1
            self._dry_ms = None
            self._accepted += len(audio)
            if len(audio) == self._frame_bytes and not self._rest:
                self._frames.append(audio)
            else:
                self._cut(audio)
        return dropped

    def mark(self, name: str) -> list[str]:
        """Puts a mark behind all that is queued.

        Returns:
            The mark itself when nothing is queued, for it has been played then; else nothing.
        """
        if not self.queued_bytes:
            return [name]
        if len(self._marks) >= MAX_MARKS:
            self.marks_dropped += 1
            return []
        self._marks.append((self._accepted, name))
        return []

    def clear(self) -> list[str]:
        """Drops what waits; what was being said fades out, where that is wanted.

        Returns:
            Every pending mark once, in order.
        """
        if self._voice is not None and self._speaking and self._frames:
            self._fade_out(self._voice)
        self._frames.clear()
        self._rest.clear()
        self._played = self._accepted
        self._speaking = False
        self._waited_ms = 0
        self._dry_ms = None  # what follows a clear is a new utterance, however soon
        return self._fire()

    def read(self) -> tuple[bytes | None, list[str]]:
        """One frame, for one 20 ms step of the clock.

        Returns:
            One frame of the bot's format, or None when nothing is to be played; and the marks that this frame has
            played. A last part of a frame is padded with silence.
        """
        if self._voice is not None:
            frame, fired = self._next()
            return self._voice.shape(frame), fired
        return self._next()

    def _next(self) -> tuple[bytes | None, list[str]]:
        if self._fading:
            return self._fading.popleft(), []
        if not self._speaking and not self._start():
            return None, []
        if self._frames:
            self._played += self._frame_bytes
            return self._frames.popleft(), self._fire() if self._marks else []
        if self._rest:
            frame = bytes(self._rest)
            self._rest.clear()
            self._played += len(frame)
            return frame + self._silence[len(frame) :], self._fire()
        self._speaking = False
        self._dry_ms = FRAME_MS
        return None, []

    def _make_room(self, audio: bytes, wanted: int) -> bytes:
        """Drops whole frames from the front; what is left of the audio, when it alone is too long."""
        while wanted > 0 and self._frames:
            self._frames.popleft()
            self._played += self._frame_bytes
            wanted -= self._frame_bytes
        return audio[-(self._max_bytes - self._accepted + self._played) :]

    def _fade_out(self, voice: Voice) -> None:
        faded = voice.faded(b"".join(self._frames))
        size = self._frame_bytes
        for at in range(0, len(faded), size):
            frame = faded[at : at + size]
            self._fading.append(frame + self._silence[len(frame) :])

    def _cut(self, audio: bytes) -> None:
        """Appends audio of any length."""
        self._rest += audio
        size = self._frame_bytes
        whole = len(self._rest) // size * size
        if whole:
            cut = bytes(self._rest[:whole])
            del self._rest[:whole]
            self._frames.extend(cut[at : at + size] for at in range(0, whole, size))

    def _start(self) -> bool:
        queued = self._accepted - self._played
        if not queued:
            if self._dry_ms is not None:
                self._dry_ms += FRAME_MS
            return False
        if queued < self._prebuffer_bytes and self._waited_ms < self._prebuffer_ms:
            self._waited_ms += FRAME_MS
            return False
        self._waited_ms = 0
        self._speaking = True
        return True

    def _fire(self) -> list[str]:
        fired = []
        while self._marks and self._marks[0][0] <= self._played:
            fired.append(self._marks.popleft()[1])
        return fired


AnyPlayout = TypeVar("AnyPlayout", bound=Playout)


def playout_for(request: OpenStream, audio: AudioFormat, kind: Callable[..., AnyPlayout]) -> AnyPlayout:
    """The buffer that a stream asks for, of this kind."""
    return kind(
        max_ms=request.playout_max_ms,
        prebuffer_ms=request.prebuffer_ms,
        drop_oldest=request.drop_oldest,
        audio=audio,
        voice=voice_for(audio, request.voice),
    )
