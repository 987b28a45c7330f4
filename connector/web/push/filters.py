"""What a viewer wants to see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from connector.web.happenings import AnyHappening
from connector.web.push.messages import (
    AgentItem,
    CallerItem,
    Item,
    LinkItem,
    MemberItem,
    QueueItem,
    Subscribe,
    TrunkItem,
)


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items and events; None lets everything through. Equal filters share their messages."""

    pbx: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    events: frozenset[str] = frozenset()

    @classmethod
    def of(cls, subscribe: Subscribe) -> Filter:
        """The filter that a viewer asks for."""
        return cls(_set(subscribe.pbx), _set(subscribe.queues), _set(subscribe.agents), frozenset(subscribe.events))

    def digest(self) -> str:
        """Short name of the filter, the same for equal ones."""
        parts = [None if part is None else sorted(part) for part in (self.pbx, self.queues, self.agents, self.events)]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]

    def lets_item(self, item: Item) -> bool:
        """Whether the viewer sees the item."""
        if self.pbx is not None and item.pbx not in self.pbx:
            return False
        match item:
            case LinkItem() | TrunkItem():
                return True
            case QueueItem() | CallerItem():
                return self.queues is None or item.queue in self.queues
            case MemberItem():
                return (self.queues is None or item.queue in self.queues) and (
                    self.agents is None or item.agent in self.agents or item.interface in self.agents
                )
            case AgentItem():
                return (self.queues is None or not self.queues.isdisjoint(item.queues)) and (
                    self.agents is None or item.agent in self.agents or not self.agents.isdisjoint(item.interfaces)
                )

    def lets_event(self, happening: AnyHappening) -> bool:
        """Whether the viewer is told what happened."""
        return (
            str(happening.__struct_config__.tag) in self.events
            and (self.pbx is None or happening.pbx in self.pbx)
            and (self.queues is None or happening.queue in self.queues)
            and (
                self.agents is None
                or any(to.agent in self.agents or to.interface in self.agents for to in happening.recipients)
            )
        )
