"""The wire protocols by the name that a profile gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from connector.dialects.base import Dialect, StreamStart
from connector.dialects.twilio import NAME as TWILIO, Twilio

DIALECTS: Mapping[str, Callable[[StreamStart], Dialect]] = MappingProxyType({TWILIO: Twilio})


def create(name: str, start: StreamStart) -> Dialect:
    """A dialect for one stream.

    Raises:
        KeyError: There is no such dialect; the message lists those there are.
    """
    try:
        factory = DIALECTS[name]
    except KeyError:
        raise KeyError(f"unknown dialect {name!r}; there is: {', '.join(sorted(DIALECTS))}") from None
    return factory(start)
