"""Token buckets."""

from __future__ import annotations

from connector.access.rate import KEYS_MAX, Rate


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_then_so_many_a_second() -> None:
    clock = Clock()
    rate = Rate(2.0, 3.0, clock)
    assert [rate.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rate.take("b") == 0.0, "each key has a bucket"
    clock.now_s += 0.5
    assert (rate.wait_s("a"), rate.take("a"), rate.wait_s("a")) == (0.0, 0.0, 0.5)
    clock.now_s += 60.0
    assert [rate.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5], "no more than a burst is saved"


def test_keys_are_bounded() -> None:
    rate = Rate(1.0, 1.0, Clock())
    rate.take("first")
    for number in range(KEYS_MAX):
        rate.take(str(number))
    assert rate.take("first") == 0.0, "forgotten"
    assert rate.take(str(KEYS_MAX - 1)) == 1.0
