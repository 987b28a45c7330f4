"""The receive side of one stream: packets and time in, gap-free 20 ms frames for the bot out.

Asterisk passes on what the caller's phone sends and fills nothing: mute, voice activity detection and hold stop
RTP, and a resumed stream has the next sequence number and a timestamp that jumped. A bot wants a clock that runs.
So silence is filled in, by two rules that know of each other: while nothing comes, by our clock; when packets
come again, by their timestamps, less what our clock has filled already. Nothing is held back: what waits for a
late packet would delay every call.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from connector.audio.transcode import silence
from connector.audio.wire import PLAIN, Wire
from connector.media.conceal import MAX_MS, concealer_for
from connector.media.control import OpenStream
from connector.media.frames import FRAME_BYTES, FRAME_MS, SAMPLE_RATE_HZ
from connector.media.rtp import RtpPacket, int16, int32, uint16, uint32

SILENT_AFTER_S = 0.060
"""Without a packet for so long, silence is filled: less is jitter."""
SURELY_SILENT_AFTER_S = 0.200
"""So long is no jitter: silence is filled up to our clock, and what drift or a frozen timestamp left is made good."""
STEADY_AFTER_S = 0.008
"""Packets that come closer are a burst, held up somewhere: our clock is compared only outside of one."""
MAX_FILL_SAMPLES = SAMPLE_RATE_HZ
"""At most one second is filled at once; what claims more has a new clock."""
MAX_DROPOUT = 3_000
"""A larger step forward in sequence is a new stream (RFC 3550 appendix A.1)."""
MAX_MISORDER = 100
"""A larger step back in sequence is a new stream (RFC 3550 appendix A.1)."""
FIRST_REORDER_S = 0.020
MAX_HELD = 16
"""Packets that may be missing before one that waits for them."""
MAX_CONCEALED_SAMPLES = MAX_MS * SAMPLE_RATE_HZ // 1000
MAX_LATE_RUN = 25
"""So many late packets in a row, with none on time: the sender went back for good."""
SILENT_G722 = b"\xfa"
"""What G.722 makes of silence from the first. For parts of a frame alone: a decoder that has heard speech makes a hum
of a constant."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """20 ms for the bot.

    Attributes:
        payload: As Asterisk sent it; empty for silence where the format has none that always sounds like it.
        timestamp_ms: Of its begin, since the stream began.
    """

    payload: bytes
    timestamp_ms: int


@dataclass(slots=True)
class ReceiveCounts:
    """What came and what did not, in packets.

    Of what the bot was given instead, in samples of 1/8000 s: `filled_samples` is silence, `concealed_samples` was made
    up in the place of lost packets.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    rebased: int = 0
    filled_samples: int = 0
    concealed_samples: int = 0


