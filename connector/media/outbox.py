"""What waits to be sent to one bot: bounded, so that a bot that does not read costs neither memory nor other calls."""

from __future__ import annotations

from collections import deque

from connector.dialects.base import WireMessage

MAX_FRAMES = 50
"""One second of caller audio: older is of no use to a bot that speaks with a person."""
MAX_CONTROL = 2_000
"""Marks, digits, start and stop; twice what a playout buffer can hold in marks."""


class Outbox:
    """A queue of messages in order. When audio overflows the oldest frame goes; control messages stay.

    Args:
        max_frames: Audio messages that may wait.
        max_control: Other messages that may wait; beyond, the newest is dropped.
    """

    def __init__(self, *, max_frames: int = MAX_FRAMES, max_control: int = MAX_CONTROL) -> None:
        self.dropped = 0
        self._max_frames = max_frames
        self._max_control = max_control
        self._messages: deque[tuple[bool, WireMessage]] = deque()
        self._frames = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put_audio(self, message: WireMessage) -> None:
        """Queues a frame of caller audio; drops the oldest one if there are too many."""
        if self._frames >= self._max_frames:
            self._drop_oldest_frame()
        self._frames += 1
        self._messages.append((True, message))

    def put_control(self, message: WireMessage) -> None:
        """Queues any other message."""
        if len(self._messages) - self._frames >= self._max_control:
            self.dropped += 1
            return
        self._messages.append((False, message))

    def take(self) -> WireMessage | None:
        """The next message, or None."""
        if not self._messages:
            return None
        is_frame, message = self._messages.popleft()
        self._frames -= is_frame
        return message

    def _drop_oldest_frame(self) -> None:
        for index, (is_frame, _) in enumerate(self._messages):
            if is_frame:
                del self._messages[index]
                self._frames -= 1
                self.dropped += 1
                return
