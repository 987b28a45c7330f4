"""Whose datagrams those are that come to a worker's port: the address that they come from names the row."""

from __future__ import annotations

import socket
import time

import numpy as np
import structlog

from connector.media import counters
from connector.media.counters import Counters
from connector.media.lanes import Rows
from connector.media.mmsg import Batch, source_columns, source_text
from connector.media.rtp import RtpReject
from connector.media.strangers import Strangers

NOBODY = -1

log = structlog.get_logger()


class Sources:
    """Rows by the address of their callers.

    Args:
        rtp: Bound, non-blocking UDP socket.
        batch: What `receive` fills.
        totals: The worker's counters.

    Attributes:
        strangers: Who sends though nobody is there.
    """

    def __init__(self, rtp: socket.socket, batch: Batch, totals: Counters) -> None:
        self.strangers = Strangers(rtp.family)
        self._family = rtp.family
        self._fd = rtp.fileno()
        self._batch = batch
        self._totals = totals
        self._columns = source_columns(rtp.family)
        self._rows: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, address: bytes) -> bytes:
        """What of a socket address names its sender."""
        return np.frombuffer(address, np.uint8)[self._columns].tobytes()

    def text(self, key: bytes) -> str:
        """For a log."""
        return source_text(self._family, key)

    def row(self, key: bytes) -> int:
        """Whose it is, or NOBODY."""
        return self._rows.get(key, NOBODY)

    def open(self, key: bytes, row: int) -> None:
        """It is this row's from now on."""
        self.strangers.no_more(key)
        self._rows[key] = row
        self._keys[row] = key

    def close(self, row: int) -> None:
        """It is nobody's; what still comes from there is drained for a while."""
        key = self._keys.pop(row)
        del self._rows[key]
        self.strangers.drain(key, time.monotonic())

    def receive(self) -> tuple[int, Rows, Rows]:
        """Takes what has come.

        Returns:
            How many datagrams came; their places in the batch; the rows that they are from, NOBODY for strangers.

        Raises:
            OSError: What the network reported for an earlier datagram of ours.
        """
        count = self._batch.receive(self._fd)
        keys = self._batch.addresses[:count][:, self._columns].tobytes()
        size, find = len(keys) // max(1, count), self._rows.get
        rows = [find(keys[at : at + size], NOBODY) for at in range(0, len(keys), size)] if count else []
        return count, np.arange(count), np.array(rows, np.int64)

    def from_stranger(self, place: int) -> None:
        """A datagram in the batch that is nobody's."""
        key = self._batch.addresses[place][self._columns].tobytes()
        if self.strangers.drains(key):
            self._totals.add(counters.RTP_DRAINED)
            return
        self._totals.add(counters.rtp_rejected(RtpReject.UNKNOWN_SOURCE))
        if self.strangers.hear(key):
            log.warning("rtp_from_unknown_source", source=self.text(key), streams=len(self._rows))
