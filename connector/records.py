"""What history keeps: finished calls with their path, stretches of an agent's state, finished streams.

`acd` makes them from events when something has ended; the bus carries them, `store` keeps them. Each has a `key` that
is the same whenever the same events are applied again, so keeping one twice changes nothing.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from connector.events import AnyEvent, Change, Event, Outcome


class Direction(enum.StrEnum):
    """Where a call came from, as far as its first leg tells."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class AgentState(enum.StrEnum):
    """What one person does, over all queues and devices of theirs."""

    AVAILABLE = "available"
    RINGING = "ringing"
    ON_CALL = "on_call"
    ON_HOLD = "on_hold"
    WRAP_UP = "wrap_up"
    PAUSED = "paused"
    UNAVAILABLE = "unavailable"


class QueueVisit(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a call at a queue. Durations in seconds, times since the epoch.

    Attributes:
        queue: Name.
        uniqueid: Of the caller's channel.
        joined_at: When the waiting began; of a refusal, when it came.
        ended_at: When the waiting ended.
        outcome: How.
        position: On joining.
        wait_s: Time until the outcome.
        agent: Who answered, by directory id or interface; empty if nobody.
        ring_s: Of the phone that answered.
        talk_s: Until the end of the conversation with that agent; 0 if nobody answered.
        hold_s: On hold within it.
        wrap_up_s: Afterwards.
        rang_in_vain: Phones that were not answered.
        transferred: The agent passed the caller on.
    """

    queue: str
    uniqueid: str
    joined_at: float
    ended_at: float
    outcome: Outcome
    position: int = 0
    wait_s: float = 0.0
    agent: str = ""
    ring_s: float = 0.0
    talk_s: float = 0.0
    hold_s: float = 0.0
    wrap_up_s: float = 0.0
    rang_in_vain: int = 0
    transferred: bool = False


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened in a call: `what` is a closed word such as joined, rang, answered, hold, transfer."""

    at: float
    what: str
    detail: str = ""


class CallRecord(Event, frozen=True, kw_only=True):
    """A call that ended, over all its legs, queues and transfers. `at` is its end."""

    linkedid: str
    started_at: float
    direction: Direction
    number: str
    """Of the other party; empty if unknown."""
    name: str
    dialled: str
    """Extension or number first dialled."""
    answered_at: float | None
    visits: tuple[QueueVisit, ...]
    timeline: tuple[TimelineEntry, ...]
    legs: int
    recovered: bool = False
    """Read from queue_log after a gap, not heard live."""

    @property
    def key(self) -> str:
        """Unique over all PBXs and restarts."""
        return f"{self.pbx}/{self.linkedid}"


class AgentInterval(Event, frozen=True, kw_only=True):
    """A stretch in which an agent's state did not change. `at` is its end."""

    agent: str
    state: AgentState
    reason: str
    """Of the pause, else empty."""
    started_at: float
    linkedid: str = ""
    """The call of it, if any."""

    @property
    def key(self) -> str:
        """Unique over all PBXs and restarts."""
        return f"{self.pbx}/{self.agent}/{self.started_at:.6f}"


class StreamRecord(Event, frozen=True, kw_only=True):
    """A stream that ended, or could not be set up. `at` is its end."""

    stream_id: str
    uniqueid: str
    profile: str
    cause: str
    detail: str
    started_at: float
    setup_s: float | None
    stats: dict[str, int]
    dialect: str = ""
    mode: str = ""
    peer: str = ""
    """Scheme, host and port of the bot."""
    queue: str = ""
    """That the call was in, or was answered from; empty if it was of none."""
    quality: dict[str, Any] = msgspec.field(default_factory=dict)
    """How it sounded, see docs/quality.md, with `faults`; empty where audio never began."""

    @property
    def key(self) -> str:
        """Unique over all PBXs and restarts."""
        return f"{self.pbx}/{self.stream_id}"


class CallHandedOver(Event, frozen=True, kw_only=True):
    """A bot has sent its caller elsewhere. Not kept: told to whoever takes the call, and the stream's record has it."""

    uniqueid: str
    """Of the caller's channel."""
    profile: str
    target: str
    """As `queue:support`."""
    reason: str
    summary: str
    headers: dict[str, str]
    number: str
    """Of the caller."""
    name: str
    """Of the caller."""


class StreamBegan(Event, frozen=True, kw_only=True):
    """Audio of a stream began to flow. Not kept: its `StreamRecord` comes at its end."""

    stream_id: str
    uniqueid: str
    profile: str


class AuditRecord(Event, frozen=True, kw_only=True):
    """A deed of a person or program that used the API. `pbx` is empty where none is concerned."""

    id: str
    """Made by whoever did it, once."""
    actor: str
    """Who: name of the token or login."""
    action: str
    """Closed word, such as agent.update."""
    target: str
    result: str
    """ok, or why not."""
    detail: str = ""
    remote: str = ""
    """Address it came from."""

    @property
    def key(self) -> str:
        """Unique over all PBXs and restarts."""
        return self.id


Record = CallRecord | AgentInterval | StreamRecord | AuditRecord
"""What `store` keeps of the bus."""

Derived = Change | CallRecord | AgentInterval
"""What the live state makes of events."""

Published = AnyEvent | Change | Record | CallHandedOver | StreamBegan
"""Everything the bus carries."""
