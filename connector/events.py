"""The vocabulary: what happens in a contact centre, as typed, frozen events in the domain's words.

`asterisk.translate` makes them from AMI messages, `acd.apply` folds them into state, the bus carries them to
metrics, pages and streams. Times are seconds since the epoch, durations seconds, as floats.
"""

from __future__ import annotations

import enum

import msgspec


class DeviceState(enum.StrEnum):
    """A member's device as app_queue numbers it (Asterisk include/asterisk/devicestate.h)."""

    UNKNOWN = "unknown"
    NOT_IN_USE = "not_in_use"
    IN_USE = "in_use"
    BUSY = "busy"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    RINGING = "ringing"
    RING_IN_USE = "ring_in_use"
    ON_HOLD = "on_hold"


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


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What all events share.

    Attributes:
        pbx: Name of the PBX in the settings.
        at: When it happened by Asterisk's clock; by ours where Asterisk sent no Timestamp.
    """

    pbx: str
    at: float


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


class QueueParams(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as QueueParams describes it. `hold_s` and `talk_s` are Asterisk's moving averages, not means."""

    name: str
    strategy: str
    max_callers: int
    service_level_s: int
    weight: int
    completed: int
    abandoned: int
    hold_s: float
    talk_s: float


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


class AgentCompleted(Event, frozen=True, kw_only=True):
    """The conversation ended. `reason` is agent, caller or transfer."""

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


# -- calls ----------------------------------------------------------------------------------------------------


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A channel. `state` is Asterisk's ChannelStateDesc in lower case (down, ring, ringing, up, busy ...)."""

    uniqueid: str
    linkedid: str
    channel: str
    state: str
    number: str
    name: str
    context: str
    exten: str
    started_at: float


class LegsSnapshot(Event, frozen=True, kw_only=True):
    """All channels as CoreShowChannels lists them."""

    legs: tuple[Leg, ...]


class LegStarted(Event, frozen=True, kw_only=True):
    """Newchannel."""

    leg: Leg


class LegChanged(Event, frozen=True, kw_only=True):
    """Newstate or BridgeEnter: the channel's state, with its linkedid as it is now (a bridge joins two calls)."""

    uniqueid: str
    linkedid: str
    state: str


class HangupRequested(Event, frozen=True, kw_only=True):
    """HangupRequest or SoftHangupRequest: somebody wants the channel gone.

    A far end that hangs up sends it before QueueCallerAbandon. SoftHangupRequest also comes at every channel's end.
    """

    uniqueid: str


class LegEnded(Event, frozen=True, kw_only=True):
    """Hangup, with the Q.850 cause (0 or 16 after a plain BYE, by version)."""

    uniqueid: str
    linkedid: str
    cause: int
    location: str = ""


# -- the link -------------------------------------------------------------------------------------------------


class LinkState(enum.StrEnum):
    """How a connection to Asterisk stands."""

    UP = "up"
    DOWN = "down"
    REFUSED = "refused"
    """Wrong user, password or rights, or the ARI application was taken over: needs a person, not a retry."""


class LinkChanged(Event, frozen=True, kw_only=True):
    """A connection to the PBX changed its state.

    Attributes:
        link: ami or ari.
        state: The new state.
        detail: One sentence for the operator.
        gap_s: With `up`: how long events were missing; 0 at the first connection.
    """

    link: str
    state: LinkState
    detail: str
    gap_s: float = 0.0


class EventsMissed(Event, frozen=True, kw_only=True):
    """Events of AMI were dropped on our side: what is known is stale until both lists were read again."""

    dropped: int


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
    """

    queue: str
    uniqueid: str
    outcome: Outcome
    wait_s: float


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
    | AgentRangNoAnswer
    | MemberChanged
    | MemberRemoved
    | LegsSnapshot
    | LegStarted
    | LegChanged
    | HangupRequested
    | LegEnded
    | LinkChanged
    | EventsMissed
)
"""Every event there is; a test holds that `acd.apply` knows them all."""

Change = CallOutcome | CallStarted | CallEnded
"""What `acd.apply` derives from events."""
