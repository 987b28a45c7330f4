"""The receive sides of many streams at once: `Timeline` for what usually happens, as columns.

What usually happens is the next packet, of 20 ms, with the next timestamp; and a caller who says nothing for a while.
Both only move counters, so they are done for all rows by a few array operations. Whatever else happens to a row is
left to its `Timeline`: the row is written back to it, it decides, and the row is read from it again. So there is one
set of rules, and the columns are a fast way through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connector.media.frames import FRAME_BYTES, FRAME_MS, SAMPLE_RATE_HZ
from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import (
    MAX_LATE_RUN,
    MAX_MISORDER,
    SILENT_AFTER_S,
    STEADY_AFTER_S,
    SURELY_SILENT_AFTER_S,
    Frame,
    Timeline,
)

Rows = NDArray[np.int64]
Words = NDArray[np.uint32]
Mask = NDArray[np.bool_]

_RECENT_MASK = (1 << MAX_MISORDER) - 1
# The columns of the state.
_RUN = 0
"""Packets since the row was read from its timeline, all in order."""
_FRAMES, _SAMPLES = 1, 2
_FILLED = 3
"""Samples of silence since the row was read from its timeline."""
_IN_PAUSE, _AHEAD = 4, 5
_COLUMNS = 6


def _step(**columns: int) -> Rows:
    values = {"run": _RUN, "frames": _FRAMES, "samples": _SAMPLES, "filled": _FILLED, "in_pause": _IN_PAUSE}
    step = np.zeros(_COLUMNS, np.int64)
    for name, value in columns.items():
        step[{**values, "ahead": _AHEAD}[name]] = value
    return step


_PACKET = _step(run=1, frames=1, samples=FRAME_BYTES)
_SILENCE = _step(frames=1, samples=FRAME_BYTES, filled=FRAME_BYTES, in_pause=FRAME_BYTES, ahead=FRAME_BYTES)

_VERSION_2 = 0x80000000
"""Of the first word of an RTP header: version 2, nothing else set, no marker."""
_FIXED = 0xFFFF0000
"""Of that word, what does not change from packet to packet."""
FRAME_S = FRAME_MS / 1000
_NOTHING = 0
"""No header has it as its first word."""


class TimelineRows:
    """Timelines by row.

    Args:
        capacity: Rows there are at first.
    """

    def __init__(self, capacity: int) -> None:
        self._timelines: list[Timeline | None] = [None] * capacity
        self._start: NDArray[np.float64] = np.zeros(capacity)
        self._heard: NDArray[np.float64] = np.zeros(capacity)
        self._state: Rows = np.zeros((capacity, _COLUMNS), np.int64)
        self._expected: Words = np.zeros((capacity, 3), np.uint32)
        """The RTP header that usually comes next, in words."""
        self._waits: Mask = np.zeros(capacity, np.bool_)
        """Packets wait for others: each step is for its timeline."""
        self._jitter: NDArray[np.float64] = np.zeros(capacity)
        """Interarrival jitter in s (RFC 3550 section 6.4.1), over packets that came in order."""
        self._whole: Mask = np.zeros(capacity, np.bool_)
        """No part of a frame waits."""

    @property
    def columns(self) -> tuple[NDArray[np.generic], ...]:
        """As native/rows.c wants them."""
        return self._start, self._heard, self._state, self._expected, self._jitter, self._waits

    def grow(self, capacity: int) -> None:
        """Makes room for more rows; those there are stay."""
        more = capacity - len(self._timelines)
        self._timelines += [None] * more
        for name in ("_start", "_heard", "_state", "_expected", "_jitter", "_whole", "_waits"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate((old, np.zeros((more, *old.shape[1:]), old.dtype))))

    def open(self, row: int, timeline: Timeline) -> None:
        """Puts a timeline into a row."""
        self._timelines[row] = timeline
        self._jitter[row] = 0.0
        self._load(row, timeline)

    def jitter_s(self, row: int) -> float:
        """Interarrival jitter (RFC 3550 section 6.4.1)."""
        return float(self._jitter[row])

    def close(self, row: int) -> None:
        """Brings the row's timeline up to date and takes it out."""
        self.sync(row)
        self._timelines[row] = None
        self._waits[row] = False
        self._expected[row] = _NOTHING

    def sync(self, row: int) -> None:
        """Brings the row's timeline up to date."""
        timeline = self._timelines[row]
        assert timeline is not None
        state = self._state[row]
        run, frames, samples, filled, in_pause, ahead = state.tolist()
        if run:
            timeline.counts.received += run
            shift = min(run, MAX_MISORDER)
            timeline._recent = (timeline._recent << shift | ((1 << shift) - 1)) & _RECENT_MASK
            timeline._late_run = 0
            timeline._next_sequence = uint16(timeline._next_sequence + run)
            timeline._next_timestamp = uint32(timeline._next_timestamp + run * FRAME_BYTES)
        timeline.counts.filled_samples += filled
        timeline._heard_s = float(self._heard[row])
        timeline._frames_out, timeline._samples = frames, samples
        timeline._filled_in_pause, timeline._ahead = in_pause, ahead
        state[_RUN] = state[_FILLED] = 0

    def receive(self, rows: Rows, words: Words, whole: Mask, now_s: float) -> tuple[Mask, Rows]:
        """Takes a packet for each of these rows, each row once.

        Args:
            rows: Shape (n,).
            words: Shape (n, 3): the first 12 bytes of the datagrams as uint32.
            whole: Shape (n,): whether the datagram is one of 20 ms, with nothing but such a header.
            now_s: Monotonic time.

        Returns:
            Which of them are done: each is one frame for the bot, its payload that of the packet. The others have
            changed nothing and are for `receive_one`. And the media time in ms of each frame that is done.
        """
        expected = self._expected[rows]
        done: Mask = (expected == words).all(axis=1)
        done &= whole
        if not done.all():
            rows, expected = rows[done], expected[done]
        state = self._state[rows]
        state += _PACKET
        state[:, _IN_PAUSE] = 0
        if state[:, _AHEAD].any():
            self._pay_back(rows, state, now_s)
        self._state[rows] = state
        jitter = self._jitter[rows]
        jitter += (np.abs(now_s - self._heard[rows] - FRAME_S) - jitter) / 16
        self._jitter[rows] = jitter
        self._heard[rows] = now_s
        fixed = expected[:, 0] & _FIXED
        expected[:, 0] = (expected[:, 0] + 1) & 0xFFFF | fixed
        expected[:, 1] += FRAME_BYTES
        self._expected[rows] = expected
        return done, (state[:, _FRAMES] - 1) * FRAME_MS

    def _pay_back(self, rows: Rows, state: Rows, now_s: float) -> None:
        """What is ahead of the wall clock no more is no debt; compared outside of bursts only."""
        interval = now_s - self._heard[rows]
        steady = (interval >= STEADY_AFTER_S) & (interval < SILENT_AFTER_S)
        before = state[:, _SAMPLES] - ((now_s - self._start[rows]) * SAMPLE_RATE_HZ).astype(np.int64)
        owed = np.minimum(state[:, _AHEAD], np.maximum(0, before))
        state[:, _AHEAD] = np.where(steady, owed, state[:, _AHEAD])

    def receive_one(self, row: int, packet: RtpPacket, now_s: float) -> list[Frame]:
        """Any packet, for one row, by all the rules."""
        timeline = self._timelines[row]
        assert timeline is not None
        self.sync(row)
        if timeline.expects(packet):
            late_s = now_s - timeline.heard_s - timeline.duration_s(packet)
            self._jitter[row] += (abs(late_s) - self._jitter[row]) / 16
        frames = timeline.receive(packet, now_s)
        self._load(row, timeline)
        return frames

    def tick(self, rows: Rows, now_s: float) -> tuple[Rows, Rows, Rows, Rows]:
        """A 20 ms step of the clock of these rows, each row once.

        Returns:
            Rows that give the bot a frame of silence; the media time in ms of each such frame; rows whose silence
            is not a frame of its own, which go to `tick_one`; rows that are behind by more than this frame.
        """
        pause = now_s - self._heard[rows]
        waiting = self._waits[rows]
        held = rows[waiting] if waiting.any() else _NONE
        silent = (pause >= SILENT_AFTER_S) & ~waiting
        if not silent.any():
            return _NONE, _NONE, held, _NONE
        rows, pause = rows[silent], pause[silent]
        behind = ((now_s - self._start[rows]) * SAMPLE_RATE_HZ).astype(np.int64) - self._state[rows, _SAMPLES]
        in_pause = (
            ((pause - SILENT_AFTER_S) * SAMPLE_RATE_HZ).astype(np.int64) + FRAME_BYTES - self._state[rows, _IN_PAUSE]
        )
        fill = np.where(pause < SURELY_SILENT_AFTER_S, np.minimum(behind, in_pause), behind)
        fill = np.where(behind < FRAME_BYTES, 0, fill)
        due = fill >= FRAME_BYTES
        lagging = rows[fill >= 2 * FRAME_BYTES]
        one = due & self._whole[rows]
        others = np.concatenate((held, rows[due & ~one]))
        rows = rows[one]
        state = self._state[rows] + _SILENCE
        self._state[rows] = state
        return rows, (state[:, _FRAMES] - 1) * FRAME_MS, others, lagging

    def tick_one(self, row: int, now_s: float) -> list[Frame]:
        """The step for one row by all the rules."""
        timeline = self._timelines[row]
        assert timeline is not None
        self.sync(row)
        frames = timeline.tick(now_s)
        self._load(row, timeline)
        return frames

    def _load(self, row: int, timeline: Timeline) -> None:
        self._start[row] = timeline._start_s
        self._heard[row] = timeline._heard_s
        ahead, in_pause = timeline._ahead, timeline._filled_in_pause
        self._state[row] = 0, timeline._frames_out, timeline._samples, 0, in_pause, ahead
        self._whole[row] = not timeline._buffer
        self._waits[row] = timeline.waits
        if (
            timeline._buffer
            or timeline.waits
            or timeline.conceals
            or timeline._ssrc is None
            or timeline._late_run >= MAX_LATE_RUN
            or timeline._frame_bytes != FRAME_BYTES
            or timeline._clock_ratio != 1
        ):
            self._expected[row] = _NOTHING  # so that each packet goes by the rules
        else:
            header = _VERSION_2 | timeline.payload_type << 16 | timeline._next_sequence
            self._expected[row] = header, timeline._next_timestamp, timeline._ssrc


_NONE: Rows = np.zeros(0, np.int64)
