"""Columns against one `Timeline` for each row: whatever comes, both give the same frames and counts."""

import copy

import numpy as np
from hypothesis import given, settings, strategies as st

from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import Frame, Timeline
from connector.media.timeline_rows import TimelineRows

ROWS = 3
SILENCE = b"\xff" * 160

deeds = st.lists(
    st.tuples(
        st.sampled_from(["talk", "talk", "talk", "tick", "tick", "lose", "jump", "sender", "late", "short", "marker"]),
        st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
        st.sampled_from([0.0, 0.001, 0.012, 0.020, 0.020, 0.020, 0.021, 0.065, 0.250, 1.7]),
        st.integers(1, 12),
    ),
    max_size=60,
)


class Both:
    """The rows, and their models; a frame that the columns give by the fast way is written as `Frame`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rows = TimelineRows(1)
        self.rows.grow(ROWS)
        self.models = [Timeline(self.now, reorder_max_ms=60 * (row % 2)) for row in range(ROWS)]
        self.own = [Timeline(self.now, reorder_max_ms=60 * (row % 2)) for row in range(ROWS)]
        for row, timeline in enumerate(self.own):
            self.rows.open(row, timeline)
        self.next = [RtpPacket(0, 65_530 + row, 0xFFFFFE00, 7, bytes([row]) * 160) for row in range(ROWS)]
        self.fast = 0

    def send(self, packets: dict[int, RtpPacket]) -> None:
        rows = np.array(list(packets), np.int64)
        words = np.array(
            [[0x80000000 | p.marker << 23 | p.sequence, p.timestamp, p.ssrc] for p in packets.values()], np.uint32
        ).reshape(-1, 3)
        whole = np.array([len(p.payload) == 160 for p in packets.values()], np.bool_)
        done, stamps = self.rows.receive(rows, words, whole, self.now)
        fast = dict(zip(rows[done].tolist(), stamps.tolist(), strict=True))
        self.fast += len(fast)
        for row, packet in packets.items():
            one = self.rows.receive_one
            got = [Frame(packet.payload, fast[row])] if row in fast else one(row, packet, self.now)
            assert got == self.models[row].receive(packet, self.now)

    def tick(self) -> None:
        silent, stamps, others, _ = self.rows.tick(np.arange(ROWS), self.now)
        got = {row: [Frame(SILENCE, stamp)] for row, stamp in zip(silent.tolist(), stamps.tolist(), strict=True)}
        self.fast += len(got)
        got |= {row: self.rows.tick_one(row, self.now) for row in others.tolist()}
        for row, model in enumerate(self.models):
            assert got.get(row, []) == model.tick(self.now)

    def advance(self, row: int, size: int = 160) -> RtpPacket:
        packet = self.next[row]
        packet = RtpPacket(0, packet.sequence, packet.timestamp, packet.ssrc, packet.payload[:1] * size)
        self.next[row] = RtpPacket(
            0, uint16(packet.sequence + 1), uint32(packet.timestamp + size), packet.ssrc, packet.payload[:1] * 160
        )
        return packet

    def do(self, what: str, who: list[bool], wait: float, amount: int) -> None:
        self.now += wait
        rows = [row for row in range(ROWS) if who[row]]
        if what == "tick":
            self.tick()
            return
        for row in rows:
            if what == "lose":
                for _ in range(amount):
                    self.advance(row)
            elif what == "jump":
                self.next[row] = RtpPacket(
                    0,
                    self.next[row].sequence,
                    uint32(self.next[row].timestamp + 80 * amount),
                    self.next[row].ssrc,
                    self.next[row].payload,
                )
            elif what == "sender":
                self.next[row] = RtpPacket(0, 7 * amount, 99 * amount, 8, self.next[row].payload)
        if what == "late":
            for row in rows:
                p = self.next[row]
                self.send({row: RtpPacket(0, uint16(p.sequence - amount), p.timestamp, p.ssrc, p.payload)})
            return
        packets = {row: self.advance(row, 16 * amount if what == "short" else 160) for row in rows}
        if what == "marker":
            packets = {r: RtpPacket(0, p.sequence, p.timestamp, p.ssrc, p.payload, True) for r, p in packets.items()}
        self.send(packets)

    def compare(self) -> None:
        for row, model in enumerate(self.models):
            self.rows.sync(row)
            assert self.own[row].counts == model.counts
            state, wanted = copy.copy(vars(self.own[row])), copy.copy(vars(model))
            assert state == wanted


@settings(max_examples=300)
@given(deeds)
def test_the_columns_do_what_the_timelines_do(todo: list[tuple[str, list[bool], float, int]]) -> None:
    both = Both()
    for deed in todo:
        both.do(*deed)
    both.compare()


@given(deeds)
def test_a_row_that_is_closed_and_opened_again_goes_on(todo: list[tuple[str, list[bool], float, int]]) -> None:
    both = Both()
    for deed in todo:
        both.do(*deed)
        for row in range(ROWS):
            both.rows.close(row)
            both.rows.open(row, both.own[row])
    both.compare()


def test_steady_speech_and_steady_silence_go_the_fast_way() -> None:
    both = Both()
    for _ in range(100):
        both.do("talk", [True] * ROWS, 0.020, 1)
    assert both.fast == 99 * ROWS  # all but the first packet, which names the sender
    both.fast = 0
    for _ in range(100):
        both.do("tick", [True] * ROWS, 0.020, 1)
    assert both.fast >= 95 * ROWS
    both.compare()


def test_an_empty_row_takes_nothing() -> None:
    rows = TimelineRows(1)
    rows.open(0, Timeline(0.0))
    rows.close(0)
    done, stamps = rows.receive(np.array([0]), np.array([[0x80000000, 0, 0]], np.uint32), np.array([True]), 1.0)
    assert not done.any()
    assert not stamps.size


def test_jitter_is_the_same_whichever_way_packets_go() -> None:
    rows = TimelineRows(2)
    for row, conceals in enumerate((False, True)):  # each packet of the second goes by all the rules
        rows.open(row, Timeline(0.0, conceals=conceals))
    fast = 0
    for number in range(40):
        now_s = 0.020 * number + 0.011 * (number % 3)
        packet = RtpPacket(0, number, 160 * number, 7, b"x" * 160)
        words = np.tile(np.array([0x80000000 | number, 160 * number, 7], np.uint32), (2, 1))
        done, _ = rows.receive(np.arange(2), words, np.ones(2, np.bool_), now_s)
        fast += int(done.sum())
        for row in np.flatnonzero(~done).tolist():
            rows.receive_one(row, packet, now_s)
    assert fast == 39
    assert rows.jitter_s(0) > 0.005
    assert abs(rows.jitter_s(0) - rows.jitter_s(1)) < 1e-9
