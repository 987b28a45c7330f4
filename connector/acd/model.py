"""The live state of one PBX: queues, their members and waiting callers, calls and their legs, links.

Containers are mutable and belong to `acd.apply`; the values in them are frozen. Everybody else reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from connector.acd.directory import Directory
from connector.events import Caller, Contact, Leg, LinkState, Member, Outcome, QueueParams
from connector.records import AgentState, Direction, TimelineEntry


@dataclass(slots=True, eq=False)
class Visit:
    """One attempt of a call at a queue, the talk with who answered, and what followed. See `records.QueueVisit`.

    Attributes:
        left_from: Position when the waiting ended; 0 while it goes on.
        outcome: None while it is not known.
        call: Where it is kept; None while the caller's channel is not known.
        interface: Of the member who answered.
        agent_leg: Uniqueid of that member's channel, empty if not told.
        connected_at: When somebody answered.
        completed_at: When that conversation was over.
        hung_up_at: When the caller's channel ended though AgentComplete had not been heard.
        held_since: On hold by the agent.
        wraps: The agent's wrap-up after it is not over.
        rang: Time of the last AgentRingNoAnswer by interface, so that the same one is not counted twice.
    """

    queue: str
    uniqueid: str
    joined_at: float
    position: int = 0
    left_from: int = 0
    ended_at: float | None = None
    outcome: Outcome | None = None
    call: Call | None = None
    agent: str = ""
    interface: str = ""
    agent_leg: str = ""
    ring_s: float = 0.0
    connected_at: float | None = None
    completed_at: float | None = None
    hung_up_at: float | None = None
    held_since: float | None = None
    hold_s: float = 0.0
    wraps: bool = False
    wrap_up_s: float = 0.0
    rang_in_vain: int = 0
    rang: dict[str, float] = field(default_factory=dict)
    transferred: bool = False

    @property
    def talking(self) -> bool:
        """Somebody answered and is not done."""
        return self.connected_at is not None and self.completed_at is None


@dataclass(slots=True)
class Stay:
    """One caller's time in one queue, from the join until the outcome is known.

    Attributes:
        queue: Name.
        caller: As joined or listed; its `position` is the one at that time, see `Queue.callers`.
        location: The dialplan's place while in Queue(), empty until an event told it.
        abandoned: QueueCallerAbandon was seen.
        ended_at: When the waiting ended; None while waiting.
        lost: A snapshot, not an event, said that the caller no longer waits.
        visit: The same for the history.
        ringing: Agents whose phones ring for the caller.
    """

    queue: str
    caller: Caller
    visit: Visit
    location: str = ""
    abandoned: bool = False
    ended_at: float | None = None
    lost: bool = False
    ringing: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Queue:
    """One queue. `waiting` is by uniqueid, in order of position: the first is next."""

    params: QueueParams
    members: dict[str, Member] = field(default_factory=dict)
    waiting: dict[str, Stay] = field(default_factory=dict)

    def callers(self) -> Iterator[Caller]:
        """Those who wait, with their positions as they are now."""
        for position, stay in enumerate(self.waiting.values(), start=1):
            caller = stay.caller
            yield caller if caller.position == position else msgspec.structs.replace(caller, position=position)


@dataclass(slots=True)
class Track:
    """A living channel and what its next queue event must be judged by.

    Attributes:
        leg: The channel.
        hangup_requested: Somebody wants it gone.
        entering: Queue that the dialplan named last.
        refused_at: Time of the last refusal, so that the same one is not counted twice.
        agent: Id of the agent whose device it is, empty if nobody's.
        held_since: Its device holds the call.
    """

    leg: Leg
    agent: str = ""
    held_since: float | None = None
    hangup_requested: bool = False
    entering: str = ""
    refused_at: float = -1.0


@dataclass(slots=True, eq=False)
class Call:
    """Legs that share a linkedid, and what became of them.

    Attributes:
        linkedid: Its name.
        started_at: When the first leg appeared.
        legs: Uniqueids of living legs in order of appearance.
        ended_at: When the last leg was gone; the call is then kept for what is still open in it.
        merged_into: Linkedid under which legs of it go on; its history is that call's then.
        told: Its record was given out.
        legs_total: Legs it ever had.
        direction: As far as the first leg tells.
        number: Of the other party.
        name: Of the other party.
        dialled: What was dialled first.
        answered_at: When a person or device was reached.
        visits: Its attempts at queues, at most `VISITS_MAX`.
        timeline: What happened, at most `TIMELINE_MAX` entries.
    """

    linkedid: str
    started_at: float
    legs: dict[str, None] = field(default_factory=dict)
    ended_at: float | None = None
    merged_into: str = ""
    told: bool = False
    legs_total: int = 0
    direction: Direction = Direction.UNKNOWN
    number: str = ""
    name: str = ""
    dialled: str = ""
    answered_at: float | None = None
    visits: list[Visit] = field(default_factory=list)
    timeline: list[TimelineEntry] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Agent:
    """One person, over all queues and devices.

    Attributes:
        id: Of the directory, or an interface.
        name: As shown.
        members: The person's memberships as queue and interface.
        state: What the person does.
        since: Since when, seconds since the epoch.
        reason: Of the pause.
        linkedid: Of the call.
        ringing: Callers for whom a queue rings the person, by uniqueid.
        talks: Conversations from queues, by the caller's uniqueid.
        legs: Living channels of the person's devices, by uniqueid.
        wrap_until: When the wrap-up ends.
        wrapping: The visit that is wrapped up.
        completed: Caller's uniqueid and time of the last AgentComplete, so that the same one is not counted twice.
    """

    id: str
    name: str
    state: AgentState
    since: float
    reason: str = ""
    linkedid: str = ""
    members: dict[tuple[str, str], None] = field(default_factory=dict)
    ringing: dict[str, None] = field(default_factory=dict)
    talks: dict[str, Visit] = field(default_factory=dict)
    legs: dict[str, None] = field(default_factory=dict)
    wrap_until: float = 0.0
    wrapping: Visit | None = None
    completed: tuple[str, float] = ("", 0.0)


@dataclass(slots=True)
class Line:
    """An endpoint and its registration, or a trunk's.

    Attributes:
        name: Such as PJSIP/alice.
        online: Reachable; None where nobody has told.
        status: Asterisk's last word on it.
        since: Of that.
        contacts: By URI, at most `CONTACTS_MAX`.
        label: Of a trunk: name of its section in the configuration.
        endpoint: Of a trunk: that its calls come in by.
    """

    name: str
    online: bool | None = None
    status: str = ""
    since: float = 0.0
    contacts: dict[str, Contact] = field(default_factory=dict)
    label: str = ""
    endpoint: str = ""


@dataclass(slots=True)
class Link:
    """A connection to the PBX: its state since when, and what was missed."""

    state: LinkState
    since: float
    detail: str = ""
    gaps: int = 0
    gap_s: float = 0.0


VISITS_MAX = 100
TIMELINE_MAX = 200
CONTACTS_MAX = 20

Deadline = tuple[float, str, str]

Suspect = tuple[str, str, str]
"""Kind of drift, queue (empty for a leg), uniqueid or interface."""


@dataclass(slots=True)
class PbxState:
    """Everything known of one PBX.

    Attributes:
        pbx: Name in the settings.
        queues: By name.
        where: Queue in which a caller waits, by uniqueid.
        leaving: Callers who wait no more and whose outcome is not known yet, by uniqueid, oldest first.
        outcomes: Own counters by queue name; never reset, never touched by a snapshot.
        legs: By uniqueid.
        calls: By linkedid.
        links: By `ami` or `ari`.
        queues_current: A QueuesSnapshot has come since the last gap.
        legs_current: A LegsSnapshot has come since the last gap.
        drift: Own state proved wrong by a snapshot, by kind; see `acd.resync`.
        unannounced: Changes seen in a snapshot that Asterisk tells by no event, by kind; see `acd.resync`.
        suspects: Differences to the last snapshot that an event under way may still explain.
        directory: Who is who.
        agents: By id: who is a member of a queue, in the directory, or on a call that came from a queue.
        agent_of: Agent's id by device, see `directory.device_of`.
        names: Agent's id by name of a member, also of those who are members no more; bounded.
        talks: Conversations from queues by the caller's uniqueid.
        ending: Calls that are over but for an open visit, by linkedid, oldest first.
        deadlines: A heap of what time alone will change: when, kind and key; see `acd.clock`.
        endpoints: By name.
        trunks: By name.
        booted_at: When Asterisk started, as far as it told; 0 if it did not.
        stopping: Asterisk has said that it stops.
        reloads: Reloads heard of, the last at `reloaded_at`.
        wrap_up_s: Wrap-up by queue; `default_wrap_up_s` for all others.
    """

    pbx: str
    queues: dict[str, Queue] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    leaving: dict[str, Stay] = field(default_factory=dict)
    outcomes: dict[str, dict[Outcome, int]] = field(default_factory=dict)
    legs: dict[str, Track] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    queues_current: bool = False
    legs_current: bool = False
    drift: dict[str, int] = field(default_factory=dict)
    unannounced: dict[str, int] = field(default_factory=dict)
    suspects: set[Suspect] = field(default_factory=set)
    directory: Directory = field(default_factory=Directory)
    agents: dict[str, Agent] = field(default_factory=dict)
    agent_of: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    talks: dict[str, Visit] = field(default_factory=dict)
    ending: dict[str, Call] = field(default_factory=dict)
    deadlines: list[Deadline] = field(default_factory=list)
    endpoints: dict[str, Line] = field(default_factory=dict)
    trunks: dict[str, Line] = field(default_factory=dict)
    booted_at: float = 0.0
    stopping: bool = False
    reloads: int = 0
    reloaded_at: float = 0.0
    wrap_up_s: dict[str, float] = field(default_factory=dict)
    default_wrap_up_s: float = 0.0

    def queue(self, name: str) -> Queue:
        """The queue of that name, made if it is new: a realtime queue appears with its first caller."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(
                QueueParams(
                    name=name,
                    strategy="",
                    max_callers=0,
                    service_level_s=0,
                    weight=0,
                    completed=0,
                    abandoned=0,
                    hold_s=0.0,
                    talk_s=0.0,
                )
            )
        return queue

    def waiting(self, uniqueid: str) -> Stay | None:
        """The stay of a caller who waits, in whichever queue."""
        name = self.where.get(uniqueid)
        return None if name is None else self.queues[name].waiting[uniqueid]
