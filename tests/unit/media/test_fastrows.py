"""Rows and playouts in the compiled helper against the Python that they spare: same bytes, same counters."""

import contextlib
import dataclasses
import socket
import types
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from connector.audio import levels
from connector.audio.formats import AudioFormat, Encoding
from connector.audio.transcode import Transcoder
from connector.dialects.base import AudioPattern, AudioTemplate, Field
from connector.media.columns import PYTHONS, Columns
from connector.media.control import StreamStats
from connector.media.fastpath import MOST_AT_ONCE, FastPath, Line
from connector.media.fastplayout import FastPlayout
from connector.media.fastrows import FastRows
from connector.media.lanes import Lanes
from connector.media.mmsg import Batch, pack_address
from connector.media.playout import Playout
from connector.media.rtp import RtpPacket, RtpSender, build, uint16, uint32
from connector.media.sender import Sender
from connector.media.timeline import Timeline
from connector.media.timeline_rows import TimelineRows

PCMU = AudioFormat()
FORMATS = [PCMU, AudioFormat(Encoding.L16, 8_000), AudioFormat(Encoding.L16, 16_000), AudioFormat(Encoding.L16, 24_000)]
ROW = 1
"""Of two, so that a row is not taken for the first."""


class Nobody:
    """Of a line that is given no frames."""

    def on_audio(self, audio: bytes) -> None:
        raise AssertionError

    on_rest = on_audio

    def on_frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        raise AssertionError

    def on_lost(self, kind: int, error: int) -> None:
        raise AssertionError


class OneRow:
    """A caller and a bot, with one row between them."""

    def __init__(self, heard: AudioFormat, said: AudioFormat) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self.rtp, self.caller):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        self.ours, self.bot = socket.socketpair()
        self.ours.setblocking(False)
        self.bot.setblocking(False)
        self.fast = FastPath()
        self.line = self.fast.open(self.ours.fileno(), Nobody(), max_bytes=100_000)
        batch = Batch(MOST_AT_ONCE, 1_508, socket.AF_INET)
        self.fast_rows = FastRows(self.fast, self, self.rtp.fileno(), batch, ipv6=False)
        self.batch = batch
        self.timelines, self.columns = TimelineRows(2), Columns(2)
        self.lanes = Lanes(2), Lanes(2)
        self.lanes[0].open(ROW, PCMU, heard)
        self.lanes[1].open(ROW, said, PCMU)
        self.sender = Sender(self.rtp, self.columns, 1)
        self.fast_rows.columns(*self.timelines.columns, *self.columns.shared)
        host, port = self.caller.getsockname()
        self.sender.open(ROW, (65_530, 0xFFFFFF00, 77, True), 0, pack_address(socket.AF_INET, host, port))
        self.columns.lines[ROW] = self.line.number
        leg = types.SimpleNamespace(
            line=self.line.number, bot_hears=heard, bot_says=said, lends=False, sends_silence=True
        )
        self.fast_rows.open(ROW, leg, *self.lanes, self.columns)
        assert leg.lends
        assert self.columns.hears[ROW] != PYTHONS

    def close(self) -> None:
        self.fast.close()
        for sock in (self.rtp, self.caller, self.ours, self.bot):
            sock.close()

    def on_heard(self, row: int, frame: bytes) -> None:
        self.seen.append(("heard", frame))

    def on_unsent(self, row: int, frame: bytes, stamp_ms: int) -> None:
        self.seen.append((f"unsent {stamp_ms}", frame))

    def on_said(self, row: int, frame: bytes) -> None:
        self.seen.append(("said", frame))

    def at_bot(self) -> list[bytes]:
        """Binary messages, each below 126 bytes of header and mask taken off."""
        wire, messages = b"", []
        with contextlib.suppress(BlockingIOError):
            while True:
                wire += self.bot.recv(1 << 20)
        while wire:
            size, head = wire[1] & 0x7F, 2
            if size == 126:
                size, head = int.from_bytes(wire[2:4], "big"), 4
            mask = np.resize(np.frombuffer(wire[head : head + 4], np.uint8), size)
            messages.append((np.frombuffer(wire[head + 4 : head + 4 + size], np.uint8) ^ mask).tobytes())
            wire = wire[head + 4 + size :]
        return messages

    def at_caller(self) -> list[bytes]:
        datagrams = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagrams.append(self.caller.recv(2_000))
        return datagrams


@contextlib.contextmanager
def one_row(heard: AudioFormat = PCMU, said: AudioFormat = PCMU) -> Iterator[OneRow]:
    row = OneRow(heard, said)
    try:
        yield row
    finally:
        row.close()


