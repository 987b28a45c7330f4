"""Which stream needs which conversion, so that all streams that need the same are converted together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat
from connector.audio.transcode import Transcoder

Rows = NDArray[np.int64]


class Lanes:
    """Transcoders by the formats that they convert, and rows by the transcoder that they need.

    Args:
        capacity: Rows there are at first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._numbers: dict[tuple[AudioFormat, AudioFormat], int] = {}
        self._transcoders: list[Transcoder] = []
        self._lane: Rows = np.zeros(capacity, np.int64)

    def grow(self, capacity: int) -> None:
        """Makes room for more rows; those there are stay."""
        self._lane = np.concatenate((self._lane, np.zeros(capacity - self._capacity, np.int64)))
        self._capacity = capacity
        for transcoder in self._transcoders:
            transcoder.grow(capacity)

    def open(self, row: int, source: AudioFormat, target: AudioFormat) -> None:
        """The row is another stream's now, which needs this conversion.

        Raises:
            ValueError: A rate that cannot be resampled.
            OpusMissing: Opus is wanted, and its library is not installed.
        """
        number = self._numbers.get((source, target))
        if number is None:
            number = len(self._transcoders)
            self._transcoders.append(Transcoder(source, target, capacity=self._capacity))
            self._numbers[source, target] = number
        self._lane[row] = number
        self._transcoders[number].reset(row)

    def transcoder(self, row: int) -> Transcoder:
        """The one that the row needs."""
        return self._transcoders[int(self._lane[row])]

    def convert(self, rows: Rows, payloads: Sequence[bytes]) -> list[bytes]:
        """A frame of each of these rows, each row once; an empty payload is a frame of silence."""
        lanes = self._lane[rows]
        first = int(lanes[0])
        if (lanes == first).all():
            return self._transcoders[first].convert(payloads, rows)
        converted: list[bytes] = [b""] * len(payloads)
        for number in set(lanes.tolist()):
            places = np.flatnonzero(lanes == number)
            taken = places.tolist()
            frames = self._transcoders[number].convert([payloads[place] for place in taken], rows[places])
            for place, frame in zip(taken, frames, strict=True):
                converted[place] = frame
        return converted
