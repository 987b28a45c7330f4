"""The vocabulary: what happens in a contact centre, as typed, frozen events in the domain's words.

`asterisk.translate` makes them from AMI messages, `acd.apply` folds them into state, the bus carries them to
metrics, pages and streams. Times are seconds since the epoch, durations seconds, as floats.
"""

from __future__ import annotations

import enum

import msgspec

from connector.telephony import (
    Contact as Contact,
    ContactChanged as ContactChanged,
    ContactsSnapshot as ContactsSnapshot,
    DeviceState as DeviceState,
    DialEnded as DialEnded,
    Endpoint as Endpoint,
    EndpointsSnapshot as EndpointsSnapshot,
    Event as Event,
    EventsMissed as EventsMissed,
    HangupRequested as HangupRequested,
    Leg as Leg,
    LegChanged as LegChanged,
    LegEnded as LegEnded,
    LegHeld as LegHeld,
    LegMoved as LegMoved,
    LegsSnapshot as LegsSnapshot,
    LegStarted as LegStarted,
    LinkChanged as LinkChanged,
    LinkState as LinkState,
    ListenAsked as ListenAsked,
    PbxChanged as PbxChanged,
    PbxPhase as PbxPhase,
    PeerChanged as PeerChanged,
    SpyChanged as SpyChanged,
    Transferred as Transferred,
    Trunk as Trunk,
    TrunkChanged as TrunkChanged,
    TrunksSnapshot as TrunksSnapshot,
    Whereabouts as Whereabouts,
)


class QueueStatus(enum.StrEnum):
    """Values of the channel variable QUEUESTATUS: why a caller left Queue() without an agent."""

    TIMEOUT = "TIMEOUT"
    FULL = "FULL"
    JOINEMPTY = "JOINEMPTY"
    LEAVEEMPTY = "LEAVEEMPTY"
    JOINUNAVAIL = "JOINUNAVAIL"
    LEAVEUNAVAIL = "LEAVEUNAVAIL"
    CONTINUE = "CONTINUE"
    WITHDRAW = "WITHDRAW"


# -- queues ---------------------------------------------------------------------------------------------------


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A caller who waits in a queue. Keyed by queue and uniqueid.

    Attributes:
        uniqueid: Of the waiting channel.
        channel: Name of the waiting channel.
        position: 1 is next.
        joined_at: Seconds since the epoch.
        number: Caller id number, empty if unknown.
        name: Caller id name, empty if unknown.
        priority: As QueueEntry says; 0 where only the join event was seen.
    """

    uniqueid: str
    channel: str
    position: int
    joined_at: float
    number: str = ""
    name: str = ""
    priority: int = 0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A queue member. Keyed by queue and interface.

    Attributes:
        interface: What the queue dials, for example PJSIP/alice or Local/100@agents/n.
        name: Member name as configured; the interface where none is.
        state_interface: Device whose state counts.
        membership: dynamic, static or realtime.
        penalty: app_queue's penalty.
        calls_taken: Since Asterisk's own counters were reset.
        last_call_at: Seconds since the epoch, 0 for never.
        in_call: In a call of this queue. In an event it is app_queue's own flag, which Asterisk sets late.
        device: State of the device.
        paused: Whether the queue skips the member.
        pause_reason: As given at the pause, empty otherwise.
        paused_at: Seconds since the epoch of the last pause, 0 for never.
        ring_in_use: Whether the queue rings a busy member, None where Asterisk did not say.
        wrapup_seconds: The member's own, not the queue's.
        logged_in_at: Seconds since the epoch, 0 where Asterisk did not say.
    """

    interface: str
    name: str
    state_interface: str = ""
    membership: str = "static"
    penalty: int = 0
    calls_taken: int = 0
    last_call_at: float = 0.0
    in_call: bool = False
    device: DeviceState = DeviceState.UNKNOWN
    paused: bool = False
    pause_reason: str = ""
    paused_at: float = 0.0
    ring_in_use: bool | None = None
    wrapup_seconds: int = 0
    logged_in_at: float = 0.0


