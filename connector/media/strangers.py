"""Who sends to a worker's port though no stream is with that address: a NAT, a dead call, or a flood."""

from __future__ import annotations

from connector.media.mmsg import source_text

DRAIN_S = 5.0
"""How long packets of a closed stream are taken for its last ones."""
AUDIO_PACKETS = 25
"""Within a second: so many are half of a call's, fewer may be anything."""
MAX_STRANGERS = 64
"""That are told apart; the rest count as one."""


class Strangers:
    """Unknown senders.

    Args:
        family: Of the worker's socket.

    Attributes:
        loudest: Who sent audio within the last second, `host:port`; empty if nobody did.
    """

    def __init__(self, family: int) -> None:
        self.loudest = ""
        self._family = family
        self._draining: dict[bytes, float] = {}
        self._known: set[bytes] = set()
        self._packets: dict[bytes, int] = {}

    def hear(self, source: bytes) -> bool:
        """A packet; returns whether this sender is to be logged: each once, and no more than there is room for."""
        if source in self._packets or len(self._packets) < MAX_STRANGERS:
            self._packets[source] = self._packets.get(source, 0) + 1
        if source in self._known or len(self._known) >= MAX_STRANGERS:
            return False
        self._known.add(source)
        return True

    def drain(self, source: bytes, now_s: float) -> None:
        """The stream of this address has ended: its last packets are still on the way."""
        self._draining[source] = now_s + DRAIN_S

    def drains(self, source: bytes) -> bool:
        """Whether the address is that of a stream that has just ended."""
        return source in self._draining

    def no_more(self, source: bytes) -> None:
        """The address is that of a stream now."""
        self._draining.pop(source, None)

    def second(self, now_s: float) -> None:
        """A second is over."""
        self._draining = {source: until for source, until in self._draining.items() if until > now_s}
        loudest = max(self._packets, key=lambda source: self._packets[source], default=b"")
        enough = self._packets.get(loudest, 0) >= AUDIO_PACKETS
        self.loudest = source_text(self._family, loudest) if enough else ""
        self._packets.clear()
