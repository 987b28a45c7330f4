from itertools import islice
from random import Random

from connector.asterisk.backoff import backoff


class Highest(Random):
    """Always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_ceilings_double_up_to_the_cap() -> None:
    assert list(islice(backoff(Highest(), base_s=0.5, cap_s=5.0), 7)) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_full_jitter_stays_under_the_ceilings_and_differs_between_connectors() -> None:
    ceilings = list(islice(backoff(Highest()), 50))
    one = list(islice(backoff(Random(1)), 50))
    other = list(islice(backoff(Random(2)), 50))
    assert one != other
    assert all(0.0 <= delay <= ceiling for delay, ceiling in zip(one, ceilings, strict=True))
    assert min(delay / ceiling for delay, ceiling in zip(one, ceilings, strict=True)) < 0.1
    assert max(delay / ceiling for delay, ceiling in zip(one, ceilings, strict=True)) > 0.9
