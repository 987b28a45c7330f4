"""The receive side with other formats than mu-law: the same rules, other sizes and clocks."""

from __future__ import annotations

import numpy as np
import pytest

from connector.audio.transcode import silence
from connector.audio.wire import WIRES, Transport, Wire
from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import Frame, Timeline
from connector.media.timeline_rows import TimelineRows


class Sender:
    """20 ms packets of one wire, with time."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.now = 10.0
        self.timeline = Timeline(self.now, wire)
        self.sequence, self.timestamp = 65_530, 0xFFFFFF00
        self.step = wire.heard_clock_hz // 50
        self.frames: list[Frame] = []

    def packet(self) -> RtpPacket:
        payload = b"\x11" * self.wire.heard.frame_bytes
        packet = RtpPacket(self.wire.heard_type, self.sequence, self.timestamp, 1, payload)
        self.sequence = uint16(self.sequence + 1)
        self.timestamp = uint32(self.timestamp + self.step)
        return packet

    def talk(self, count: int) -> None:
        for _ in range(count):
            self.now += 0.020
            self.frames += self.timeline.receive(self.packet(), self.now)
            self.frames += self.timeline.tick(self.now)

    def mute(self, steps: int) -> None:
        for _ in range(steps):
            self.now += 0.020
            self.frames += self.timeline.tick(self.now)
        self.timestamp = uint32(self.timestamp + steps * self.step)


rtp = pytest.mark.parametrize("wire", [each for each in WIRES.values() if each.transport is Transport.RTP])


@rtp
def test_speech_passes_and_a_pause_is_filled_once(wire: Wire) -> None:
    sender = Sender(wire)
    sender.talk(30)
    sender.mute(50)
    sender.talk(30)
    spoken = b"\x11" * wire.heard.frame_bytes
    quiet = silence(wire.heard)
    payloads = [frame.payload for frame in sender.frames]
    assert payloads.count(spoken) == 60
    assert payloads.count(quiet) == 50
    assert [frame.timestamp_ms for frame in sender.frames] == list(range(0, 110 * 20, 20))
    assert sender.timeline.counts.filled_samples == 50 * 160
    assert sender.timeline.counts.lost == 0


@rtp
def test_a_lost_packet_is_filled_with_a_frame_of_silence(wire: Wire) -> None:
    sender = Sender(wire)
    sender.talk(5)
    sender.packet()
    sender.now += 0.020
    sender.talk(5)
    assert sender.timeline.counts.lost == 1
    assert len(sender.frames) == 11
    assert sender.frames[5].payload == silence(wire.heard)


@rtp
def test_packets_of_10_ms_are_joined(wire: Wire) -> None:
    timeline, now = Timeline(0.0, wire), 0.0
    half = wire.heard.frame_bytes // 2
    frames = []
    for index in range(20):
        now += 0.010
        packet = RtpPacket(wire.heard_type, index, index * wire.heard_clock_hz // 100, 1, bytes([index]) * half)
        frames += timeline.receive(packet, now)
    assert [frame.payload for frame in frames] == [bytes([n]) * half + bytes([n + 1]) * half for n in range(0, 20, 2)]


def test_half_a_sample_does_not_shift_what_follows() -> None:
    timeline = Timeline(0.0, WIRES["rtp/slin16"])
    (frame,) = timeline.receive(RtpPacket(118, 0, 0, 1, b"\x12\x34" * 320), 0.02)
    broken = timeline.receive(RtpPacket(118, 1, 320, 1, b"\x12\x34" * 319 + b"\x12"), 0.04)
    after = timeline.receive(RtpPacket(118, 2, 640, 1, b"\x12\x34" * 320), 0.06)
    assert frame.payload[:2] == b"\x12\x34"
    joined = b"".join(each.payload for each in broken + after)
    assert {joined[at : at + 2] for at in range(0, len(joined), 2)} <= {b"\x12\x34", b"\0\0"}
    assert after[-1].payload.endswith(b"\x12\x34")


@rtp
def test_the_columns_give_what_the_timeline_gives(wire: Wire) -> None:
    model, sender = Sender(wire), Sender(wire)
    rows = TimelineRows(1)
    own = Timeline(10.0, wire)
    rows.open(0, own)
    row = np.array([0])
    for turn in range(40):
        model.talk(1)
        sender.now += 0.020
        packet = sender.packet()
        words = np.array([[0x80000000 | packet.payload_type << 16 | packet.sequence, packet.timestamp, 1]], np.uint32)
        whole = np.array([len(packet.payload) == 160])
        done, stamps = rows.receive(row, words, whole, sender.now)
        if done[0]:
            assert stamps[0] == turn * 20
            # Once a packet has come the fast way is for what is as large as mu-law, and for nothing else.
            assert wire.heard.frame_bytes == 160
        else:
            (frame,) = rows.receive_one(0, packet, sender.now)
            assert frame.timestamp_ms == turn * 20
            assert turn == 0 or wire.heard.frame_bytes != 160
    rows.sync(0)
    assert own.counts == model.timeline.counts
