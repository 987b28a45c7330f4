"""The bounded, ordered queue between a connection and the one task that consumes it.

A connection must never wait for its consumer: Asterisk cuts off a client that does not read. So `put` never blocks.
When the consumer is too slow, items are dropped, counted, and one marker stands in the stream where they are missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue for one consumer.

    Policy on overflow: new items are dropped until the consumer has worked off half, so that it gets one gap and not
    thousands. States are not dropped; those that fall into the gap are merged into the last one.

    Args:
        limit: How many items may wait, at least 2. The marker and one state come on top.
        marker: Makes the item that stands for a gap, from the number of items dropped.
    """

    def __init__(self, limit: int, marker: Callable[[int], T]) -> None:
        if limit < 2:
            raise ValueError(f"an inbox of {limit} items cannot work; allow at least 2")
        self._limit = limit
        self._marker = marker
        self._items: deque[T | _Gap] = deque()
        self._gap: _Gap | None = None
        self._filled = asyncio.Event()
        self.dropped = 0
        """Items dropped since the start."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Appends an item, or drops it where the inbox is full; says whether it is in."""
        if self._gap is None and len(self._items) >= self._limit:
            self._gap = _Gap()
            self._items.append(self._gap)
        if self._gap is not None:
            self._gap.dropped += 1
            self.dropped += 1
            return False
        self._items.append(item)
        self._filled.set()
        return True

    def put_state(self, item: T) -> None:
        """Appends a change of state, which is never lost; of several inside a gap the last one stays."""
        if self._gap is not None and self._items[-1] is not self._gap:
            self._items[-1] = item
        else:
            self._items.append(item)
        self._filled.set()

    async def get(self) -> T:
        """Waits for the next item."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if self._gap is not None and len(self._items) <= self._limit // 2:
            self._gap = None
        return self._marker(item.dropped) if isinstance(item, _Gap) else item

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            yield await self.get()


class _Gap:
    """Stands in the queue while its count still grows."""

    __slots__ = ("dropped",)

    def __init__(self) -> None:
        self.dropped = 0
