"""Publish and subscribe within the process: one publisher's order for everybody, nobody waits for anybody.

A handler is called at once and must be quick; a subscription has a bounded queue of its own that drops its oldest
item when it is full. Who lost something is told (`Subscription.take_lost`) and has to read the state afresh.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


class Subscription(Generic[T]):
    """One reader's queue. Iterate over it; leave its `with` block to end it.

    Attributes:
        name: For metrics and logs.
        dropped_total: Items that the reader was too slow for.
    """

    def __init__(self, bus: Bus[T], name: str, max_items: int, types: tuple[type, ...] | None) -> None:
        self.name = name
        self.dropped_total = 0
        self._bus = bus
        self._types = types
        self._items: deque[T] = deque(maxlen=max_items)
        self._wake = asyncio.Event()
        self._lost = 0
        self._closed = False

    @property
    def lagged(self) -> bool:
        """Something was dropped since `take_lost`."""
        return self._lost > 0

    def take_lost(self) -> int:
        """How many items were dropped since the last call; above 0, what the reader built from them is wrong."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Ends the subscription: what is queued can still be read, then the iteration ends."""
        self._closed = True
        self._wake.set()
        self._bus._subscriptions.pop(self, None)

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _offer(self, item: T) -> None:
        if self._types is not None and not isinstance(item, self._types):
            return
        if len(self._items) == self._items.maxlen:
            if not self._lost:
                log.warning("subscriber_lagging", subscriber=self.name, max_items=self._items.maxlen)
            self._lost += 1
            self.dropped_total += 1
        self._items.append(item)
        self._wake.set()


class Bus(Generic[T]):
    """Carries items from publishers to handlers and subscriptions of one event loop.

    Attributes:
        published_total: Items published.
        handler_errors: How often a handler raised, by its name.
    """

    def __init__(self) -> None:
        self.published_total = 0
        self.handler_errors: dict[str, int] = {}
        self._handlers: dict[str, tuple[Callable[[T], None], tuple[type, ...] | None]] = {}
        self._routes: dict[type, tuple[tuple[str, Callable[[T], None]], ...]] = {}
        """Who takes items of a type; made when the first one comes, as most are of no matter to most."""
        self._subscriptions: dict[Subscription[T], None] = {}
        self._closed = False

    def publish(self, item: T) -> None:
        """Gives an item to all; never blocks, never raises for what a handler does."""
        self.published_total += 1
        kind = item.__class__
        route = self._routes.get(kind)
        if route is None:
            route = self._routes[kind] = self._route(kind)
        for name, handler in route:
            try:
                handler(item)
            except Exception:  # a subscriber's fault must not reach the publisher or the others
                errors = self.handler_errors.get(name, 0)
                self.handler_errors[name] = errors + 1
                if not errors:
                    log.exception("bus_handler_failed", subscriber=name, item=type(item).__name__)
        if self._subscriptions:
            for subscription in tuple(self._subscriptions):
                subscription._offer(item)

    def _route(self, kind: type) -> tuple[tuple[str, Callable[[T], None]], ...]:
        return tuple(
            (name, handler)
            for name, (handler, types) in self._handlers.items()
            if types is None or issubclass(kind, types)
        )

    def handle(
        self, name: str, handler: Callable[[T], None], types: tuple[type, ...] | None = None
    ) -> Callable[[], None]:
        """Has a handler called with each item, in the publisher's own turn.

        Args:
            name: For metrics and logs; must be free.
            handler: Quick, and without awaiting.
            types: Only items of these types; None for all.

        Returns:
            What ends it.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._handlers:
            raise ValueError(f"a handler named {name!r} is there already: choose another name or end the first")
        self._handlers[name] = (handler, types)
        self._routes = {}

        def end() -> None:
            self._handlers.pop(name, None)
            self._routes = {}

        return end

    def subscribe(self, name: str, max_items: int, types: tuple[type, ...] | None = None) -> Subscription[T]:
        """Opens a queue for a reader that awaits.

        Args:
            name: For metrics and logs.
            max_items: Bound; the oldest item goes when it is reached.
            types: Only items of these types; None for all.

        Raises:
            ValueError: `max_items` is below 1.
        """
        if max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {max_items}")
        subscription = Subscription(self, name, max_items, types)
        if self._closed:
            subscription.close()
        else:
            self._subscriptions[subscription] = None
        return subscription

    def close(self) -> None:
        """Ends all subscriptions; what they hold can still be read."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()

    @property
    def subscriptions(self) -> tuple[Subscription[T], ...]:
        """Those open now, for metrics."""
        return tuple(self._subscriptions)