def alike(got: bytes, wanted: bytes, audio: AudioFormat) -> bool:
    """The same, or where a resampler is in between, the same but for how sums of floats are rounded."""
    if audio.encoding is not Encoding.L16 or audio.rate_hz == 8_000:
        return got == wanted
    a, b = np.frombuffer(got, "<i2").astype(int), np.frombuffer(wanted, "<i2").astype(int)
    return a.shape == b.shape and bool(np.abs(a - b).max() <= 1)


# -- from the callers --------------------------------------------------------------------------------------------

PACKETS = st.lists(
    st.tuples(
        st.sampled_from(
            [*["talk"] * 5, "tick", "tick", "lose", "again", "jump", "sender", "short", "marker", "junk"],
        ),
        st.sampled_from([0.0, 0.001, 0.012, 0.020, 0.020, 0.020, 0.065, 0.250]),
        st.booleans(),
        st.integers(0, 255),
    ),
    max_size=40,
)


PAUSE = [*[("talk", 0.02, True, 1)] * 3, ("tick", 0.0, True, 0), *[("talk", 0.02, True, 2)] * 3]
"""Silence is filled by our clock, and paid back."""


@settings(max_examples=120, deadline=None)
@example(packets=PAUSE, heard=PCMU, watched=False, unsent=0)
@given(packets=PACKETS, heard=st.sampled_from(FORMATS), watched=st.booleans(), unsent=st.integers(0, 3))
def test_what_callers_say_reaches_bots_as_if_python_had_done_it(
    packets: list[tuple[str, float, bool, int]], heard: AudioFormat, watched: bool, unsent: int
) -> None:
    now = 100.0
    with one_row(heard) as row:
        own, model = Timeline(now), Timeline(now)
        row.timelines.open(ROW, own)
        convert = Transcoder(PCMU, heard)
        row.columns.watched[ROW] = watched
        sequence, timestamp, ssrc = 65_530, 0xFFFFFE00, 7
        waiting: list[tuple[RtpPacket | None, bytes]] = []
        wanted: list[tuple[bytes, int]] = []
        got: list[bytes] = []
        for what, wait, read, sample in packets:
            if what == "tick":  # the callers' clock is ours while nothing comes; it is Python's alone
                now += 0.07
                if not waiting:
                    silent, _, others, _ = row.timelines.tick(np.array([ROW]), now)
                    filled = model.tick(now)
                    made = [each.payload for _ in others for each in row.timelines.tick_one(ROW, now)]
                    made += [b""] * silent.size
                    assert len(made) == len(filled)
                    got += [row.lanes[0].convert(np.array([ROW]), [each])[0] for each in made]
                    wanted += [(convert.convert_one(frame.payload), frame.timestamp_ms) for frame in filled]
                continue
            if what == "lose":
                sequence, timestamp = uint16(sequence + 1), uint32(timestamp + 160)
            elif what == "jump":
                timestamp = uint32(timestamp + 80 * sample)
            elif what == "sender":
                ssrc += 1
            elif what == "again":
                sequence, timestamp = uint16(sequence - 1), uint32(timestamp - 160)
            payload = bytes([sample]) * (80 if what == "short" else 160)
            packet = RtpPacket(0, sequence, timestamp, ssrc, payload, what == "marker")
            datagram = b"\x80junk" if what == "junk" else build(packet)
            if what != "junk":
                sequence, timestamp = uint16(sequence + 1), uint32(timestamp + len(payload))
            row.caller.sendto(datagram, row.rtp.getsockname())
            waiting.append((None if what == "junk" else packet, datagram))
            now += wait
            if not read:
                continue
            if len(wanted) >= unsent:
                row.line.write(AudioTemplate((Field.BYTES,), binary=True))
            count, places, rows = row.fast_rows.hear(now)
            assert count == len(waiting)
            assert set(rows.tolist()) <= {ROW}
            left = places.tolist()
            assert left == sorted(left)
            if left:
                assert left == list(range(left[0], count)), "what follows one that is left must not overtake it"
            got += row.at_bot()
            unsent_now = [frame for name, frame in row.seen if name.startswith("unsent")]
            got += unsent_now
            stamps = [int(name.split()[1]) for name, _ in row.seen if name.startswith("unsent")]
            heard_now = [frame for name, frame in row.seen if name == "heard"]
            assert len(heard_now) == (count - len(left) if watched else 0)
            row.seen.clear()
            for place, (one, sent) in enumerate(waiting):
                if place in left:
                    assert row.batch.data[place, : row.batch.sizes[place]].tobytes() == sent
                if one is None:
                    continue
                frames = model.receive(one, now)
                if place in left:
                    assert row.timelines.receive_one(ROW, one, now) == frames
                    for frame in frames:
                        got.append(row.lanes[0].convert(np.array([ROW]), [frame.payload])[0])
                wanted += [(convert.convert_one(frame.payload), frame.timestamp_ms) for frame in frames]
            assert set(stamps) <= {stamp for _, stamp in wanted}
            waiting.clear()
        assert len(got) == len(wanted)
        assert all(alike(each, audio, heard) for each, (audio, _) in zip(got, wanted, strict=True))
        row.timelines.sync(ROW)
        assert own.counts == model.counts
        assert vars(own) == vars(model)


