"""Slows down who guesses passwords: by account and by address; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

ACCOUNT_TRIES = 5
ADDRESS_TRIES = 30
"""An address can be a whole office behind one router."""
FIRST_LOCK_S = 30.0
LONGEST_LOCK_S = 900.0
FORGET_S = 3_600.0
KEYS_MAX = 20_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last_at: float = 0.0
    locked_until: float = 0.0


class LoginThrottle:
    """Counts tries. An unknown name is counted like a known one, so that nothing is learnt from it.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()
        self.locks = 0
        """How often something was locked."""

    def begin(self, account: str, address: str) -> float:
        """Counts a try before the password is looked at, so that tries at the same time count too.

        Returns:
            0 if it may go on; else for how many seconds none is taken, and this one was not counted.
        """
        keys = (("account", account.casefold()), ("address", address))
        now = self._clock()
        waits = [each.locked_until - now for key in keys if (each := self._tries.get(key)) is not None]
        if (wait := max(waits, default=0.0)) > 0:
            return wait
        for key, free in zip(keys, (ACCOUNT_TRIES, ADDRESS_TRIES), strict=True):
            self._count(key, free, now)
        return 0.0

    def succeeded(self, account: str, address: str) -> None:
        """The password was right: the account's tries are forgotten, the address's are one fewer."""
        self._tries.pop(("account", account.casefold()), None)
        of_address = self._tries.get(("address", address))
        if of_address is not None and of_address.count > 0:
            of_address.count -= 1
            of_address.locked_until = 0.0

    def _count(self, key: tuple[str, str], free: int, now: float) -> None:
        tries = self._tries.setdefault(key, _Tries())
        self._tries.move_to_end(key)
        if now - tries.last_at > FORGET_S:
            tries.count = 0
        tries.count += 1
        tries.last_at = now
        if tries.count >= free:
            tries.locked_until = now + min(FIRST_LOCK_S * 2 ** min(tries.count - free, 10), LONGEST_LOCK_S)
            self.locks += 1
        while len(self._tries) > KEYS_MAX:
            self._tries.popitem(last=False)
