"""What the API answers with. Times are seconds since the epoch, durations seconds.

The live ones travel the push connection too, there with `kind` and `id`, see `web.push.messages`.
"""

from __future__ import annotations

import msgspec

from connector.events import DeviceState, LinkState, Outcome
from connector.records import AgentState, Direction, QueueVisit, TimelineEntry
from connector.store.queries import AgentQuarter, QueueQuarter


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What all have in common: they are values."""


# -- live -----------------------------------------------------------------------------------------------------


class LinkView(Shape, frozen=True):
    """A connection to a PBX.

    Attributes:
        link: ami or ari.
        state: up, down or refused.
        since: When that began.
        detail: One sentence for the operator.
        gaps: How often events were missed.
        gap_s: How long in all.
    """

    pbx: str
    link: str
    state: LinkState
    since: float
    detail: str
    gaps: int
    gap_s: float


class MemberView(Shape, frozen=True):
    """A queue member.

    Attributes:
        interface: What the queue dials.
        agent: Id of the agent whose interface it is.
    """

    pbx: str
    queue: str
    interface: str
    name: str
    agent: str
    state_interface: str
    membership: str
    penalty: int
    calls_taken: int
    last_call_at: float
    in_call: bool
    device: DeviceState
    paused: bool
    pause_reason: str
    paused_at: float
    ring_in_use: bool | None
    wrapup_s: int
    logged_in_at: float


class CallerView(Shape, frozen=True):
    """A caller who waits. `position` 1 is next."""

    pbx: str
    queue: str
    uniqueid: str
    channel: str
    position: int
    joined_at: float
    number: str
    name: str
    priority: int


class QueueView(Shape, frozen=True):
    """A queue in figures of this moment.

    Attributes:
        waiting: Callers who wait.
        waiting_since: When the one who has waited longest joined; None if nobody waits.
        members: How many.
        members_free: Reachable, not in use, not paused.
        members_paused: How many of them are paused.
        outcomes: How callers' attempts ended since the connector started.
        current: False while what is shown may be out of date: the link is down or the lists are being read.
    """

    pbx: str
    queue: str
    strategy: str
    weight: int
    max_callers: int
    service_level_s: int
    waiting: int
    waiting_since: float | None
    members: int
    members_free: int
    members_paused: int
    outcomes: dict[Outcome, int]
    current: bool


class QueueWhole(Shape, frozen=True):
    """A queue with its members and waiting callers."""

    queue: QueueView
    members: tuple[MemberView, ...]
    callers: tuple[CallerView, ...]


class AgentView(Shape, frozen=True):
    """One person over all queues.

    Attributes:
        agent: Id in the directory; the interface of one who is not in it.
        teams: Of the directory.
        state: What they do.
        reason: Of the pause.
        since: When that began; 0 if it is not known.
        call: Linkedid of their call, or empty.
        queues: In which they are members.
        interfaces: That they use.
    """

    pbx: str
    agent: str
    name: str
    teams: tuple[str, ...]
    state: AgentState
    reason: str
    since: float
    call: str
    queues: tuple[str, ...]
    interfaces: tuple[str, ...]


class LegView(Shape, frozen=True):
    """A channel."""

    uniqueid: str
    channel: str
    state: str
    number: str
    name: str
    context: str
    exten: str
    started_at: float


class LiveCall(Shape, frozen=True):
    """A call that goes on. `queue` is where it waits, or empty."""

    pbx: str
    linkedid: str
    started_at: float
    direction: Direction
    number: str
    name: str
    dialled: str
    answered_at: float | None
    queue: str
    legs: tuple[LegView, ...]


class TrunkView(Shape, frozen=True):
    """A registration of the PBX at a provider.

    Attributes:
        trunk: Technology and account, such as PJSIP/4711@provider.example.
        label: Name of its section in the configuration; empty where it is not listed.
        endpoint: That its calls come in by; empty where the registration names none.
        online: None where Asterisk has not told.
        status: Asterisk's last word.
        since: Of that.
    """

    pbx: str
    trunk: str
    label: str
    endpoint: str
    online: bool | None
    status: str
    since: float


# -- lists ----------------------------------------------------------------------------------------------------


class QueueList(Shape, frozen=True):
    """Queues. `next` is empty on the last page."""

    at: float
    queues: tuple[QueueView, ...]
    next: str


class AgentList(Shape, frozen=True):
    """Agents. `next` is empty on the last page."""

    at: float
    agents: tuple[AgentView, ...]
    next: str


class LiveCallList(Shape, frozen=True):
    """Calls that go on. `next` is empty on the last page."""

    at: float
    calls: tuple[LiveCall, ...]
    next: str


class TrunkList(Shape, frozen=True):
    """All trunks."""

    at: float
    trunks: tuple[TrunkView, ...]


# -- history --------------------------------------------------------------------------------------------------


class FinishedCall(Shape, frozen=True):
    """A call that ended. `recovered`: read from queue_log after a gap."""

    pbx: str
    linkedid: str
    started_at: float
    ended_at: float
    direction: Direction
    number: str
    name: str
    dialled: str
    answered_at: float | None
    legs: int
    recovered: bool
    visits: tuple[QueueVisit, ...]


class CallPage(Shape, frozen=True):
    """Calls that ended, the latest first. `next` is empty on the last page."""

    calls: tuple[FinishedCall, ...]
    next: str


class OneCall(Shape, frozen=True):
    """A call: `live` while it goes on, `finished` and its `timeline` once it ended."""

    live: LiveCall | None
    finished: FinishedCall | None
    timeline: tuple[TimelineEntry, ...]


class QueueReport(Shape, frozen=True):
    """Quarters of an hour of queues in order of time. `next` is empty on the last page."""

    intervals: tuple[QueueQuarter, ...]
    next: str


class AgentReport(Shape, frozen=True):
    """Quarters of an hour of agents in order of time. `next` is empty on the last page."""

    intervals: tuple[AgentQuarter, ...]
    next: str


# -- connection tests -------------------------------------------------------------------------------------------


class ProbeResult(Shape, frozen=True):
    """What a connection test found.

    Attributes:
        ok: It works.
        detail: What was found, or what failed.
        remedy: What to do; empty if it works.
        took_s: How long it took.
    """

    ok: bool
    detail: str
    remedy: str
    took_s: float