def test_packets_of_strangers_are_left_to_python_and_those_of_a_closed_row_too() -> None:
    with one_row() as row, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        row.timelines.open(ROW, Timeline(0.0))
        stranger.sendto(b"x" * 172, row.rtp.getsockname())
        row.caller.sendto(b"y" * 172, row.rtp.getsockname())
        assert [each.tolist() for each in row.fast_rows.hear(0.0)[1:]] == [[0, 1], [-1, ROW]]
        row.fast_rows.close(ROW)
        row.caller.sendto(b"y" * 172, row.rtp.getsockname())
        assert row.fast_rows.hear(0.0)[2].tolist() == [-1]


# -- from the bots -----------------------------------------------------------------------------------------------

DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 4_000)),
        st.tuples(st.just("write"), st.sampled_from([160, 320, 480])),
        st.tuples(st.just("write"), st.sampled_from([160, 320, 480])),
        st.tuples(st.just("step"), st.integers(0, 2)),
        *[st.tuples(st.just("step"), st.just(0))] * 4,
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=60,
)


class Lent:
    """A row whose bot's audio the helper holds whenever it can, and its models in Python."""

    def __init__(self, row: OneRow, said: AudioFormat, prebuffer_ms: int) -> None:
        self.row = row
        self.said = said
        self.playout = FastPlayout(max_ms=200, prebuffer_ms=prebuffer_ms, audio=said)
        self.model = Playout(max_ms=200, prebuffer_ms=prebuffer_ms, audio=said)
        self.sender = RtpSender(ssrc=77, sequence=65_530, timestamp=0xFFFFFF00)
        self.convert = Transcoder(said, PCMU)
        self.step = 10
        row.columns.due[ROW] = self.step
        row.columns.watched_said[ROW] = True
        row.line.read(AudioPattern(b"", b"", base64=False, binary=True), 100_000)

    def write(self, audio: bytes) -> None:
        head = bytes([len(audio)]) if len(audio) < 126 else b"\x7e" + len(audio).to_bytes(2, "big")
        self.row.bot.send(b"\x82" + head + audio)
        self.row.fast.receive()
        self.model.write(audio)

    def tick(self, skipped: int) -> None:
        row = self.row
        now = row.columns.due[ROW] + 10 * skipped
        row.seen.clear()
        failed, _ = row.fast_rows.say(int(now), 0.0)
        assert failed == 0
        frame, marks = self.model.read()
        if row.columns.due[ROW] <= now:  # left to Python
            own = self.playout.read()
            assert own == (frame, marks)
            payload = row.lanes[1].convert(np.array([ROW]), [own[0] or b""])
            row.sender.send(np.array([ROW]), payload, np.array([skipped]))
            row.columns.due[ROW] += 10 * (skipped + 1)
        else:
            assert marks == []
            assert row.seen == ([] if frame is None else [("said", frame)])
        wanted = self.sender.next(self.convert.convert_one(frame or b""), 160 * skipped)
        (got,) = row.at_caller()
        if self.said.encoding is Encoding.L16 and self.said.rate_hz != 8_000:
            assert (got[:12], len(got)) == (wanted[:12], len(wanted))
            one, other = (np.frombuffer(each[12:], np.uint8) for each in (got, wanted))
            assert np.count_nonzero(one != other) <= 8  # at the border of two codes
        else:
            assert got == wanted
        self.playout.lend(row.line)


class Owner(Nobody):
    """What the helper does not take goes to the playout in Python."""

    def __init__(self, playout: FastPlayout) -> None:
        self.playout = playout

    def on_audio(self, audio: bytes) -> None:
        self.playout.write(audio)


