"""What viewers are shown: an item for each link, trunk, queue, member, caller and agent, and which an event touches.

Events only mark what they touch; the items are made again once a tick, however many events there were. Making them is
done in steps, so that whoever owns the loop can let others run in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from connector.acd.model import Agent, PbxState
from connector.events import (
    AgentChanged,
    AgentConnected,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    CallOutcome,
    DirectoryChanged,
    Event,
    EventsMissed,
    LinkChanged,
    Member,
    MemberChanged,
    MemberRemoved,
    QueuesSnapshot,
    TrunkChanged,
    TrunksSnapshot,
)
from connector.records import StreamRecord
from connector.streams.seen import LiveStream
from connector.web.ports import Live
from connector.web.push.messages import (
    AgentItem,
    CallerItem,
    Item,
    LinkItem,
    MemberItem,
    QueueItem,
    StreamItem,
    TrunkItem,
)
from connector.web.rest.stream_views import stream_fields
from connector.web.rest.views import agent_fields, caller_fields, link_fields, member_fields, queue_fields, trunk_fields

AGENTS_A_STEP = 50
"""How many are made between two steps of `Shelf.refresh`."""

SHOWN = (
    AgentChanged,
    AgentConnected,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    CallOutcome,
    DirectoryChanged,
    EventsMissed,
    LinkChanged,
    MemberChanged,
    MemberRemoved,
    QueuesSnapshot,
    TrunkChanged,
    TrunksSnapshot,
    StreamRecord,
)
"""Events that change what is shown."""

Key = tuple[str, str]
"""Kind and id of an item."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An item as it was and as it is; None where it was not or is no more."""

    old: Item | None
    new: Item | None


@dataclass(slots=True)
class _Touched:
    pbxs: set[str] = field(default_factory=set)
    queues: set[tuple[str, str]] = field(default_factory=set)
    members: set[tuple[str, str, str]] = field(default_factory=set)
    agents: set[tuple[str, str]] = field(default_factory=set)
    trunks: set[tuple[str, str]] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)


