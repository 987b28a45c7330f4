from hypothesis import given, strategies as st

from connector.media.rtp import RtpPacket, uint16, uint32
from connector.media.timeline import Frame, Timeline

SILENCE = b"\xff" * 160


class Caller:
    """Sends 20 ms packets of non-silence; keeps the timeline's clock."""

    def __init__(self, *, sequence: int = 65_530, timestamp: int = 0xFFFFFF00, size: int = 160) -> None:
        self.now = 10.0
        self.timeline = Timeline(self.now)
        self.sequence, self.timestamp, self.size, self.ssrc = sequence, timestamp, size, 1
        self.frames: list[Frame] = []

    def packet(self) -> RtpPacket:
        packet = RtpPacket(0, self.sequence, self.timestamp, self.ssrc, b"\x11" * self.size)
        self.sequence = uint16(self.sequence + 1)
        self.timestamp = uint32(self.timestamp + self.size)
        return packet

    def take(self, packet: RtpPacket) -> None:
        self.frames += self.timeline.receive(packet, self.now)

    def talk(self, count: int) -> None:
        for _ in range(count):
            self.now += self.size / 8000
            self.take(self.packet())
            self.tick(0.0)

    def tick(self, by: float = 0.020) -> None:
        self.now += by
        for _ in range(2):  # as the audio loop does
            self.frames += self.timeline.tick(self.now)

    def mute(self, steps: int, *, timestamps_run: bool = True) -> None:
        for _ in range(steps):
            self.tick()
        if timestamps_run:
            self.timestamp = uint32(self.timestamp + 160 * steps)

    @property
    def audio(self) -> int:
        return sum(frame.payload.count(0x11) for frame in self.frames)

    @property
    def behind_ms(self) -> float:
        return (self.now - 10.0) * 1000 - 20 * len(self.frames)


def test_a_steady_caller_passes_untouched_over_both_wraps() -> None:
    caller = Caller()
    caller.talk(100)
    assert [frame.timestamp_ms for frame in caller.frames] == list(range(0, 2000, 20))
    assert caller.timeline.counts.lost == caller.timeline.counts.filled_samples == 0


def test_a_caller_who_never_sends_gives_silence_on_our_clock() -> None:
    caller = Caller()
    caller.mute(2)
    assert not caller.frames
    caller.mute(98)
    assert {frame.payload for frame in caller.frames} == {SILENCE}
    assert 0 <= caller.behind_ms <= 20


def test_a_pause_is_filled_once_by_clock_and_timestamps_together() -> None:
    caller = Caller()
    caller.talk(10)
    for steps in (1, 3, 5, 9, 50, 500):
        caller.mute(steps)
        caller.talk(5)
        assert abs(caller.behind_ms) <= 20.001, steps
    assert caller.audio == 40 * 160
    assert caller.timeline.counts.lost == 0


def test_a_short_pause_is_filled_by_its_timestamp_alone() -> None:
    caller = Caller()
    caller.talk(1)
    caller.timestamp = uint32(caller.timestamp + 320)
    caller.talk(1)
    assert [frame.payload == SILENCE for frame in caller.frames] == [False, True, True, False]
    assert caller.timeline.counts.lost == 0


def test_timestamps_that_stood_still_while_muted_leave_the_clock_true() -> None:
    caller = Caller()
    caller.talk(5)
    for _ in range(10):
        caller.mute(100, timestamps_run=False)
        caller.talk(20)
    caller.mute(100)
    assert abs(caller.behind_ms) <= 20.001


def test_after_a_hold_whose_timestamps_stood_still_a_loss_is_filled_as_ever() -> None:
    caller = Caller()
    caller.talk(5)
    caller.mute(100, timestamps_run=False)
    caller.talk(20)
    filled = caller.timeline.counts.filled_samples
    for _ in range(2):
        caller.packet()
        caller.now += 0.020
    caller.talk(1)
    assert caller.timeline.counts.filled_samples == filled + 320


def test_a_burst_after_a_stalled_network_is_not_dropped_and_paid_back_in_the_next_pause() -> None:
    caller = Caller()
    caller.talk(10)
    held = []
    for _ in range(8):
        held.append(caller.packet())
        caller.tick()
    for packet in held:
        caller.take(packet)
    caller.talk(1)
    assert caller.audio == 19 * 160
    assert caller.behind_ms < 0
    caller.mute(30)
    caller.talk(1)
    assert abs(caller.behind_ms) <= 20.001