class Timeline:
    """Turns one caller's packets into frames.

    Its own clock counts 1/8000 s, whatever the format: so 20 ms are 160 of them always.

    Args:
        now_s: Monotonic time at which the bot's clock starts.
        wire: What Asterisk sends.
        reorder_max_ms: How long a packet may wait for one that should have come before it; 0: none waits. What comes
            in order is never delayed. How long it really waits adapts: it begins with a packet's time, doubles
            whenever a packet came too late for it, and shrinks when the wait was in vain.
        conceals: Whether lost packets are made up for, where the format allows it; else they are silence.
    """

    def __init__(self, now_s: float, wire: Wire = PLAIN, reorder_max_ms: int = 0, *, conceals: bool = False) -> None:
        self.counts = ReceiveCounts()
        self.payload_type = wire.heard_type
        self._clock_ratio = wire.heard_clock_hz // SAMPLE_RATE_HZ
        self._frame_bytes = wire.heard.frame_bytes
        self._unit_bytes = self._frame_bytes // FRAME_BYTES
        self._silence = silence(wire.heard)
        self._start_s = now_s
        self._heard_s = now_s
        self._buffer = bytearray()
        self._frames_out = 0
        self._samples = 0  # given to the bot, with what waits in the buffer
        self._filled_in_pause = 0  # by our clock, since the last packet
        self._ahead = 0  # filled by our clock, not yet accounted for by the caller's timestamps
        self._ssrc: int | None = None
        self._next_sequence = 0
        self._next_timestamp = 0
        self._recent = 0  # bit n: the packet n places before the newest came
        self._late_run = 0
        self._reorder_max_s = reorder_max_ms / 1000
        self._reorder_s = min(FIRST_REORDER_S, self._reorder_max_s)
        self._held: dict[int, tuple[RtpPacket, float]] = {}  # by sequence number, with the time of its arrival
        self._concealer = concealer_for(wire.heard) if conceals else None

    @property
    def conceals(self) -> bool:
        """Whether each packet's sound is needed, for a loss that may follow."""
        return self._concealer is not None

    @property
    def waits(self) -> bool:
        """Whether packets wait for others before them."""
        return bool(self._held)

    def expects(self, packet: RtpPacket) -> bool:
        """Whether this is the packet that follows the last one, with nothing between."""
        return (
            packet.ssrc == self._ssrc
            and packet.sequence == self._next_sequence
            and packet.timestamp == self._next_timestamp
        )

    def duration_s(self, packet: RtpPacket) -> float:
        """How much sound is in a packet."""
        return self._units(packet.payload) / SAMPLE_RATE_HZ

    def receive(self, packet: RtpPacket, now_s: float) -> list[Frame]:
        """Takes a packet.

        Returns:
            The frames that became complete, silence for a gap before them first.
        """
        if not self._reorder_max_s:
            return self._take(packet, now_s)
        step = int16(packet.sequence - self._next_sequence)
        if packet.ssrc != self._ssrc or step <= 0 or step > MAX_HELD:
            late = self.counts.reordered
            frames = self._take(packet, now_s) if step <= 0 else self._release(now_s) + self._take(packet, now_s)
            if self.counts.reordered > late:  # had we waited longer, it would have been in time
                self._reorder_s = min(2 * self._reorder_s, self._reorder_max_s)
        else:
            if packet.sequence in self._held:
                self.counts.duplicate += 1
            self._held.setdefault(packet.sequence, (packet, now_s))
            frames = []
        return frames + self._take_held(now_s)

    def _take_held(self, now_s: float) -> list[Frame]:
        """Those that wait no more, for what was missing has come."""
        frames: list[Frame] = []
        while (next_one := self._held.pop(self._next_sequence, None)) is not None:
            frames += self._take(next_one[0], now_s)
        return frames

    def _release(self, now_s: float) -> list[Frame]:
        """All that wait, in order."""
        waiting = sorted(self._held.values(), key=lambda each: int16(each[0].sequence - self._next_sequence))
        self._held.clear()
        return [frame for packet, _ in waiting for frame in self._take(packet, now_s)]

    def _take(self, packet: RtpPacket, now_s: float) -> list[Frame]:
        self.counts.received += 1
        step = int16(packet.sequence - self._next_sequence)
        if self._ssrc != packet.ssrc or not -MAX_MISORDER <= step < MAX_DROPOUT or self._late_run >= MAX_LATE_RUN:
            frames = self._rebase(packet, now_s)
        elif step < 0:
            self._count_late(-step - 1)
            return []
        else:
            # A packet older than the oldest bit would be taken for a duplicate only within the misorder bound.
            self._recent = (self._recent << (step + 1)) & ((1 << MAX_MISORDER) - 1) | 1
            self.counts.lost += step
            gap = int32(packet.timestamp - self._next_timestamp) // self._clock_ratio
            frames = self._close_gap(gap, self._units(packet.payload), now_s, lost=step)
        interval_s = now_s - self._heard_s
        self._late_run = 0
        self._next_sequence = uint16(packet.sequence + 1)
        self._next_timestamp = uint32(packet.timestamp + self._units(packet.payload) * self._clock_ratio)
        self._heard_s = now_s
        self._filled_in_pause = 0
        payload = packet.payload if self._concealer is None else self._concealer.heard(packet.payload)
        frames += self._append(payload)
        if STEADY_AFTER_S <= interval_s < SILENT_AFTER_S:
            # What is ahead of the wall clock no more is no debt: a phone may stop its timestamps while on hold.
            self._ahead = min(self._ahead, max(0, -self._behind(now_s)))
        return frames

    def tick(self, now_s: float) -> list[Frame]:
        """Fills a frame of silence by our clock when nothing came for a while; to be called each 20 ms.

        No more at once, however long we stood still ourselves: a second of silence for each of a thousand calls would
        hold us up again. Called twice in a step it catches up.
        """
        if self._held:
            if now_s - min(came for _, came in self._held.values()) < self._reorder_s:
                return []
            self._reorder_s = max(0.9 * self._reorder_s, min(FIRST_REORDER_S, self._reorder_max_s))
            return self._release(now_s)
        pause_s = now_s - self._heard_s
        behind = self._behind(now_s)
        if pause_s < SILENT_AFTER_S or behind < FRAME_BYTES:
            return []
        if pause_s < SURELY_SILENT_AFTER_S:
            in_pause = int((pause_s - SILENT_AFTER_S) * SAMPLE_RATE_HZ) + FRAME_BYTES - self._filled_in_pause
            behind = min(behind, in_pause)
        if behind < FRAME_BYTES:
            return []
        self._filled_in_pause += FRAME_BYTES
        self._ahead += FRAME_BYTES
        return self._fill(FRAME_BYTES)

    @property
    def heard_s(self) -> float:
        """When the last packet came; before the first, when the clock started."""
        return self._heard_s

    def behind_ms(self, now_s: float) -> float:
        """By how much the bot's clock is behind ours; negative when it is ahead."""
        return self._behind(now_s) * 1000 / SAMPLE_RATE_HZ

    def _behind(self, now_s: float) -> int:
        """By how many samples the bot's clock is behind ours; negative when it is ahead."""
        return int((now_s - self._start_s) * SAMPLE_RATE_HZ) - self._samples

    def _rebase(self, packet: RtpPacket, now_s: float) -> list[Frame]:
        """A new sender, or one that started anew: only our own clock says how much is missing before it."""
        self.counts.rebased += self._ssrc is not None
        self._ssrc = packet.ssrc
        self._recent = 1
        self._ahead = 0
        missing = min(self._behind(now_s) - self._units(packet.payload), MAX_FILL_SAMPLES)
        return self._fill(missing // FRAME_BYTES * FRAME_BYTES)

    def _close_gap(self, gap: int, size: int, now_s: float, *, lost: int) -> list[Frame]:
        if gap < 0:
            return []
        if self._concealer is not None and self._filled_in_pause:
            self._concealer.forget()
        concealed: list[Frame] = []
        if lost and not self._ahead and self._concealer is not None and self._concealer.able:
            made_up = min(gap, lost * size, MAX_CONCEALED_SAMPLES)
            self.counts.concealed_samples += made_up
            concealed = self._append(self._concealer.make_up(made_up * self._clock_ratio))
            gap -= made_up
        missing = gap - self._ahead
        if missing > MAX_FILL_SAMPLES:
            # No such silence: had it been one, our clock would have filled all but the last second.
            self.counts.rebased += 1
            self._ahead = 0
            missing = min(self._behind(now_s) - size, MAX_FILL_SAMPLES) // FRAME_BYTES * FRAME_BYTES
        else:
            self._ahead = max(0, -missing)
        return concealed + self._fill(missing)

    def _count_late(self, place: int) -> None:
        """A packet whose place, counted back from the newest, was passed on already."""
        self.counts.late += 1
        self._late_run += 1
        if self._recent >> place & 1:
            self.counts.duplicate += 1
            return
        self._recent |= 1 << place
        self.counts.reordered += 1
        # It did come (RFC 3550 section 6.4.1); one from before a new start was never counted as lost.
        self.counts.lost = max(0, self.counts.lost - 1)

    def _units(self, payload: bytes) -> int:
        return len(payload) // self._unit_bytes

    def _fill(self, samples: int) -> list[Frame]:
        if samples <= 0:
            return []
        if self._concealer is not None:
            self._concealer.forget()
        self.counts.filled_samples += samples
        whole = 0 if self._buffer else samples // FRAME_BYTES
        self._samples += whole * FRAME_BYTES
        frames = [self._frame(self._silence) for _ in range(whole)]
        rest = samples - whole * FRAME_BYTES
        return frames + self._append((self._silence[:1] or SILENT_G722) * (rest * self._unit_bytes)) if rest else frames

    def _append(self, audio: bytes) -> list[Frame]:
        units = self._units(audio)
        audio = audio[: units * self._unit_bytes]  # a part of a sample would shift all that follows
        self._samples += units
        size = self._frame_bytes
        if len(audio) == size and not self._buffer:
            return [self._frame(audio)]
        self._buffer += audio
        whole = len(self._buffer) // size * size
        frames = [self._frame(bytes(self._buffer[at : at + size])) for at in range(0, whole, size)]
        del self._buffer[:whole]
        return frames

    def _frame(self, payload: bytes) -> Frame:
        frame = Frame(payload, self._frames_out * FRAME_MS)
        self._frames_out += 1
        return frame


def timeline_for(request: OpenStream, wire: Wire, now_s: float) -> Timeline:
    """The receive side that a stream asks for."""
    return Timeline(now_s, wire, request.reorder_max_ms, conceals=request.conceal_loss)
