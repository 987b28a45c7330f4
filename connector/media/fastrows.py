"""The rows of the audio loop by the compiled helper (native/rows.c): RTP to messages, and what bots say to RTP.

It works on the audio loop's own columns, so Python may do any part of any row at any time: what is left to it, and all
where there is no helper.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connector.audio.formats import AudioFormat
from connector.audio.transcode import Plan, codes
from connector.media.columns import PYTHONS, Columns
from connector.media.fastpath import HEARD, MOST_AT_ONCE, REST, UNSENT, FastPath
from connector.media.lanes import Lanes, Rows
from connector.media.mmsg import Batch

LANES = 32
"""Kinds of conversion each way; what comes later is Python's."""
_MOST_FRAME = 1_920


class _Lane(ctypes.Structure):
    """Lane of native/fastpath.h."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("to_linear", ctypes.c_void_p),
        ("from_linear", ctypes.c_void_p),
        ("at_bot", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("past", ctypes.c_void_p),
        ("width", ctypes.c_uint32),
        ("block", ctypes.c_uint32),
        ("made", ctypes.c_uint32),
        ("source_bytes", ctypes.c_uint32),
        ("target_bytes", ctypes.c_uint32),
        ("silence", ctypes.c_uint8 * _MOST_FRAME),
    )


class RowOwner(Protocol):
    """What happens to a row."""

    def on_heard(self, row: int, frame: bytes) -> None:
        """A frame that goes to the bot, of a row that is watched."""
        ...

    def on_unsent(self, row: int, frame: bytes, stamp_ms: int) -> None:
        """A frame for the bot that could not be written."""
        ...

    def on_said(self, row: int, frame: bytes) -> None:
        """A frame of the bot, of a row whose bot is watched."""
        ...


class Leg(Protocol):
    """What has a row."""

    bot_hears: AudioFormat
    bot_says: AudioFormat
    lends: bool
    """Its playout is to be lent to its line."""

    @property
    def line(self) -> int:
        """Number of its line, -1 for none."""
        ...

    @property
    def sends_silence(self) -> bool:
        """While the bot says nothing, silence goes to the caller."""
        ...


class FastRows:
    """All rows of a worker.

    Args:
        fast: The helper.
        owner: Is told what happens.
        fd: The UDP socket.
        batch: For what is left to Python, MOST_AT_ONCE datagrams.
        ipv6: Of that socket.
    """

    def __init__(self, fast: FastPath, owner: RowOwner, fd: int, batch: Batch, *, ipv6: bool) -> None:
        self._fast = fast
        self._owner = owner
        self._fd = fd
        self._batch_at = batch.at
        self._ipv6 = ipv6
        self._lanes: dict[
            int, tuple[int, Plan, NDArray[np.int16] | None]
        ] = {}  # by the identity of a transcoder, which lives as long as we do
        self._count = 0
        self._places: NDArray[np.int32] = np.zeros(MOST_AT_ONCE, np.int32)
        self._owners_of: NDArray[np.int32] = np.zeros(MOST_AT_ONCE, np.int32)
        self._quiet: NDArray[np.int32] = np.zeros(0, np.int32)
        self._left: NDArray[np.int32] = np.zeros(1, np.int32)
        self._failed: NDArray[np.int32] = np.zeros(1, np.int32)
        self._told: NDArray[np.uint32] = np.zeros(1, np.uint32)
        self._columns: NDArray[np.uint64] = np.zeros(0, np.uint64)
        events = fast.events_out[:4]
        left = self._places.ctypes.data, self._owners_of.ctypes.data, self._left.ctypes.data
        self._hear_out = *left, *events, self._told.ctypes.data
        self._say_out = self._failed.ctypes.data, *events, self._told.ctypes.data

    def columns(self, *columns: NDArray[np.generic]) -> None:
        """Where the columns are, in the order of native/rows.c; again whenever they have grown."""
        self._columns = np.array([column.ctypes.data for column in columns], np.uint64)
        self._count = len(columns[0])
        self._quiet = np.zeros(self._count, np.int32)
        library = self._fast.library
        if not library.rows_columns(self._fast.at, self._columns.ctypes.data, self._count, self._ipv6):
            raise MemoryError("no memory for the rows of the fast path")
        for each in self._lanes.values():
            self._give_lane(*each)  # the resamplers' states have grown too

    def open(self, row: int, leg: Leg, heard: Lanes, said: Lanes, columns: Columns) -> None:
        """The row is this one's: what comes from its address, and both ways of its audio as far as we can do them."""
        self._fast.library.rows_open(self._fast.at, row)
        if leg.line >= 0:
            columns.hears[row] = self.lane(heard, row, leg.bot_hears)
            if leg.sends_silence:
                columns.says[row] = self.lane(said, row, leg.bot_says)
            leg.lends = bool(columns.says[row] != PYTHONS)

    def close(self, row: int) -> None:
        """No more."""
        self._fast.library.rows_close(self._fast.at, row)

    def lane(self, lanes: Lanes, row: int, bot: AudioFormat) -> int:
        """For the column `hears` or `says`: how the helper does the row's conversion, PYTHONS if it cannot.

        Args:
            lanes: All conversions in that direction.
            row: Which.
            bot: In what the bot has its side of it.
        """
        transcoder = lanes.transcoder(row)
        known = self._lanes.get(id(transcoder))
        if known is not None:
            return known[0]
        plan = transcoder.plan
        number = len(self._lanes)
        at_bot = codes(bot.encoding)
        if plan is None or number >= 2 * LANES or not self._give_lane(number, plan, at_bot):
            return PYTHONS
        self._lanes[id(transcoder)] = number, plan, at_bot
        return number

    def _give_lane(self, number: int, plan: Plan, at_bot: NDArray[np.int16] | None) -> bool:
        lane = _Lane(source_bytes=plan.source_bytes, target_bytes=plan.target_bytes)
        if plan.to_linear is not None:
            lane.to_linear = plan.to_linear.ctypes.data
        if plan.from_linear is not None:
            lane.from_linear = plan.from_linear.ctypes.data
        if at_bot is not None:
            lane.at_bot = at_bot.ctypes.data
        if plan.resampler is not None:
            kernel, past = plan.resampler.kernel, plan.resampler.past
            lane.kernel, lane.past = kernel.ctypes.data, past.ctypes.data
            lane.width, lane.made = kernel.shape
            lane.block = lane.width - past.shape[1]
        if max(plan.source_bytes, plan.target_bytes) > _MOST_FRAME:
            return False
        ctypes.memmove(lane.silence, plan.silence, len(plan.silence))
        return bool(self._fast.library.rows_lane(self._fast.at, number, ctypes.byref(lane)))

    def hear(self, now_s: float) -> tuple[int, Rows, Rows]:
        """Takes what has come, and gives it to the bots.

        Returns:
            How many datagrams came; the places in the batch of those that are left to Python; their rows, -1 for none.

        Raises:
            OSError: What the network reported for an earlier datagram of ours.
        """
        count = self._fast.library.rows_hear(self._fast.at, self._fd, self._batch_at, now_s, *self._hear_out)
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        self._tell()
        left = int(self._left[0])
        return count, self._places[:left].astype(np.int64), self._owners_of[:left].astype(np.int64)

    def say(self, step: int, now_s: float) -> tuple[int, Rows]:
        """Sends 20 ms for each row whose turn it is and whose bot's audio is lent.

        Returns:
            How many could not be sent; which of the rows have heard nothing for a while.
        """
        fast = self._fast
        quiet = fast.library.rows_say(fast.at, self._fd, step, now_s, self._quiet.ctypes.data, *self._say_out)
        self._tell()
        return int(self._failed[0]), self._quiet[:quiet].astype(np.int64)

    def _tell(self) -> None:
        count = int(self._told[0])
        if not count:
            return
        owner = self._owner
        for who, kind, payload, stamp_ms in self._fast.told(count):
            if kind == HEARD:
                owner.on_heard(who, payload)
            elif kind == UNSENT:
                owner.on_unsent(who, payload, stamp_ms)
            elif kind == REST:
                self._fast.give(who, kind, payload)
            else:
                owner.on_said(who, payload)