def test_after_a_stall_of_ours_the_fill_catches_up() -> None:
    caller = Caller()
    caller.talk(1)
    caller.tick(0.5)
    assert len(caller.frames) == 1 + 2, "a burst for each of a thousand calls would be the next stall"
    caller.mute(30)
    assert 0 <= caller.behind_ms <= 20


def test_loss_is_counted_and_filled() -> None:
    caller = Caller()
    caller.talk(2)
    for _ in range(2):
        caller.packet()
        caller.now += 0.020
    caller.talk(1)
    assert caller.timeline.counts.lost == 2
    assert [frame.payload == SILENCE for frame in caller.frames] == [False, False, True, True, False]


def test_late_and_duplicate_packets_are_told_apart() -> None:
    caller = Caller()
    caller.talk(1)
    first, second = caller.packet(), caller.packet()
    for packet in (second, first, first, second):
        caller.take(packet)
    counts = caller.timeline.counts
    assert (counts.lost, counts.late, counts.duplicate, counts.reordered) == (0, 3, 2, 1)
    caller.talk(1)
    assert counts.lost == 0


def test_a_new_ssrc_is_taken_at_once() -> None:
    caller = Caller()
    caller.talk(5)
    caller.ssrc, caller.sequence, caller.timestamp = 2, 40_000, 5
    caller.talk(5)
    assert caller.audio == 10 * 160
    assert caller.timeline.counts.lost == 0
    assert caller.timeline.counts.rebased == 1
    assert abs(caller.behind_ms) <= 20.001


def test_a_sender_that_went_back_a_little_is_heard_again() -> None:
    caller = Caller()
    caller.talk(90)
    caller.sequence = uint16(caller.sequence - 80)
    before = caller.audio
    caller.talk(60)
    assert caller.audio > before + 30 * 160


def test_a_huge_timestamp_jump_fills_a_second_at_most() -> None:
    caller = Caller()
    caller.talk(1)
    caller.timestamp = uint32(caller.timestamp + 8_000 * 3_600)
    caller.talk(1)
    assert len(caller.frames) == 2
    caller.timestamp = uint32(caller.timestamp - 80_000)
    caller.talk(1)
    assert caller.audio == 3 * 160


def test_other_packet_sizes_are_cut_to_frames() -> None:
    for size in (80, 240, 480, 100):
        caller = Caller(size=size)
        caller.talk(48)
        assert all(len(frame.payload) == 160 for frame in caller.frames)
        assert len(caller.frames) == 48 * size // 160
        assert caller.timeline.counts.filled_samples == 0


phases = st.lists(
    st.one_of(st.tuples(st.just("talk"), st.integers(1, 40)), st.tuples(st.just("mute"), st.integers(1, 80))),
    max_size=12,
)


@given(phases)
def test_the_clock_stays_true_whatever_the_caller_does(todo: list[tuple[str, int]]) -> None:
    caller = Caller()
    for what, amount in todo:
        if what == "talk":
            caller.talk(amount)
            assert abs(caller.behind_ms) <= 40.001
        else:
            caller.mute(amount)
            assert -20.001 <= caller.behind_ms <= 80.001
    assert [frame.timestamp_ms for frame in caller.frames] == list(range(0, 20 * len(caller.frames), 20))
    assert caller.audio == 160 * sum(amount for what, amount in todo if what == "talk")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 3), st.integers(0, 500), st.floats(0, 2)
        ),
        max_size=40,
    )
)
def test_any_packets_give_whole_frames_and_bounded_fill(packets: list[tuple[int, int, int, int, float]]) -> None:
    timeline, now, index = Timeline(0.0), 0.0, 0
    for sequence, timestamp, ssrc, size, wait in packets:
        now += wait
        got = timeline.tick(now) + timeline.receive(RtpPacket(0, sequence, timestamp, ssrc, bytes(size)), now)
        assert len(got) <= 105
        for frame in got:
            assert len(frame.payload) == 160
            assert frame.timestamp_ms == 20 * index
            index += 1