class QueueParams(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as QueueParams describes it.

    `hold_s` and `talk_s` are Asterisk's moving averages, not means. `service_level_percent` is its ServicelevelPerf,
    `service_level2_percent` its ServicelevelPerf2; both count from its last reset, and mean nothing with
    `service_level_s` 0.
    """

    name: str
    strategy: str
    max_callers: int
    service_level_s: int
    weight: int
    completed: int
    abandoned: int
    hold_s: float
    talk_s: float
    service_level_percent: float = 0.0
    service_level2_percent: float = 0.0


class QueueSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One queue whole."""

    params: QueueParams
    members: tuple[Member, ...]
    callers: tuple[Caller, ...]


class QueuesSnapshot(Event, frozen=True, kw_only=True):
    """All queues as QueueStatus lists them; takes effect where its QueueStatusComplete stood in the stream."""

    queues: tuple[QueueSnapshot, ...]


class CallerJoined(Event, frozen=True, kw_only=True):
    """QueueCallerJoin."""

    queue: str
    caller: Caller
    linkedid: str
    location: str = ""
    """Where the dialplan stands, as `context,exten,priority`; empty if not told. Queue() itself never moves it."""


class CallerLeft(Event, frozen=True, kw_only=True):
    """QueueCallerLeave: no longer waiting, whatever the reason. On 22 an exit by key shows as a moved `location`."""

    queue: str
    uniqueid: str
    location: str = ""


class CallerAbandoned(Event, frozen=True, kw_only=True):
    """QueueCallerAbandon: left unanswered. Also sent for a timeout, an empty queue, a withdrawal and a redirect."""

    queue: str
    uniqueid: str
    hold_s: float
    position: int
    original_position: int
    location: str = ""
    """On 22 a redirect shows here already, as the dialplan's new place; on 16 only the next DialplanStep tells."""


class DialplanStep(Event, frozen=True, kw_only=True):
    """Newexten: a channel begins an application of the dialplan.

    Attributes:
        uniqueid: Of the channel.
        location: `context,exten,priority`.
        queue: With Queue(): the name of the queue. Nothing else names the queue that then refuses a caller.
    """

    uniqueid: str
    location: str
    queue: str = ""


class QueueStatusSet(Event, frozen=True, kw_only=True):
    """VarSet of QUEUESTATUS on the caller's channel: the true reason, after the fact."""

    uniqueid: str
    status: QueueStatus


class AgentCalled(Event, frozen=True, kw_only=True):
    """A member's phone rings for a caller."""

    queue: str
    uniqueid: str
    interface: str
    member: str


class AgentConnected(Event, frozen=True, kw_only=True):
    """A member answered a caller."""

    queue: str
    uniqueid: str
    interface: str
    member: str
    hold_s: float
    ring_s: float
    leg: str = ""
    """Uniqueid of the member's channel."""


class AgentDumped(Event, frozen=True, kw_only=True):
    """A member hung up while the queue's announcement was played to them: the caller waits on."""

    queue: str
    uniqueid: str
    interface: str
    member: str


class AgentCompleted(Event, frozen=True, kw_only=True):
    """The conversation ended. `reason` is agent, caller or transfer.

    It can come after the end of both legs, and then without the caller's channel (seen in 2 of 100 on a busy 16 and
    22): `uniqueid` is empty then, and queue and interface tell whose conversation it was.
    """

    queue: str
    uniqueid: str
    interface: str
    member: str
    hold_s: float
    talk_s: float
    reason: str


class AgentRangNoAnswer(Event, frozen=True, kw_only=True):
    """A member's phone rang in vain; `ring_s` is 0 where it was busy."""

    queue: str
    uniqueid: str
    interface: str
    member: str
    ring_s: float


class MemberChanged(Event, frozen=True, kw_only=True):
    """A member was added, paused, moved in penalty, or its device changed: the member as it is now."""

    queue: str
    member: Member
    kind: str
    """added, status, pause, penalty or ring_in_use."""


class MemberRemoved(Event, frozen=True, kw_only=True):
    """A member left the queue."""

    queue: str
    interface: str


# -- people ---------------------------------------------------------------------------------------------------


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who answers calls.

    Attributes:
        id: Stable, unique.
        name: As shown.
        teams: Groups the person is shown in.
        skills: Free text.
        interfaces: Devices as queues or channels name them, such as PJSIP/alice or Local/100@agents/n.
    """

    id: str
    name: str
    teams: tuple[str, ...] = ()
    skills: str = ""
    interfaces: tuple[str, ...] = ()


class DirectoryChanged(Event, frozen=True, kw_only=True):
    """The directory of people is now this one, for this PBX."""

    people: tuple[Person, ...]


# -- what follows from events -----------------------------------------------------------------------------------


class Outcome(enum.StrEnum):
    """How a caller's attempt at a queue ended. A closed set: it is a metric label."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    """Hung up while waiting, by either side of the caller's own channel."""
    TIMED_OUT = "timed_out"
    LEFT_EMPTY = "left_empty"
    JOIN_EMPTY = "join_empty"
    FULL = "full"
    KEY_EXIT = "key_exit"
    WITHDRAWN = "withdrawn"
    REDIRECTED = "redirected"
    """Moved elsewhere in the dialplan while waiting; queue_log says ABANDON."""
    UNKNOWN = "unknown"
    """The end fell into a gap, or what would tell was not sent (AMI class `dialplan` or `call` missing)."""


class CallOutcome(Event, frozen=True, kw_only=True):
    """A caller's attempt at a queue is over. `at` is when it ended, which can be before it could be told.

    Attributes:
        queue: Name; empty for a refusal where Asterisk did not name the queue.
        uniqueid: Of the caller's channel.
        outcome: How it ended.
        wait_s: Time in the queue; 0 for a refusal.
        agent: Who answered, by directory id or interface; empty if nobody.
    """

    queue: str
    uniqueid: str
    outcome: Outcome
    wait_s: float
    agent: str = ""


class RangInVain(Event, frozen=True, kw_only=True):
    """An agent's phone rang and was not answered."""

    queue: str
    uniqueid: str
    agent: str
    ring_s: float


class TalkEnded(Event, frozen=True, kw_only=True):
    """A caller and the agent who answered are done with each other.

    Attributes:
        queue: Name.
        uniqueid: Of the caller's channel.
        agent: By directory id or interface.
        talk_s: From the answer on, holds included.
        hold_s: Of it, on hold by the agent.
        transferred: The agent passed the caller on.
    """

    queue: str
    uniqueid: str
    agent: str
    talk_s: float
    hold_s: float
    transferred: bool


class WrapUpEnded(Event, frozen=True, kw_only=True):
    """An agent's time after a conversation is over: by its length, the next call, a pause, or the agent's leaving."""

    queue: str
    uniqueid: str
    agent: str
    wrap_up_s: float


class AgentChanged(Event, frozen=True, kw_only=True):
    """An agent is in another state now, or gone (`state` empty). What was before comes as an AgentInterval."""

    agent: str
    state: str
    """Of `records.AgentState`."""
    reason: str
    linkedid: str


class CallStarted(Event, frozen=True, kw_only=True):
    """The first leg of a call appeared."""

    linkedid: str


class CallEnded(Event, frozen=True, kw_only=True):
    """The last leg of a call is gone. `merged_into` is the linkedid under which its legs go on, if they do."""

    linkedid: str
    merged_into: str = ""


AnyEvent = (
    QueuesSnapshot
    | CallerJoined
    | CallerLeft
    | CallerAbandoned
    | DialplanStep
    | QueueStatusSet
    | AgentCalled
    | AgentConnected
    | AgentCompleted
    | AgentDumped
    | AgentRangNoAnswer
    | MemberChanged
    | MemberRemoved
    | DirectoryChanged
    | LegsSnapshot
    | LegStarted
    | LegChanged
    | HangupRequested
    | LegEnded
    | DialEnded
    | LegHeld
    | Transferred
    | LegMoved
    | SpyChanged
    | ListenAsked
    | EndpointsSnapshot
    | ContactsSnapshot
    | ContactChanged
    | PeerChanged
    | TrunkChanged
    | TrunksSnapshot
    | PbxChanged
    | LinkChanged
    | EventsMissed
)
"""Every event there is; a test holds that `acd.apply` knows them all."""

Change = CallOutcome | CallStarted | CallEnded | RangInVain | TalkEnded | WrapUpEnded | AgentChanged
"""What `acd.apply` derives from events, besides `records.CallRecord` and `records.AgentInterval`."""
