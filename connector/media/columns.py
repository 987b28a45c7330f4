"""What the audio loop knows of each stream, as columns: a row is a stream, and many rows are done at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connector.media.lanes import Rows
from connector.media.mmsg import ADDRESS_BYTES

PYTHONS = -1
"""Of `hears` and `says`: that way of the row is not for the fast path."""
NEVER = np.iinfo(np.int64).max
"""Of `due`: nobody has the row."""


class Columns:
    """One element for each row.

    Args:
        capacity: Rows there are at first.

    Attributes:
        due: The step of the clock in which it sends next.
        words: Shape (rows, 3): the RTP header that it sends next, in words.
        sent: Packets since the row was last synced.
        addresses: Shape (rows, ADDRESS_BYTES): where to, as `pack_address` makes them.
        lines: Number of the bot's line in the fast path, -1 for none.
        watched: What goes to the bot: 0, nobody wants to see it; 1, the stream wants to; more: of so many frames and
            one the sums do, where the fast path adds them up.
        watched_said: What the bot says, likewise.
        sums: Shape (rows, 2, 5): of what goes to the bot and of what it says, as `Look.of_sums` takes them.
        hears: How the fast path converts what the caller says; PYTHONS: it does not.
        says: How it converts what the bot says.
        apart: A connection of its own carries it, not RTP.
    """

    def __init__(self, capacity: int) -> None:
        self.due: Rows = np.full(capacity, NEVER, np.int64)
        self.words: NDArray[np.uint32] = np.zeros((capacity, 3), np.uint32)
        self.sent: Rows = np.zeros(capacity, np.int64)
        self.addresses: NDArray[np.uint8] = np.zeros((capacity, ADDRESS_BYTES), np.uint8)
        self.lines: NDArray[np.int32] = np.full(capacity, -1, np.int32)
        self.watched: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.watched_said: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.sums: Rows = np.zeros((capacity, 2, 5), np.int64)
        self.hears: NDArray[np.int32] = np.full(capacity, PYTHONS, np.int32)
        self.says: NDArray[np.int32] = np.full(capacity, PYTHONS, np.int32)
        self.apart: NDArray[np.bool_] = np.zeros(capacity, np.bool_)

    def grow(self, capacity: int) -> None:
        """Makes room for so many rows in all; those there are stay."""
        more = Columns(capacity - len(self.due))
        for name, old in vars(self).items():
            setattr(self, name, np.concatenate((old, getattr(more, name))))

    @property
    def shared(self) -> tuple[NDArray[Any], ...]:
        """Those that the fast path works on, in the order of native/rows.c."""
        state = self.due, self.words, self.sent, self.addresses
        return *state, self.lines, self.watched, self.watched_said, self.sums, self.hears, self.says
