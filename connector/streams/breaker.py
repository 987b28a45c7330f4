"""Bots that do not answer are left alone for a while: a circuit breaker for each address."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

ADDRESSES_MAX = 1_000
"""Remembered; addresses can come from a server that is asked at each call, so there is a bound. The oldest goes."""
OPEN_MAX_S = 60.0


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    opened: int = 0
    until_s: float = 0.0
    trying: bool = False


class Breakers:
    """Decides whether an address may be dialled.

    Closed: it may. After `failures` in a row it is open for `open_s`, twice as long each time, up to a minute. Then one
    call tries it: a success closes it, a failure opens it again.

    Args:
        failures: In a row; 0 for never.
        open_s: How long at first.
        monotonic: Seconds that never go back.
    """

    def __init__(self, *, failures: int, open_s: float, monotonic: Callable[[], float]) -> None:
        self._failures = failures
        self._open_s = open_s
        self._monotonic = monotonic
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()

    def allows(self, url: str) -> bool:
        """Whether it may be dialled now. Who is allowed has to say how it went, or `gave_up`."""
        circuit = self._circuits.get(_address(url))
        if circuit is None or self._failures <= 0 or circuit.failures < self._failures:
            return True
        if circuit.trying or self._monotonic() < circuit.until_s:
            return False
        circuit.trying = True
        return True

    def succeeded(self, url: str) -> None:
        """It answered."""
        self._circuits.pop(_address(url), None)

    def failed(self, url: str) -> None:
        """It did not answer, or with 5xx."""
        address = _address(url)
        circuit = self._circuits.setdefault(address, _Circuit())
        self._circuits.move_to_end(address)
        while len(self._circuits) > ADDRESSES_MAX:
            self._circuits.popitem(last=False)
        circuit.failures += 1
        circuit.trying = False
        if circuit.failures >= self._failures:
            circuit.until_s = self._monotonic() + min(self._open_s * 2**circuit.opened, OPEN_MAX_S)
            circuit.opened = min(circuit.opened + 1, 16)

    def gave_up(self, url: str) -> None:
        """Nobody will know: the caller hung up meanwhile."""
        circuit = self._circuits.get(_address(url))
        if circuit is not None:
            circuit.trying = False


def _address(url: str) -> str:
    """Without the query, which differs from call to call."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
