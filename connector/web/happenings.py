"""What happened, told to people's programs: the events of a call-centre client, with whom each concerns.

Names and the keys of `data` are those that Rocket.Chat's client knows; `call-handed-over` is our own. Where AMI's
event says less than its name, the truth is told: QueueCallerAbandon also comes for a timeout or a redirect,
`call-abandoned` only for a hang-up. The same event applied again has the same id, so that whoever keeps them tells it
once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from connector.acd.directory import device_of
from connector.acd.model import PbxState, Queue
from connector.events import (
    AgentCalled,
    AgentConnected,
    AnyEvent,
    CallerJoined,
    CallOutcome,
    Change,
    Event,
    MemberChanged,
    MemberRemoved,
    Outcome,
    TalkEnded,
)
from connector.records import CallHandedOver


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an event concerns: an interface and whose it is (directory id, or the interface itself)."""

    interface: str
    agent: str


class CallerId(msgspec.Struct, frozen=True, kw_only=True):
    """A caller: `id` is the number."""

    id: str
    name: str


class CalledData(msgspec.Struct, frozen=True, kw_only=True):
    """Of agent-called."""

    queue: str
    callerId: CallerId  # noqa: N815


class JoinedData(msgspec.Struct, frozen=True, kw_only=True):
    """Of caller-joined. `queuedCalls`: callers who wait, this one among them."""

    queue: str
    callerId: CallerId  # noqa: N815
    queuedCalls: int  # noqa: N815


class ConnectedData(msgspec.Struct, frozen=True, kw_only=True):
    """Of agent-connected. `queuedCalls`: callers who still wait. `waitTimeInQueue`: seconds."""

    queue: str
    queuedCalls: int  # noqa: N815
    waitTimeInQueue: float  # noqa: N815


class AbandonedData(msgspec.Struct, frozen=True, kw_only=True):
    """Of call-abandoned. `queuedCallAfterAbandon`: callers who still wait."""

    queue: str
    queuedCallAfterAbandon: int  # noqa: N815


class MemberData(msgspec.Struct, frozen=True, kw_only=True):
    """Of queue-member-added and queue-member-removed. `queuedCalls`: callers who wait."""

    queue: str
    queuedCalls: int  # noqa: N815


class HangupData(msgspec.Struct, frozen=True, kw_only=True):
    """Of call.hangup: the agent's current call ended. `roomId` is the uniqueid of the caller's channel."""

    queue: str
    roomId: str  # noqa: N815


class HandedOverData(msgspec.Struct, frozen=True, kw_only=True):
    """Of call-handed-over. `target` as in the profile, for example queue:support; `roomId`: the caller's uniqueid."""

    callerId: CallerId  # noqa: N815
    roomId: str  # noqa: N815
    profile: str
    target: str
    reason: str
    summary: str
    headers: dict[str, str]


