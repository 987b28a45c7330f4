"""What carries a stream's audio to and from Asterisk where that is no RTP, as the stream and the audio loop see it.

RTP needs none: the audio loop handles it for all streams at once.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from connector.audio.wire import Wire
from connector.media.rtp import RtpPacket, uint16, uint32

MAX_WAITING_MS = 500
"""Of audio that Asterisk has not read: beyond, frames are dropped and counted."""


class Carrier(Protocol):
    """A connection of one stream. While it is not ready, the bot's audio waits in the playout."""

    @property
    def ready(self) -> bool:
        """Whether it takes audio now."""
        ...

    def send(self, frame: bytes, *, silent: bool) -> bool:
        """One frame of 20 ms for the caller, each 20 ms.

        Args:
            frame: In the format that Asterisk takes.
            silent: The bot says nothing, so the frame may be left out or sent twice.

        Returns:
            False when Asterisk does not read, and the frame is dropped.
        """
        ...

    def mark(self, name: str) -> bool:
        """What was sent so far is followed by a mark of the bot.

        Returns:
            True when Asterisk will tell that it has played so far; False when there is nothing to wait for.
        """
        ...

    def clear(self) -> list[str]:
        """Drops what waits in Asterisk; gives the marks that waited with it."""
        ...

    def close(self) -> None:
        """Lets go of the connection."""
        ...


class Numbering:
    """Makes packets of what a connection brings, which has no gaps by itself: so there is one set of rules for all.

    A caller who says nothing sends nothing, here as over RTP; our clock fills.
    """

    def __init__(self, wire: Wire) -> None:
        self._ssrc = secrets.randbits(32)
        self._sequence = 0
        self._timestamp = 0
        self._frame_bytes = wire.heard.frame_bytes
        self._frame_units = wire.heard_clock_hz // 50

    def packet(self, payload: bytes) -> RtpPacket:
        """The next piece."""
        packet = RtpPacket(0, self._sequence, self._timestamp, self._ssrc, payload)
        self._sequence = uint16(self._sequence + 1)
        self._timestamp = uint32(self._timestamp + len(payload) * self._frame_units // self._frame_bytes)
        return packet
