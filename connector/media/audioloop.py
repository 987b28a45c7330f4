"""The audio path of all streams of a worker: one UDP socket, one clock, many datagrams a system call.

Streams are rows of columns. Each 2 ms what has come is read in one go and given to the bots, and the tenth of the rows
whose turn it is sends its 20 ms: so each stream is paced every 20 ms and no step is a burst. After a stall steps are
skipped, never made up for: a burst would go straight to the caller's phone.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable

import numpy as np
import structlog

from connector.media import counters
from connector.media.carrier import Carrier, Numbering
from connector.media.columns import NEVER, PYTHONS, Columns
from connector.media.counters import Counters
from connector.media.fastpath import FastPath
from connector.media.fastrows import FastRows
from connector.media.frames import FRAME_BYTES
from connector.media.idle import Idle
from connector.media.lanes import Lanes
from connector.media.mmsg import Batch, pack_address
from connector.media.pacing import PacingClock
from connector.media.rtp import HEADER_BYTES, MAX_DATAGRAM_BYTES, RtpReject, parse
from connector.media.sender import Sender
from connector.media.side import Side
from connector.media.sources import NOBODY, Sources
from connector.media.strangers import Strangers
from connector.media.stream import Stream
from connector.media.ticker import Ticker
from connector.media.timeline import Frame
from connector.media.timeline_rows import Rows, TimelineRows

STEP_S = 0.002
PHASES = 10
"""Steps in 20 ms."""
BATCH = 256
"""Datagrams a system call."""
BATCHES_PER_TURN = 4
FIRST_CAPACITY = 64

_PACKET_BYTES = HEADER_BYTES + FRAME_BYTES
Leg = Stream | Side
"""What has a row."""

log = structlog.get_logger()


class AudioLoop:
    """Reads, paces and counts.

    Args:
        rtp: Bound, non-blocking UDP socket.
        totals: The worker's counters.
        fast: Writes for the streams that have a line in it; None: there is none.
        failed: Told of a stream in which a defect came up; it is detached already.
    """

    def __init__(
        self, rtp: socket.socket, totals: Counters, fast: FastPath | None, failed: Callable[[Leg, Exception], None]
    ) -> None:
        self.late_s = 0.0
        """The largest lateness of a step since this was last set to 0."""
        self._rtp = rtp
        self._fd = rtp.fileno()
        self._totals = totals
        self._fast = fast
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._clock = PacingClock(time.monotonic(), STEP_S)
        self._ticker: Ticker | None = None
        # One more than allowed: the kernel cuts a datagram off at the size of the buffer.
        self._in = Batch(BATCH, MAX_DATAGRAM_BYTES + 8, rtp.family)
        self._in_words = self._in.words(3)
        self._sources = Sources(rtp, self._in, totals)
        self._streams: list[Leg | None] = [None] * FIRST_CAPACITY
        self._free = list(range(FIRST_CAPACITY - 1, -1, -1))
        self._timelines = TimelineRows(FIRST_CAPACITY)
        self._heard = Lanes(FIRST_CAPACITY)
        self._said = Lanes(FIRST_CAPACITY)
        self._of = Columns(FIRST_CAPACITY)
        self._sender = Sender(rtp, self._of, BATCH)
        self._idle = Idle(self._of)
        self._in_phase = [0] * PHASES
        self._carried: dict[int, tuple[Carrier, Numbering]] = {}  # by row, those that RTP does not carry
        self._native: FastRows | None = None
        if fast is not None:
            self._native = FastRows(fast, self, self._fd, self._in, ipv6=rtp.family == socket.AF_INET6)
            self._native.columns(*self._timelines.columns, *self._of.shared)

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts to read and to pace."""
        self._ticker = Ticker(self._clock.deadline_s, STEP_S)
        self._loop.add_reader(self._ticker.fd, self._tick)

    def stop(self) -> None:
        """Stops both."""
        if self._ticker is not None:
            self._loop.remove_reader(self._ticker.fd)
            self._ticker.close()
            self._ticker = None

    @property
    def strangers(self) -> Strangers:
        """Who sends though no stream is with that address."""
        return self._sources.strangers

    @property
    def attached(self) -> int:
        """Streams that exchange audio."""
        return len(self._sources) + len(self._carried)

    # -- rows --------------------------------------------------------------------------------------------------

    def attach(self, stream: Leg, host: str, port: int) -> None:
        """Exchanges audio between the stream and this address, and no other.

        Args:
            stream: Any.
            host: An address of the socket's family, as a number.
            port: 0 to 65535.
        """
        address = pack_address(self._rtp.family, host, port)
        key = self._sources.key(address)
        taken = self._sources.row(key)
        if taken != NOBODY:
            other = self._streams[taken]
            if other is stream:
                return
            # Asterisk alone gives out its ports: what it says now is true, the old stream is a left-over.
            self._totals.add(counters.RTP_SOURCE_TAKEN_OVER)
            log.warning("rtp_source_taken_over", source=self._sources.text(key), stream_id=stream.stream_id)
            assert other is not None
            self.detach(other)
        self.detach(stream)
        row = self._open_row(stream)
        self._sources.open(key, row)
        self._sender.open(row, stream.rtp.state, stream.wire.said_type, address)
        self._idle.open(row, sends_silence=stream.sends_silence)
        if self._native is not None:
            self._native.open(row, stream, self._heard, self._said, self._of)

    def attach_carrier(self, stream: Stream, carrier: Carrier) -> None:
        """Exchanges audio between the stream and this connection."""
        self.detach(stream)
        row = self._open_row(stream)
        self._carried[row] = carrier, Numbering(stream.wire)
        self._of.apart[row] = True
        stream.carrier = carrier

    def _open_row(self, stream: Leg) -> int:
        row = self._take_row()
        self._heard.open(row, stream.wire.heard, stream.bot_hears)
        self._said.open(row, stream.bot_says, stream.wire.said)
        stream.row = row
        self._streams[row] = stream
        self._of.lines[row], self._of.watched[row] = stream.line, stream.gauge.watches
        self._timelines.open(row, stream.attach(time.monotonic()))
        self._of.sent[row] = 0
        phase = self._in_phase.index(min(self._in_phase))
        self._in_phase[phase] += 1
        first = self._clock.step + 1
        self._of.due[row] = first + (phase - first) % PHASES
        return row

    def detach(self, stream: Leg) -> None:
        """Stops the audio; what still comes from the address is drained for a while."""
        if (row := stream.row) is None:
            return
        self.sync(stream)
        self._timelines.close(row)
        stream.row = None
        stream.lends = False
        self._of.hears[row] = self._of.says[row] = PYTHONS
        self._streams[row] = None
        self._idle.close(row)
        if row in self._carried:
            carrier, _ = self._carried.pop(row)
            self._of.apart[row] = False
            stream.carrier = None
            carrier.close()
        else:
            self._sources.close(row)
            if self._native is not None:
                self._native.close(row)
        self._in_phase[int(self._of.due[row]) % PHASES] -= 1
        self._of.due[row] = NEVER
        self._free.append(row)

    def watch(self, stream: Leg) -> None:
        """Asks the stream anew which frames it wants to see; to be called after each look of its gauge."""
        if (row := stream.row) is not None:
            self._of.watched[row], self._of.watched_said[row] = stream.gauge.watches, stream.gauge.bot.watches

    def sync(self, stream: Leg) -> None:
        """Brings the stream's own counters up to date."""
        if (row := stream.row) is None:
            return
        self._timelines.sync(row)
        stream.gauge.jitter_s = self._timelines.jitter_s(row)
        stream.gauge.add(self._of.sums[row].tolist())
        self._of.sums[row] = 0
        stream.packets_out += int(self._of.sent[row])
        self._of.sent[row] = 0
        if row in self._carried:
            return
        stream.rtp.state = self._sender.state(row)

    def forget(self, now_s: float) -> None:
        """Drops what has drained long enough, and counts anew who else sends. Once a second."""
        self.strangers.second(now_s)

    def _take_row(self) -> int:
        if not self._free:
            have = len(self._streams)
            self._free = list(range(2 * have - 1, have - 1, -1))
            self._streams += [None] * have
            for rows in (self._timelines, self._heard, self._said):
                rows.grow(2 * have)
            self._of.grow(2 * have)
            if self._native is not None:
                self._native.columns(*self._timelines.columns, *self._of.shared)
        return self._free.pop()

    # -- from the callers --------------------------------------------------------------------------------------

    def read(self, now_s: float) -> None:
        """Takes what has come."""
        for _ in range(BATCHES_PER_TURN):
            try:
                count, places, rows = self._receive(now_s)
            except OSError as error:  # an error that the network reported, for an earlier packet of ours
                log.debug("rtp_receive_failed", error=str(error))
                return
            if count:
                self._totals.add(counters.RTP_RECEIVED, count)
            if places.size:
                self._take(places, rows.tolist(), now_s)
            if count < BATCH:
                return

    def _receive(self, now_s: float) -> tuple[int, Rows, Rows]:
        """How many datagrams came; the places in the batch of those to be taken, and their rows, NOBODY for none."""
        return self._sources.receive() if self._native is None else self._native.hear(now_s)

    def _take(self, places: Rows, rows: list[int], now_s: float) -> None:
        if len(set(rows)) == len(rows) and NOBODY not in rows:
            self._take_each(places, np.array(rows), now_s)
            return
        # A packet of a stream must not be taken before an earlier one of it: as many rounds as one has packets.
        rounds: list[tuple[list[int], list[int]]] = []
        seen: dict[int, int] = {}
        for place, row in zip(places.tolist(), rows, strict=True):
            if row == NOBODY:
                self._sources.from_stranger(place)
                continue
            turn = seen[row] = seen.get(row, -1) + 1
            if turn == len(rounds):
                rounds.append(([], []))
            rounds[turn][0].append(place)
            rounds[turn][1].append(row)
        for of, whose in rounds:
            self._take_each(np.array(of), np.array(whose), now_s)

    def _take_each(self, places: Rows, rows: Rows, now_s: float) -> None:
        """Packets at these places of the batch, each of another row."""
        words = self._in_words[places].astype(np.uint32)
        done, stamps = self._timelines.receive(rows, words, self._in.sizes[places] == _PACKET_BYTES, now_s)
        if not done.all():
            for place, row in zip(places[~done].tolist(), rows[~done].tolist(), strict=True):
                self._take_one(place, row, now_s)
            places, rows = places[done], rows[done]
        if rows.size:
            joined = self._in.data[places, HEADER_BYTES:_PACKET_BYTES].tobytes()
            payloads = [joined[at : at + FRAME_BYTES] for at in range(0, len(joined), FRAME_BYTES)]
            self._to_bots(rows, payloads, stamps)

    def _take_one(self, place: int, row: int, now_s: float) -> None:
        """A packet by all the rules."""
        stream = self._streams[row]
        if stream is None:
            return
        packet = parse(self._in.data[place, : self._in.sizes[place]].tobytes(), payload_type=stream.wire.heard_type)
        if isinstance(packet, RtpReject):
            self._totals.add(counters.rtp_rejected(packet))
            stream.rejected_rtp(packet, int(self._in.data[place, 1]) & 0x7F)
            return
        try:
            self._hear_each(row, self._timelines.receive_one(row, packet, now_s))
        except Exception as defect:
            self._defect(stream, defect)

    def take_carried(self, stream: Leg, payload: bytes) -> None:
        """What came by a stream's own connection."""
        row = stream.row
        if row is None or row not in self._carried or not payload:
            return
        self._totals.add(counters.RTP_RECEIVED)
        _, numbering = self._carried[row]
        try:
            frames = self._timelines.receive_one(row, numbering.packet(payload), time.monotonic())
            self._hear_each(row, frames)
        except Exception as defect:
            self._defect(stream, defect)

    def _hear_each(self, row: int, frames: list[Frame]) -> None:
        """Frames of one row."""
        only = np.array((row,))
        converted = [self._heard.convert(only, (frame.payload,))[0] for frame in frames]
        for at in range(0, len(frames), BATCH):
            some = converted[at : at + BATCH]
            stamps = np.array([frame.timestamp_ms for frame in frames[at : at + BATCH]])
            self._write(np.full(len(some), row), some, stamps)

    def _to_bots(self, rows: Rows, payloads: list[bytes], stamps: Rows) -> None:
        """A frame for each row; an empty one is silence."""
        self._write(rows, self._heard.convert(rows, payloads), stamps)

    def _write(self, rows: Rows, frames: list[bytes], stamps: Rows) -> None:
        """Frames in the formats of the rows' bots, at most BATCH."""
        watched = self._of.watched[rows]
        if watched.any():
            for place in np.flatnonzero(watched).tolist():
                self.on_heard(int(rows[place]), frames[place])
        places: Iterable[int] = range(len(frames))
        if self._fast is not None:
            places = self._fast.send(self._of.lines[rows], stamps, frames)
        for place in places:
            self.on_unsent(int(rows[place]), frames[place], int(stamps[place]))

    def on_heard(self, row: int, frame: bytes) -> None:
        """A frame that goes to the bot, of a row that is watched."""
        stream = self._streams[row]
        self._of.watched[row] = 0 if stream is None else stream.gauge.see(frame)

    def on_unsent(self, row: int, frame: bytes, stamp_ms: int) -> None:
        """A frame for the bot that the fast path has not written."""
        stream = self._streams[row]
        if stream is not None:
            try:
                stream.hear(frame, stamp_ms)
            except Exception as defect:
                self._defect(stream, defect)

    def on_said(self, row: int, frame: bytes) -> None:
        """A frame of the bot on its way to the caller, of a row whose bot is watched."""
        stream = self._streams[row]
        if stream is not None:
            stream.gauge.say(frame)
            self._of.watched_said[row] = stream.gauge.bot.watches

    # -- to the callers ----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        assert self._ticker is not None
        self._ticker.clear()
        now_s = time.monotonic()
        due = self._clock.due(now_s)
        if due is None:
            return
        skipped, late_s = due
        self.late_s = max(self.late_s, late_s)
        self._totals.add(counters.LATE_TICKS, skipped // PHASES)
        # What came while we stood still is audio, and must not be taken for silence.
        self.read(now_s)
        if self._fast is not None and self._native is not None:
            self._fast.receive()
            failed, quiet = self._native.say(self._clock.step, now_s)
            if failed:
                self._totals.add(counters.RTP_SEND_FAILED, failed)
            for at in range(0, quiet.size, BATCH):
                self._fill(self._fill(quiet[at : at + BATCH], now_s), now_s)
        rows = np.flatnonzero(self._of.due <= self._clock.step)
        for at in range(0, rows.size, BATCH):
            self._pace(rows[at : at + BATCH], now_s)

    def _pace(self, rows: Rows, now_s: float) -> None:
        """Sends 20 ms for each row."""
        frames = []
        defects: list[tuple[Leg, Exception]] = []
        for row in rows.tolist():
            stream = self._streams[row]
            frame = None
            if stream is not None and (stream.carrier is None or stream.carrier.ready):
                try:
                    frame = stream.step()
                except Exception as error:
                    defects.append((stream, error))
            frames.append(frame or b"")
        due = self._of.due[rows]
        skipped = (self._clock.step - due) // PHASES
        self._of.due[rows] = due + (skipped + 1) * PHASES
        if (talking := self._idle.without(rows, frames, skipped))[0].size:
            self._say(*talking)
        # Twice as fast as real time where a stall of our own is to be made up for.
        self._fill(self._fill(rows, now_s), now_s)
        for stream, defect in defects:
            self._defect(stream, defect)

    def _say(self, rows: Rows, frames: list[bytes], skipped: Rows) -> None:
        """A frame for each row; an empty one is silence."""
        self._of.sent[rows] += 1
        payloads = self._said.convert(rows, frames)
        apart = self._of.apart[rows]
        if apart.any():
            for place in np.flatnonzero(apart).tolist():
                self._send_apart(int(rows[place]), payloads[place], silent=not frames[place])
            together = np.flatnonzero(~apart)
            payloads = [payloads[place] for place in together.tolist()]
            failed = self._sender.send(rows[together], payloads, skipped[together])
        else:
            failed = self._sender.send(rows, payloads, skipped)
        if failed:
            self._totals.add(counters.RTP_SEND_FAILED, failed)

    def _fill(self, rows: Rows, now_s: float) -> Rows:
        """A frame of silence where nothing came for a while; gives the rows that are behind by more."""
        if not rows.size:
            return rows
        silent, stamps, others, lagging = self._timelines.tick(rows, now_s)
        if silent.size:
            self._to_bots(silent, [b""] * silent.size, stamps)
        for row in others.tolist():
            self._tick_one(row, now_s)
        return lagging

    def _send_apart(self, row: int, payload: bytes, *, silent: bool) -> None:
        if row in self._carried and not self._carried[row][0].send(payload, silent=silent):
            self._totals.add(counters.RTP_SEND_FAILED)

    def _tick_one(self, row: int, now_s: float) -> None:
        stream = self._streams[row]
        if stream is None:
            return
        try:
            self._hear_each(row, self._timelines.tick_one(row, now_s))
        except Exception as defect:
            self._defect(stream, defect)

    def _defect(self, stream: Leg, defect: Exception) -> None:
        """A defect in one stream must not stop the clock of the others."""
        self.detach(stream)
        self._failed(stream, defect)