@settings(max_examples=150, deadline=None)
@given(deeds=DEEDS, said=st.sampled_from(FORMATS), prebuffer_ms=st.sampled_from([0, 0, 60]), seed=st.integers(0, 99))
def test_what_bots_say_reaches_callers_as_if_python_had_done_it(
    deeds: list[tuple[str, int]], said: AudioFormat, prebuffer_ms: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    with one_row(said=said) as row:
        lent = Lent(row, said, prebuffer_ms)
        row.fast._owners[row.line.number & 0xFFFF] = Owner(lent.playout)
        unit = 2 if said.encoding is Encoding.L16 else 1
        for what, amount in deeds:
            match what:
                case "write":
                    audio = random.integers(0, 256, amount * unit, np.uint8).tobytes()
                    lent.write(audio)
                case "step":
                    lent.tick(amount)
                case "mark":
                    assert lent.playout.mark("m") == lent.model.mark("m")
                case "clear":
                    assert lent.playout.clear() == lent.model.clear()
                case "look":
                    assert lent.playout.queued_ms == lent.model.queued_ms
                    assert lent.playout.played_ms == lent.model.played_ms
        stats = StreamStats()
        lent.playout.add_to(stats)
        lent.playout.take_back()
        own = {name: value for name, value in vars(lent.playout).items() if name in vars(lent.model)}
        assert own == vars(lent.model)
        sender = row.sender.state(ROW)
        assert sender == lent.sender.state


@pytest.mark.parametrize("audio", FORMATS, ids=lambda audio: f"{audio.encoding.value}-{audio.rate_hz}")
def test_frames_that_nobody_has_to_see_are_added_up(audio: AudioFormat) -> None:
    random = np.random.default_rng(1)
    with one_row(audio, audio) as row:
        lent = Lent(row, audio, 0)
        lent.playout.lend(row.line)
        row.timelines.open(ROW, Timeline(0.0))
        row.timelines.receive_one(ROW, RtpPacket(0, 0, 0, 7, bytes(160)), 0.0)
        row.line.write(AudioTemplate((Field.BYTES,), binary=True))
        row.columns.watched[ROW], row.columns.watched_said[ROW] = 3, 4
        said = []
        for number in range(1, 6):
            payload = random.integers(0, 256, 160, np.uint8).tobytes()
            row.caller.sendto(build(RtpPacket(0, number, 160 * number, 7, payload)), row.rtp.getsockname())
            said.append(random.integers(0, 256, audio.frame_bytes, np.uint8).tobytes())
            lent.write(said[-1])
        row.fast_rows.hear(0.02)
        for step in range(5):
            row.fast_rows.say(10 + 10 * step, 0.0)
        assert row.seen == []
        assert (row.columns.watched[ROW], row.columns.watched_said[ROW]) == (0, 0)
        for sums, frames in ((row.columns.sums[ROW, 0], row.at_bot()[:2]), (row.columns.sums[ROW, 1], said[:3])):
            samples = levels.read(b"".join(frames), audio.encoding)
            own, theirs = levels.look(samples), levels.Look.of_sums(*sums.tolist())
            assert dataclasses.astuple(own) == pytest.approx(dataclasses.astuple(theirs), rel=1e-4, abs=1e-6)


def test_messages_are_counted_once_who_ever_took_them() -> None:
    with one_row() as row:
        lent = Lent(row, PCMU, 0)
        row.fast._owners[row.line.number & 0xFFFF] = Owner(lent.playout)
        stats = StreamStats()
        lent.playout.lend(row.line)
        for _ in range(3):
            lent.write(bytes(160))
            lent.playout.add_to(stats)
            lent.playout.add_to(stats)
        assert (stats.bot_messages, stats.bot_audio_bytes) == (3, 480)
        lent.playout.clear()
        lent.playout.lend(row.line)
        lent.write(bytes(320))
        lent.playout.take_back()
        lent.playout.add_to(stats)
        assert (stats.bot_messages, stats.bot_audio_bytes) == (4, 800)


@pytest.mark.parametrize("frame", [b"\x81\x01x", b"\x82\x05split"], ids=["text", "binary"])
def test_audio_behind_another_message_does_not_overtake_it(frame: bytes) -> None:
    """A mark, for instance: what was said before it and what after are not the same."""
    order: list[bytes] = []

    class Kept(Nobody):
        def on_audio(self, audio: bytes) -> None:
            order.append(audio)

        def on_frame(self, opcode: int, fin: bool, payload: bytes) -> None:
            order.append(payload)

    with one_row() as row:
        lent = Lent(row, PCMU, 0)
        row.line.read(AudioPattern(b"A", b"", base64=False, binary=True), 100_000)
        row.fast._owners[row.line.number & 0xFFFF] = Kept()
        lent.playout.lend(row.line)
        row.bot.send(b"\x82\x03Aab" + frame + b"\x82\x03Acd")
        row.fast.receive()
        assert order == [frame[2:], b"cd"]
        assert lent.playout.queued_bytes == 2


def test_a_line_that_closes_gives_back_what_it_holds() -> None:
    with one_row() as row:
        lent = Lent(row, PCMU, 0)
        lent.playout.write(b"a" * 250)
        lent.playout.lend(row.line)
        line: Line = row.line
        line.close()
        assert lent.playout.queued_bytes == 250
        assert lent.playout.read() == (b"a" * 160, [])