class Happening(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all have in common.

    Attributes:
        id: Unique; the same in every delivery of it.
        at: When, seconds since the epoch.
        pbx: Where.
        uniqueid: Of the caller's channel; empty where there is none.
        recipients: The members of the queue whom it concerns.
    """

    id: str
    at: float
    pbx: str
    queue: str
    uniqueid: str
    recipients: tuple[Recipient, ...]


class AgentCalledHappening(Happening, frozen=True, kw_only=True, tag="agent-called"):
    """A member's phone rings for a caller. Concerns that member."""

    data: CalledData


class CallerJoinedHappening(Happening, frozen=True, kw_only=True, tag="caller-joined"):
    """A caller waits. Concerns every member of the queue."""

    data: JoinedData


class AgentConnectedHappening(Happening, frozen=True, kw_only=True, tag="agent-connected"):
    """A member answered. Concerns every member of the queue."""

    data: ConnectedData


class CallAbandonedHappening(Happening, frozen=True, kw_only=True, tag="call-abandoned"):
    """A caller hung up while waiting. Concerns every member of the queue."""

    data: AbandonedData


class MemberAddedHappening(Happening, frozen=True, kw_only=True, tag="queue-member-added"):
    """A member came to a queue. Concerns that member."""

    data: MemberData


class MemberRemovedHappening(Happening, frozen=True, kw_only=True, tag="queue-member-removed"):
    """A member left a queue. Concerns that member."""

    data: MemberData


class CallHangupHappening(Happening, frozen=True, kw_only=True, tag="call.hangup"):
    """A member's conversation ended. Concerns that member."""

    data: HangupData


class CallHandedOverHappening(Happening, frozen=True, kw_only=True, tag="call-handed-over"):
    """A bot has sent its caller elsewhere. Concerns every member of the queue, where it is one."""

    data: HandedOverData


AnyHappening = (
    AgentCalledHappening
    | CallerJoinedHappening
    | AgentConnectedHappening
    | CallAbandonedHappening
    | MemberAddedHappening
    | MemberRemovedHappening
    | CallHangupHappening
    | CallHandedOverHappening
)

KINDS: dict[str, type[Happening]] = {str(kind.__struct_config__.tag): kind for kind in AnyHappening.__args__}
"""By name of the event."""


TOLD = (CallHandedOver, AgentCalled, CallerJoined, AgentConnected, CallOutcome, MemberChanged, MemberRemoved, TalkEnded)
"""What of the bus they are made from."""


class Happenings:
    """Makes them from what the bus carries; to be called after the state was changed, with every item in order.

    Args:
        states: The live states by PBX.
        tell: Gets each.
    """

    def __init__(
        self,
        *,
        states: Callable[[], Mapping[str, PbxState]],
        tell: Callable[[AnyHappening], None],
    ) -> None:
        self._states = states
        self._tell = tell

    def on_item(self, item: AnyEvent | Change | Event) -> None:
        """Takes one item of the bus."""
        match item:
            case AgentCalled():
                to = self._one(item.pbx, item.interface)
                data = CalledData(queue=item.queue, callerId=self._caller(item.pbx, item.queue, item.uniqueid))
                common = self._common(item, item.queue, item.uniqueid, item.interface)
                self._tell(AgentCalledHappening(**common, recipients=to, data=data))
            case CallerJoined():
                caller = CallerId(id=item.caller.number, name=item.caller.name)
                joined = JoinedData(queue=item.queue, callerId=caller, queuedCalls=self._waiting(item.pbx, item.queue))
                to = self._members(item.pbx, item.queue)
                common = self._common(item, item.queue, item.caller.uniqueid)
                self._tell(CallerJoinedHappening(**common, recipients=to, data=joined))
            case AgentConnected():
                self._connected(item)
            case CallOutcome(outcome=Outcome.ABANDONED):
                left = AbandonedData(queue=item.queue, queuedCallAfterAbandon=self._waiting(item.pbx, item.queue))
                to = self._members(item.pbx, item.queue)
                common = self._common(item, item.queue, item.uniqueid)
                self._tell(CallAbandonedHappening(**common, recipients=to, data=left))
            case MemberChanged(kind="added"):
                self._member(MemberAddedHappening, item, item.queue, item.member.interface)
            case MemberRemoved():
                self._member(MemberRemovedHappening, item, item.queue, item.interface)
            case CallHandedOver():
                self._handed_over(item)
            case TalkEnded():
                ended = HangupData(queue=item.queue, roomId=item.uniqueid)
                to = self._agent(item.pbx, item.queue, item.agent)
                common = self._common(item, item.queue, item.uniqueid, item.agent)
                self._tell(CallHangupHappening(**common, recipients=to, data=ended))

    def _handed_over(self, item: CallHandedOver) -> None:
        kind, _, value = item.target.partition(":")
        queue = value if kind == "queue" else ""
        data = HandedOverData(
            callerId=CallerId(id=item.number, name=item.name),
            roomId=item.uniqueid,
            profile=item.profile,
            target=item.target,
            reason=item.reason,
            summary=item.summary,
            headers=item.headers,
        )
        to = self._members(item.pbx, queue)
        self._tell(CallHandedOverHappening(**self._common(item, queue, item.uniqueid), recipients=to, data=data))

    def _connected(self, item: AgentConnected) -> None:
        data = ConnectedData(
            queue=item.queue, queuedCalls=self._waiting(item.pbx, item.queue), waitTimeInQueue=item.hold_s
        )
        to = self._members(item.pbx, item.queue)
        self._tell(AgentConnectedHappening(**self._common(item, item.queue, item.uniqueid), recipients=to, data=data))

    def _member(
        self,
        kind: type[MemberAddedHappening] | type[MemberRemovedHappening],
        item: Event,
        queue: str,
        interface: str,
    ) -> None:
        data = MemberData(queue=queue, queuedCalls=self._waiting(item.pbx, queue))
        to = self._one(item.pbx, interface)
        self._tell(kind(**self._common(item, queue, "", interface), recipients=to, data=data))

    # -- parts ----------------------------------------------------------------------------------------------------

    def _common(self, item: Event, queue: str, uniqueid: str, interface: str = "") -> dict[str, Any]:
        parts = (type(item).__name__, item.pbx, repr(item.at), queue, uniqueid, interface)
        unique = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]
        return {"id": unique, "at": item.at, "pbx": item.pbx, "queue": queue, "uniqueid": uniqueid}

    def _queue(self, pbx: str, queue: str) -> Queue | None:
        state = self._states().get(pbx)
        return None if state is None else state.queues.get(queue)

    def _waiting(self, pbx: str, queue: str) -> int:
        found = self._queue(pbx, queue)
        return 0 if found is None else len(found.waiting)

    def _caller(self, pbx: str, queue: str, uniqueid: str) -> CallerId:
        found = self._queue(pbx, queue)
        stay = None if found is None else found.waiting.get(uniqueid)
        return CallerId(id="", name="") if stay is None else CallerId(id=stay.caller.number, name=stay.caller.name)

    def _members(self, pbx: str, queue: str) -> tuple[Recipient, ...]:
        found = self._queue(pbx, queue)
        if found is None:
            return ()
        who = self._states()[pbx].directory.agent_id
        return tuple(Recipient(interface=name, agent=who(member)) for name, member in sorted(found.members.items()))

    def _one(self, pbx: str, interface: str) -> tuple[Recipient, ...]:
        agent, state = interface, self._states().get(pbx)
        if state is not None:
            owner = state.directory.owner(interface)
            agent = owner.id if owner else state.agent_of.get(device_of(interface), interface)
        return (Recipient(interface=interface, agent=agent),)

    def _agent(self, pbx: str, queue: str, agent: str) -> tuple[Recipient, ...]:
        return tuple(to for to in self._members(pbx, queue) if to.agent == agent)
