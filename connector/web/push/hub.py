"""Numbers what changes and hands it to the viewers: once a tick, and encoded once for all who want to see the same."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
import structlog

from connector.events import Event
from connector.streams.seen import LiveStream
from connector.web.happenings import AnyHappening
from connector.web.ports import Live
from connector.web.push.filters import Filter
from connector.web.push.messages import Delta, Heartbeat, Item, Removed, Resume, Snapshot, ToViewer
from connector.web.push.shelf import Changed, Key, Shelf

log = structlog.get_logger()

TICK_S = 0.075
"""Changes wait at most this long for company."""

STEP_S = 0.005
"""How long a tick may keep the loop before others are let run; a whole contact centre takes many such steps."""

METERS_S = 1.0
"""Between two looks at the streams; the media workers tell how they sound as often."""

EVENTS_MAX = 20_000
"""Happenings that wait for a tick; beyond it the oldest is dropped and counted."""


def encode(message: ToViewer) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message)


@dataclass(frozen=True, slots=True)
class _Batch:
    sequence: int
    changed: list[Changed]
    events: list[AnyHappening]

    @property
    def size(self) -> int:
        return len(self.changed) + len(self.events)


class Feed:
    """What waits for one viewer, bounded; beyond the bound it is dropped and replaced by a fresh snapshot.

    Attributes:
        group: Those who see the same.
        wake: Set when there is something.
        was_slow: It was too slow once, which is logged once.
    """

    def __init__(self, group: Group, max_bytes: int) -> None:
        self.group = group
        self.wake = asyncio.Event()
        self.was_slow = False
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._wants_snapshot = False

    def want_snapshot(self) -> None:
        """Drops what waits; next comes a snapshot."""
        self._messages.clear()
        self._bytes = 0
        self._wants_snapshot = True
        self.wake.set()

    def offer(self, message: bytes) -> bool:
        """Adds a message; False if it was too much and a snapshot will come in its place."""
        if self._wants_snapshot:
            return True  # the snapshot is made when it is sent, and has this already
        if self._messages and self._bytes + len(message) > self._max_bytes:
            self.want_snapshot()
            return False
        self._messages.append(message)
        self._bytes += len(message)
        self.wake.set()
        return True

    def take(self) -> bytes | None:
        """The next message; None if there is none, `wake` tells when there is."""
        if self._wants_snapshot:
            self._wants_snapshot = False
            return self.group.snapshot()
        if self._messages:
            message = self._messages.popleft()
            self._bytes -= len(message)
            return message
        self.wake.clear()
        return None


@dataclass(eq=False, slots=True)
class Group:
    """The viewers of one filter.

    Attributes:
        last: Number of the last message that all of them got, or were up to date with.
    """

    hub: Hub
    filter: Filter
    epoch: str
    last: int
    feeds: set[Feed] = field(default_factory=set)
    _snapshot: tuple[int, bytes] | None = None

    def snapshot(self) -> bytes:
        """Everything, as it was at the last tick."""
        sequence = self.hub.sequence
        if self._snapshot is None or self._snapshot[0] != sequence:
            shelf = self.hub.shelf
            shown = (self.filter.show(item, shelf.live) for item in shelf.items.values())
            items = tuple(item for item in shown if item is not None)
            message = Snapshot(epoch=self.epoch, sequence=sequence, at=self.hub.clock(), items=items)
            self._snapshot = (sequence, encode(message))
        return self._snapshot[1]

    def heartbeat(self) -> bytes:
        """Says that nothing has changed."""
        return encode(Heartbeat(epoch=self.epoch, sequence=self.last, at=self.hub.clock()))

    def delta(
        self, after: int, changed: Iterable[Changed], events: Iterable[AnyHappening], *, even_empty: bool = False
    ) -> bytes | None:
        """What of a change these viewers see; None if nothing, unless that is to be said too."""
        live = self.hub.shelf.live
        shown: list[Item] = []
        removed: list[Removed] = []
        for each in changed:
            if not self.filter.is_told(each.old, each.new):
                continue
            if (new := self.filter.show(each.new, live)) is not None:
                shown.append(new)
            elif each.old is not None and self.filter.lets_item(each.old):
                removed.append(Removed(kind=str(each.old.__struct_config__.tag), id=each.old.id))
        told: tuple[AnyHappening, ...] = ()
        if self.filter.events:
            told = tuple(happening for event in events if (happening := self.filter.tell(event)) is not None)
        if not (shown or removed or told or even_empty):
            return None
        return encode(
            Delta(
                epoch=self.epoch,
                after=after,
                sequence=self.hub.sequence,
                at=self.hub.clock(),
                changed=tuple(shown),
                removed=tuple(removed),
                events=told,
            )
        )


class Hub:
    """One for all viewers.

    Args:
        live: The live state.
        streams: The streams of a PBX that run, by id.
        clock: Seconds since the epoch.
        run_id: Unique for this run of the connector.
        tick_s: How long changes are gathered.
        ring_items: How many changes are kept for those who come back.
        feed_bytes: What may wait for one viewer.

    Attributes:
        sequence: Number of the last tick with a change.
        snapshots_forced: How often a viewer was too slow.
        resumed: How often a viewer came back and was told only what it had missed.
        events_dropped: Happenings that did not fit into one tick.
    """

    def __init__(
        self,
        live: Live,
        streams: Callable[[str], Iterable[LiveStream]] = lambda _pbx: (),
        *,
        clock: Callable[[], float],
        run_id: str,
        tick_s: float = TICK_S,
        ring_items: int = 50_000,
        feed_bytes: int = 4_194_304,
    ) -> None:
        self.shelf = Shelf(live, streams)
        self.clock = clock
        self.sequence = 0
        self.snapshots_forced = 0
        self.resumed = 0
        self.events_dropped = 0
        self._run_id = run_id
        self._tick_s = tick_s
        self._ring: deque[_Batch] = deque()
        self._ring_size = 0
        self._ring_items = ring_items
        self._feed_bytes = feed_bytes
        self._groups: dict[Filter, Group] = {}
        self._events: list[AnyHappening] = []
        self._dirty = asyncio.Event()
        self._dirty.set()

    @property
    def viewers(self) -> int:
        """How many are connected."""
        return sum(len(group.feeds) for group in self._groups.values())

    # -- what comes in ------------------------------------------------------------------------------------------

    def on_item(self, item: Event) -> None:
        """Takes an item of the bus."""
        if self.shelf.touch(item):
            self._dirty.set()

    def on_happening(self, happening: AnyHappening) -> None:
        """Takes what happened."""
        if len(self._events) >= EVENTS_MAX:
            self.events_dropped += 1
            return
        self._events.append(happening)
        self._dirty.set()

    def changed_elsewhere(self) -> None:
        """The directory or the like has changed: everything is compared at the next tick."""
        self.shelf.touch_all()
        self._dirty.set()

    async def run(self) -> None:
        """Ticks until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            turn_ends = asyncio.get_running_loop().time() + STEP_S
            for _ in self.steps():
                if asyncio.get_running_loop().time() >= turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = asyncio.get_running_loop().time() + STEP_S
            await asyncio.sleep(self._tick_s)

    async def watch_streams(self, every_s: float = METERS_S) -> None:
        """Looks at the streams by the clock, until cancelled; with their meters while somebody wants these."""
        while True:
            await asyncio.sleep(every_s)
            self.shelf.metered = any(group.filter.meters for group in self._groups.values())
            self.shelf.touch_streams()
            self._dirty.set()

    def flush(self) -> None:
        """One tick in one go."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """One tick: numbers what has changed and gives it to all. Others may run after each step."""
        changed: list[Changed] = []
        yield from self.shelf.refresh(changed)
        events, self._events = self._events, []
        if not (changed or events):
            return
        self.sequence += 1
        self._remember(_Batch(self.sequence, changed, events))
        for group in self._groups.values():
            message = group.delta(group.last, changed, events)
            if message is not None:
                group.last = self.sequence
                self._offer(group, message)

    def _offer(self, group: Group, message: bytes) -> None:
        for feed in group.feeds:
            if feed.offer(message):
                continue
            self.snapshots_forced += 1
            if not feed.was_slow:
                feed.was_slow = True
                log.warning("viewer_too_slow", viewers=self.viewers, waiting_bytes=self._feed_bytes)

    def _remember(self, batch: _Batch) -> None:
        self._ring.append(batch)
        self._ring_size += batch.size
        while self._ring_size > self._ring_items:
            self._ring_size -= self._ring.popleft().size

    # -- viewers ------------------------------------------------------------------------------------------------

    def attach(self, wanted: Filter, resume: Resume | None) -> Feed:
        """Adds a viewer; its first message is what it missed, or a snapshot where that cannot be told."""
        group = self._groups.get(wanted)
        if group is None:
            group = Group(self, wanted, f"{self._run_id}-{wanted.digest()}", self.sequence)
            self._groups[wanted] = group
        feed = Feed(group, self._feed_bytes)
        group.feeds.add(feed)
        missed = self._missed(group, resume)
        if missed is None:
            feed.want_snapshot()
        else:
            self.resumed += 1
            feed.offer(missed)
        return feed

    def detach(self, feed: Feed) -> None:
        """Removes a viewer."""
        feed.group.feeds.discard(feed)
        if not feed.group.feeds:
            self._groups.pop(feed.group.filter, None)

    def _missed(self, group: Group, resume: Resume | None) -> bytes | None:
        if resume is None or resume.epoch != group.epoch or resume.sequence > self.sequence:
            return None
        if resume.sequence < self.sequence - len(self._ring):
            return None
        first: dict[Key, Item | None] = {}
        last: dict[Key, Item | None] = {}
        events: list[AnyHappening] = []
        for batch in self._ring:
            if batch.sequence <= resume.sequence:
                continue
            events += batch.events
            for each in batch.changed:
                item = each.new or each.old
                assert item is not None
                key = (str(item.__struct_config__.tag), item.id)
                first.setdefault(key, each.old)
                last[key] = each.new
        merged = [Changed(first[key], new) for key, new in last.items()]
        return group.delta(resume.sequence, merged, events, even_empty=True)
