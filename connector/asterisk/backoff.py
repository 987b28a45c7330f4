"""How long to wait before the next try of a connection."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def backoff(random: Random, *, base_s: float = 0.5, cap_s: float = 30.0) -> Iterator[float]:
    """Endless delays in seconds: exponential with full jitter.

    Each is drawn evenly from 0 to a ceiling that doubles from `base_s` up to `cap_s`, so that many connectors which
    lost the same PBX do not come back at the same moment.

    Args:
        random: Source of the jitter.
        base_s: First ceiling.
        cap_s: Last ceiling.
    """
    ceiling_s = min(base_s, cap_s)
    while True:
        yield random.uniform(0.0, ceiling_s)
        ceiling_s = min(ceiling_s * 2.0, cap_s)