class Shelf:
    """The items as they were at the last tick.

    Args:
        live: The live state.
        streams: The streams of a PBX that run.

    Attributes:
        items: By kind and id.
        live: The live state.
        metered: Streams have their meters: some viewer wants them.
    """

    def __init__(self, live: Live, streams: Callable[[str], Iterable[LiveStream]]) -> None:
        self.items: dict[Key, Item] = {}
        self.live = live
        self.metered = False
        self._streams = streams
        self._parts: dict[tuple[str, str, str], set[str]] = {}
        """Ids by kind, PBX and queue, so that what is gone is found."""
        self._touched = _Touched(pbxs=set(live.states()))

    def touch(self, event: Event) -> bool:
        """Marks what an event, applied to the state already, may have changed; False if nothing that is shown."""
        touched = self._touched
        match event:
            case MemberChanged():
                self._touch_member(event.pbx, event.queue, event.member.interface)
                touched.agents.add((event.pbx, self._agent_id(event.pbx, event.member)))
            case MemberRemoved():
                self._touch_member(event.pbx, event.queue, event.interface)
            case CallerJoined() | CallerLeft() | CallerAbandoned() | AgentConnected() | CallOutcome():
                touched.queues.add((event.pbx, event.queue))
            case AgentChanged():
                touched.agents.add((event.pbx, event.agent))
            case TrunkChanged():
                touched.trunks.add((event.pbx, event.trunk))
            case TrunksSnapshot():
                touched.trunks.update((event.pbx, trunk) for trunk in self._trunks(event.pbx))
            case StreamRecord():
                touched.streams.add(event.pbx)
            case QueuesSnapshot() | LinkChanged() | EventsMissed() | DirectoryChanged():
                touched.pbxs.add(event.pbx)
            case _:
                return False
        return True

    def touch_streams(self) -> None:
        """Marks the streams."""
        self._touched.streams.update(self.live.states())

    def touch_all(self) -> None:
        """Marks everything."""
        self._touched.pbxs.update(self.live.states())

    def refresh(self, changed: list[Changed]) -> Iterator[None]:
        """Makes what was touched anew, a step at each `next`; what is touched meanwhile is for the next time.

        Args:
            changed: Gets what differs.
        """
        touched, self._touched = self._touched, _Touched()
        states = self.live.states()
        for pbx in sorted(touched.pbxs & states.keys()):
            yield from self._pbx(states[pbx], changed)
        for pbx, trunk in sorted(touched.trunks):
            if pbx not in touched.pbxs and pbx in states:
                self._trunk(states[pbx], trunk, changed)
        for pbx, queue in sorted(touched.queues):
            if pbx not in touched.pbxs and pbx in states:
                self._queue(states[pbx], queue, changed)
                yield
        for pbx, queue, interface in sorted(touched.members):
            if pbx not in touched.pbxs and pbx in states:
                self._member(states[pbx], queue, interface, changed)
                yield
        for pbx, agent in sorted(touched.agents):
            if pbx not in touched.pbxs and pbx in states:
                self._agent(states[pbx], agent, changed)
                yield

        for pbx in sorted(touched.streams):
            if pbx not in touched.pbxs and pbx in states:
                self._stream(states[pbx], changed)
                yield

    def _touch_member(self, pbx: str, queue: str, interface: str) -> None:
        self._touched.queues.add((pbx, queue))
        self._touched.members.add((pbx, queue, interface))
        shown = self.items.get(("member", f"{pbx}/{queue}/{interface}"))
        if isinstance(shown, MemberItem):
            self._touched.agents.add((pbx, shown.agent))

    def _agent_id(self, pbx: str, member: Member) -> str:
        state = self.live.states().get(pbx)
        return member.interface if state is None else state.directory.agent_id(member)

    def _trunks(self, pbx: str) -> set[str]:
        """Those on the shelf, and those that are to be."""
        shown = {id_.partition("/")[2] for id_ in self._parts.get(("trunk", pbx, ""), ())}
        state = self.live.states().get(pbx)
        return shown if state is None else shown | state.trunks.keys()

    # -- making -------------------------------------------------------------------------------------------------

    def _pbx(self, state: PbxState, changed: list[Changed]) -> Iterator[None]:
        pbx = state.pbx
        self._replace("link", pbx, "", [_link(state, name) for name in state.links], changed)
        for trunk in sorted(self._trunks(pbx)):
            self._trunk(state, trunk, changed)
        self._stream(state, changed)
        yield
        gone = {queue for kind, of, queue in self._parts if of == pbx and queue} - state.queues.keys()
        for name in sorted({*state.queues, *gone}):
            self._queue(state, name, changed)
            queue = state.queues.get(name)
            members = [] if queue is None else queue.members.values()
            made = [_member(state, name, each.interface) for each in members]
            self._replace("member", pbx, name, [item for item in made if item is not None], changed)
            yield
        shown = (id_.partition("/")[2] for id_ in self._parts.get(("agent", pbx, ""), ()))
        for number, agent in enumerate(sorted({*state.agents, *shown})):
            self._agent(state, agent, changed)
            if number % AGENTS_A_STEP == 0:
                yield

    def _queue(self, state: PbxState, name: str, changed: list[Changed]) -> None:
        queue = state.queues.get(name)
        pbx = state.pbx
        if queue is None:
            self._replace("queue", pbx, name, [], changed)
            self._replace("caller", pbx, name, [], changed)
            return
        self._replace("queue", pbx, name, [QueueItem(id=f"{pbx}/{name}", **queue_fields(state, name, queue))], changed)
        callers = [
            CallerItem(id=f"{pbx}/{name}/{each.uniqueid}", **caller_fields(pbx, name, each)) for each in queue.callers()
        ]
        self._replace("caller", pbx, name, callers, changed)

    def _member(self, state: PbxState, queue: str, interface: str, changed: list[Changed]) -> None:
        item = _member(state, queue, interface)
        self._put("member", state.pbx, queue, f"{state.pbx}/{queue}/{interface}", item, changed)

    def _agent(self, state: PbxState, name: str, changed: list[Changed]) -> None:
        agent = state.agents.get(name)
        item = None if agent is None else _agent(state, agent)
        self._put("agent", state.pbx, "", f"{state.pbx}/{name}", item, changed)

    def _trunk(self, state: PbxState, name: str, changed: list[Changed]) -> None:
        trunk = state.trunks.get(name)
        id_ = f"{state.pbx}/{name}"
        item = None if trunk is None else TrunkItem(id=id_, **trunk_fields(state.pbx, trunk))
        self._put("trunk", state.pbx, "", id_, item, changed)

    def _stream(self, state: PbxState, changed: list[Changed]) -> None:
        """All streams of a PBX: a call's arrival at a queue, or an agent, tells whose they are."""
        items = [
            StreamItem(id=f"{state.pbx}/{each.stream_id}", **stream_fields(state, each, meters=self.metered))
            for each in self._streams(state.pbx)
        ]
        self._replace("stream", state.pbx, "", items, changed)

    # -- putting ------------------------------------------------------------------------------------------------

    def _replace(self, kind: str, pbx: str, queue: str, items: Iterable[Item], changed: list[Changed]) -> None:
        """Has exactly these items of a kind on the shelf for a queue (or for a PBX, with no queue)."""
        gone = set(self._parts.get((kind, pbx, queue), ()))
        for item in items:
            gone.discard(item.id)
            self._put(kind, pbx, queue, item.id, item, changed)
        for each in sorted(gone):
            self._put(kind, pbx, queue, each, None, changed)

    def _put(self, kind: str, pbx: str, queue: str, id_: str, item: Item | None, changed: list[Changed]) -> None:
        old = self.items.get((kind, id_))
        if old == item:
            return
        changed.append(Changed(old, item))
        part = (kind, pbx, queue)
        if item is not None:
            self.items[kind, id_] = item
            if old is None:
                self._parts.setdefault(part, set()).add(id_)
            return
        del self.items[kind, id_]
        ids = self._parts[part]
        ids.discard(id_)
        if not ids:
            del self._parts[part]


def _link(state: PbxState, name: str) -> LinkItem:
    return LinkItem(id=f"{state.pbx}/{name}", **link_fields(state.pbx, name, state.links[name]))


def _member(state: PbxState, queue: str, interface: str) -> MemberItem | None:
    found = state.queues.get(queue)
    member = None if found is None else found.members.get(interface)
    if member is None:
        return None
    return MemberItem(id=f"{state.pbx}/{queue}/{interface}", **member_fields(state, queue, member))


def _agent(state: PbxState, agent: Agent) -> AgentItem:
    return AgentItem(id=f"{state.pbx}/{agent.id}", **agent_fields(state, agent))
