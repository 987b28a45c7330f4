"""Rows that send nothing while their bot says nothing, where others send silence.

Then there is a gap in the timestamps and none in the sequence, and the first packet of what is said next has the marker
(RFC 3550 section 5.1, RFC 3551 section 4.1): so nobody takes the pause for loss.
"""

from __future__ import annotations

import numpy as np

from connector.media.columns import Columns
from connector.media.lanes import Rows

MARKER = np.uint32(0x00800000)
"""In the first word of an RTP header."""


class Idle:
    """Which they are, and how long each has sent nothing.

    Args:
        columns: Of the rows; their headers get the marker.
    """

    def __init__(self, columns: Columns) -> None:
        self._of = columns
        self._paused: dict[int, int] = {}  # by row, steps of 20 ms without a packet

    def open(self, row: int, *, sends_silence: bool) -> None:
        """The row is one of them, unless it sends silence."""
        if not sends_silence:
            self._paused[row] = 0

    def close(self, row: int) -> None:
        """The row is none of them, or no more."""
        self._paused.pop(row, None)

    def without(self, rows: Rows, frames: list[bytes], skipped: Rows) -> tuple[Rows, list[bytes], Rows]:
        """Leaves out those that send nothing now.

        Args:
            rows: Shape (n,), each once; all kinds.
            frames: Of their bots, empty where one says nothing.
            skipped: Shape (n,): steps that each has missed before.

        Returns:
            The same of the others; to what was skipped a pause is added, where it ends.
        """
        if not self._paused:
            return rows, frames, skipped
        skipped = skipped.copy()
        talk = []
        for place, row in enumerate(rows.tolist()):
            paused = self._paused.get(row)
            if paused is not None and not frames[place]:
                self._paused[row] = paused + 1 + int(skipped[place])
                continue
            talk.append(place)
            if paused:
                skipped[place] += paused
                self._of.words[row, 0] |= MARKER
                self._paused[row] = 0
        return rows[talk], [frames[place] for place in talk], skipped[talk]
