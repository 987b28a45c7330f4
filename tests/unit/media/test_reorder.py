"""Packets in another order than they were sent: put right within the window, and never delayed without need."""

import random

from hypothesis import given, strategies as st

from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import MAX_HELD, Frame, Timeline


def packet(number: int, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(
        0, uint16(65_530 + number), uint32(0xFFFFFF00 + 160 * number), ssrc, bytes([number % 250 + 1]) * 160
    )


def numbers(frames: list[Frame]) -> list[int]:
    return [frame.payload[0] - 1 for frame in frames if frame.payload[0] != 0xFF]


def test_what_comes_in_order_waits_for_nothing() -> None:
    timeline = Timeline(0.0, reorder_max_ms=200)
    for number in range(50):
        assert numbers(timeline.receive(packet(number), 0.020 * number)) == [number]
        assert not timeline.waits


def test_two_that_changed_places_are_put_right() -> None:
    timeline = Timeline(0.0, reorder_max_ms=60)
    timeline.receive(packet(0), 0.02)
    assert timeline.receive(packet(2), 0.04) == []
    assert timeline.tick(0.045) == []
    assert numbers(timeline.receive(packet(1), 0.05)) == [1, 2]
    assert (timeline.counts.lost, timeline.counts.late, timeline.counts.received) == (0, 0, 3)


def test_one_that_never_comes_is_lost_after_the_window() -> None:
    timeline = Timeline(0.0, reorder_max_ms=60)
    timeline.receive(packet(0), 0.02)
    timeline.receive(packet(2), 0.04)
    frames = timeline.tick(0.061)
    assert [frame.payload[0] for frame in frames] == [0xFF, 3]
    assert timeline.counts.lost == 1
    assert not timeline.waits


def test_the_window_grows_with_what_came_too_late_up_to_its_bound() -> None:
    timeline = Timeline(0.0, reorder_max_ms=60)
    now, number = 0.02, 1
    timeline.receive(packet(0), now)
    for _ in range(5):
        now += 0.1
        timeline.receive(packet(number + 1), now)
        timeline.tick(now + 0.070)
        timeline.receive(packet(number), now + 0.080)
        number += 2
    now += 0.1
    timeline.receive(packet(number + 1), now)
    assert timeline.tick(now + 0.050) == []
    assert numbers(timeline.receive(packet(number), now + 0.055)) == [number, number + 1]


def test_a_new_sender_lets_go_of_what_waits() -> None:
    timeline = Timeline(0.0, reorder_max_ms=200)
    timeline.receive(packet(0), 0.02)
    timeline.receive(packet(2), 0.04)
    assert numbers(timeline.receive(packet(90, ssrc=2), 0.06))[-1] == 90


def test_without_a_window_nothing_waits() -> None:
    timeline = Timeline(0.0)
    timeline.receive(packet(0), 0.02)
    assert numbers(timeline.receive(packet(2), 0.04)) == [2]


@given(st.integers(0, 2**32), st.integers(1, MAX_HELD - 1), st.floats(0, 0.2))
def test_every_packet_is_given_once_and_in_order_whatever_the_network_does(seed: int, reach: int, loss: float) -> None:
    dice = random.Random(seed)
    timeline = Timeline(0.0, reorder_max_ms=200)
    sent = [(number + dice.random() * reach, number) for number in range(120) if not number or dice.random() >= loss]
    got: list[int] = []
    now = 0.0
    for place, (_, number) in enumerate(sorted(sent)):
        now = 0.020 * place
        got += numbers(timeline.receive(packet(number), now))
        got += numbers(timeline.tick(now))
    for _ in range(30):
        now += 0.020
        got += numbers(timeline.tick(now))
    assert got == sorted(set(got))
    assert set(got) <= {number for _, number in sent}
    assert len(timeline._held) == 0
