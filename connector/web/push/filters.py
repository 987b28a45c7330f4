"""What a viewer wants to see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from connector.access.sight import ALL, Sight
from connector.web.happenings import AnyHappening, CalledData, CallerId, JoinedData
from connector.web.ports import Live
from connector.web.push.messages import (
    AgentItem,
    CallerItem,
    Item,
    LinkItem,
    MemberItem,
    QueueItem,
    StreamItem,
    Subscribe,
    TrunkItem,
)
from connector.web.scope import sees_call, sees_stream, shown_agent, shown_caller, shown_stream


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items and events; None lets everything through. Equal filters share their messages."""

    pbx: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    meters: bool = False
    events: frozenset[str] = frozenset()
    sight: Sight = ALL

    @classmethod
    def of(cls, subscribe: Subscribe, sight: Sight = ALL) -> Filter:
        """The filter that a viewer asks for, within what they may see."""
        return cls(
            _set(subscribe.pbx),
            _set(subscribe.queues),
            _set(subscribe.agents),
            subscribe.meters,
            frozenset(subscribe.events),
            sight,
        )

    def digest(self) -> str:
        """Short name of the filter, the same for equal ones."""
        parts = [None if part is None else sorted(part) for part in (self.pbx, self.queues, self.agents, self.events)]
        return hashlib.sha256(msgspec.json.encode([*parts, self.meters, self.sight.digest()])).hexdigest()[:16]

    def show(self, item: Item | None, live: Live) -> Item | None:
        """An item as the viewer sees it; None if they do not."""
        if item is None or not self.lets_item(item):
            return None
        sight = self.sight
        match item:
            case CallerItem() if not sight.numbers:
                return shown_caller(sight, item)
            case StreamItem():
                return shown_stream(sight, self._metered(item))
            case AgentItem() if not sight.whole:
                state = live.states().get(item.pbx)
                call = state.calls.get(item.call) if state is not None else None
                return shown_agent(
                    sight, item, state is not None and call is not None and sees_call(sight, state, call)
                )
        return item

    def is_told(self, old: Item | None, new: Item | None) -> bool:
        """Whether a change of an item is one for the viewer: meters alone are not, unless asked for."""
        if self.meters or not isinstance(old, StreamItem) or not isinstance(new, StreamItem):
            return True
        return self._metered(old) != self._metered(new)

    def _metered(self, item: StreamItem) -> StreamItem:
        return item if self.meters else msgspec.structs.replace(item, meters=None)

    def tell(self, happening: AnyHappening) -> AnyHappening | None:
        """What happened as the viewer is told; None if they are not."""
        if not self.lets_event(happening):
            return None
        if not self.sight.numbers and isinstance(happening.data, CalledData | JoinedData):
            caller = happening.data.callerId
            hidden = CallerId(id=self.sight.number(caller.id), name=self.sight.number(caller.name))
            data = msgspec.structs.replace(happening.data, callerId=hidden)
            return msgspec.structs.replace(happening, data=data)
        return happening

    def lets_item(self, item: Item) -> bool:
        """Whether the viewer sees the item."""
        if self.pbx is not None and item.pbx not in self.pbx:
            return False
        match item:
            case LinkItem() | TrunkItem():
                return True
            case QueueItem() | CallerItem() if not self.sight.queue(item.pbx, item.queue):
                return False
            case MemberItem() if not self.sight.queue(item.pbx, item.queue):
                return False
            case AgentItem() if not self.sight.agent(item.pbx, item.queues, item.teams):
                return False
            case StreamItem() if not sees_stream(self.sight, item):
                return False
            case StreamItem():
                return (self.queues is None or any(self._seen_queue(item.pbx, each) for each in item.queues)) and (
                    self.agents is None or item.agent in self.agents
                )
            case QueueItem() | CallerItem():
                return self.queues is None or item.queue in self.queues
            case MemberItem():
                return (self.queues is None or item.queue in self.queues) and (
                    self.agents is None or item.agent in self.agents or item.interface in self.agents
                )
            case AgentItem():
                return (self.queues is None or any(self._seen_queue(item.pbx, each) for each in item.queues)) and (
                    self.agents is None or item.agent in self.agents or not self.agents.isdisjoint(item.interfaces)
                )

    def _seen_queue(self, pbx: str, queue: str) -> bool:
        """Asked for and in scope: a filter must not tell of memberships that are hidden."""
        return (self.queues is None or queue in self.queues) and self.sight.queue(pbx, queue)

    def lets_event(self, happening: AnyHappening) -> bool:
        """Whether the viewer is told what happened."""
        return (
            str(happening.__struct_config__.tag) in self.events
            and (self.pbx is None or happening.pbx in self.pbx)
            and (self.queues is None or happening.queue in self.queues)
            and self.sight.queue(happening.pbx, happening.queue)
            and (
                self.agents is None
                or any(to.agent in self.agents or to.interface in self.agents for to in happening.recipients)
            )
        )
