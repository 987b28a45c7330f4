"""Waits for the event that confirms an act. Bounded: what nobody waits for is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connector.events import Event

Told = Callable[[Event], bool]
"""Whether an event is the one that confirms the act."""


class Confirmations:
    """Takes the bus and resolves whoever waits."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Told] = {}

    def on_event(self, event: Event) -> None:
        """Takes one item of the bus, after the state was changed by it."""
        for future, told in tuple(self._waiting.items()):
            if not future.done() and told(event):
                future.set_result(None)

    @contextmanager
    def expect(self, told: Told) -> Iterator[asyncio.Future[None]]:
        """A future that the event resolves. Enter it before the act: the event can overtake the answer."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = told
        try:
            yield future
        finally:
            del self._waiting[future]
            future.cancel()
