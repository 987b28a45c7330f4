"""The send sides of many RTP streams at once: as `RtpSender` numbers the packets of one, from the columns of all."""

from __future__ import annotations

import socket

import numpy as np

from connector.media.columns import Columns
from connector.media.frames import FRAME_BYTES
from connector.media.lanes import Rows
from connector.media.mmsg import Batch
from connector.media.rtp import HEADER_BYTES

State = tuple[int, int, int, bool]
"""As of an `RtpSender`: next sequence number, next timestamp, SSRC, whether the next packet is the first of all."""
_VERSION_2 = 0x80000000
"""Of the first word of an RTP header."""
_AFTER_FIRST = 0xFF7F0000
"""Of that word, what each packet has from the one before: all but the marker and the sequence number."""


class Sender:
    """Sends for all rows of a worker.

    Args:
        rtp: Non-blocking UDP socket.
        columns: Of the rows; `words`, `addresses` and `sent` are ours.
        most: Packets at once.
    """

    def __init__(self, rtp: socket.socket, columns: Columns, most: int) -> None:
        self._fd = rtp.fileno()
        self._of = columns
        self._batch = Batch(most, HEADER_BYTES + FRAME_BYTES, rtp.family)
        self._words = self._batch.words(3)

    def open(self, row: int, state: State, payload_type: int, address: bytes) -> None:
        """The row sends from this state on, to this address."""
        sequence, timestamp, ssrc, marker = state
        self._of.words[row] = _VERSION_2 | marker << 23 | payload_type << 16 | sequence, timestamp, ssrc
        self._of.addresses[row] = np.frombuffer(address, np.uint8)

    def state(self, row: int) -> State:
        """How far the row has come."""
        first, timestamp, ssrc = self._of.words[row].tolist()
        return first & 0xFFFF, timestamp, ssrc, bool(first >> 23 & 1)

    def send(self, rows: Rows, payloads: list[bytes], skipped: Rows) -> int:
        """A packet for each of these rows.

        Args:
            rows: Shape (n,), each once.
            payloads: 20 ms for each.
            skipped: Shape (n,): steps of 20 ms that each has missed before.

        Returns:
            How many could not be sent.
        """
        count = rows.size
        if not count:
            return 0
        words = self._of.words[rows]
        if skipped.any():
            # Only the timestamp tells that we stood still: a gap in the sequence would be read as loss.
            words[:, 1] += (skipped * FRAME_BYTES).astype(np.uint32)
        self._words[:count] = words
        joined = np.frombuffer(b"".join(payloads), np.uint8)
        self._batch.data[:count, HEADER_BYTES:] = joined.reshape(count, FRAME_BYTES)
        self._batch.addresses[:count] = self._of.addresses[rows]
        failed = self._batch.send(self._fd, count)
        words[:, 0] = (words[:, 0] + 1) & 0xFFFF | words[:, 0] & _AFTER_FIRST
        words[:, 1] += FRAME_BYTES
        self._of.words[rows] = words
        return failed
