"""How often somebody may do something: a token bucket for each key; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

KEYS_MAX = 10_000
"""Beyond it the key that was used longest ago is forgotten, and has a full bucket again."""


class Rate:
    """Token buckets. A full one holds `burst` tokens, and gets `per_s` a second.

    Args:
        per_s: Tokens a second.
        burst: Tokens of a full bucket.
        clock: Seconds that never go back.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """How long until there is a token; 0 if there is one now."""
        return max(0.0, 1.0 - self._tokens(key)) / self._per_s

    def take(self, key: str) -> float:
        """Takes a token; returns 0, or in how many seconds there is one."""
        tokens = self._tokens(key)
        if tokens < 1.0:
            return (1.0 - tokens) / self._per_s
        self._buckets[key] = tokens - 1.0, self._clock()
        self._buckets.move_to_end(key)
        while len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)
        return 0.0

    def _tokens(self, key: str) -> float:
        tokens, at = self._buckets.get(key, (self._burst, 0.0))
        return min(self._burst, tokens + (self._clock() - at) * self._per_s)
