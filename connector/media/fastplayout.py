"""A playout that the fast path may hold (native/playout.c): for as long as nothing is asked of it but to be played.

Whatever else is asked - a mark, a clear, more than there is room for - takes it back first. So there is one set of
rules, and none of the two sees a state that the other changes.
"""

from __future__ import annotations

import struct

from connector.media.control import StreamStats
from connector.media.fastpath import Line
from connector.media.playout import Playout

STATE = struct.Struct("=12q")
"""PlayoutState of native/fastpath.h."""
_NOT_DRY = -1


class FastPlayout(Playout):
    """A `Playout` that can be lent to the line its audio comes by."""

    _line: Line | None = None
    _taken = 0, 0
    """Messages and their audio that were counted of this loan."""
    _messages = _message_bytes = 0
    """Those that the stream has not counted."""

    def lend(self, line: Line) -> None:
        """Lets the line hold it, unless there is more to do than to play."""
        if self._line is not None or self._marks or self._fading or self._voice is not None:
            return
        state = STATE.pack(
            self._accepted,
            self._played,
            self._speaking,
            self._waited_ms,
            _NOT_DRY if self._dry_ms is None else self._dry_ms,
            self.underruns,
            0,
            0,
            self._frame_bytes,
            self._max_bytes,
            self._prebuffer_bytes,
            self._prebuffer_ms,
        )
        if line.hold(state, b"".join(self._frames) + self._rest, self):
            self._frames.clear()
            self._rest.clear()
            self._line = line
            self._taken = 0, 0

    def take_back(self) -> None:
        """Holds everything itself again."""
        if self._line is None:
            return
        queued = bytearray(self._look(self._line))
        line, self._line = self._line, None
        line.give_back(bytearray(STATE.size), queued)
        size = self._frame_bytes
        whole = len(queued) // size * size
        self._frames.extend(bytes(queued[at : at + size]) for at in range(0, whole, size))
        self._rest += queued[whole:]

    def refresh(self) -> None:
        """Brings all counters up to date."""
        if self._line is not None:
            self._look(self._line)

    def add_to(self, stats: StreamStats) -> None:
        """Adds the messages that went past the stream to its counters, since this was last called."""
        self.refresh()
        stats.bot_messages += self._messages
        stats.bot_audio_bytes += self._message_bytes
        self._messages = self._message_bytes = 0

    def _look(self, line: Line) -> int:
        """Brings the state up to date; gives the bytes that wait."""
        state = bytearray(STATE.size)
        line.look(state)
        self._accepted, self._played, speaking, self._waited_ms, dry_ms, self.underruns, *taken, _, _, _, _ = (
            STATE.unpack(state)
        )
        self._speaking = bool(speaking)
        self._dry_ms = None if dry_ms == _NOT_DRY else dry_ms
        messages, message_bytes = taken
        self._messages += messages - self._taken[0]
        self._message_bytes += message_bytes - self._taken[1]
        self._taken = messages, message_bytes
        return self._accepted - self._played

    @property
    def queued_bytes(self) -> int:
        """Audio that waits."""
        self.refresh()
        return super().queued_bytes

    @property
    def played_ms(self) -> int:
        """Position of what is played, in whole milliseconds."""
        self.refresh()
        return super().played_ms

    @property
    def offered_ms(self) -> int:
        """All audio that came, in whole milliseconds."""
        self.refresh()
        return super().offered_ms

    def write(self, audio: bytes) -> int:
        """As a `Playout` does it."""
        self.take_back()
        return super().write(audio)

    def mark(self, name: str) -> list[str]:
        """As a `Playout` does it."""
        self.take_back()
        return super().mark(name)

    def clear(self) -> list[str]:
        """As a `Playout` does it."""
        self.take_back()
        return super().clear()

    def read(self) -> tuple[bytes | None, list[str]]:
        """As a `Playout` does it."""
        self.take_back()
        return super().read()
