"""Events change the state: no I/O, no clock, the same events give the same state.

Asterisk numbers nothing, and a snapshot can be ahead of the events that follow it: a join may arrive of a caller
who is listed already, and a leave of one who is not. So each event is applied by queue and uniqueid, and applying it
twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connector.acd import outcome as rules
from connector.acd.calls import leg_changed, leg_ended, leg_started, legs_snapshot
from connector.acd.model import Link, PbxState, Stay
from connector.acd.resync import queues_snapshot
from connector.acd.stays import decide, explain, leave, refuse
from connector.events import (
    AgentCalled,
    AgentCompleted,
    AgentConnected,
    AgentRangNoAnswer,
    AnyEvent,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    Change,
    DialplanStep,
    EventsMissed,
    HangupRequested,
    LegChanged,
    LegEnded,
    LegsSnapshot,
    LegStarted,
    LinkChanged,
    LinkState,
    MemberChanged,
    MemberRemoved,
    Outcome,
    QueuesSnapshot,
    QueueStatusSet,
)


def apply(state: PbxState, event: AnyEvent) -> list[Change]:
    """Folds one event into the state of its PBX.

    Args:
        state: Changed in place.
        event: Of the same PBX.

    Returns:
        What follows from it, in order; usually nothing.
    """
    changes: list[Change] = []
    HANDLERS[type(event)](state, event, changes)
    return changes


def _joined(state: PbxState, event: CallerJoined, changes: list[Change]) -> None:
    caller = event.caller
    uniqueid = caller.uniqueid
    explain(state, event.queue, uniqueid)
    stay = state.waiting(uniqueid)
    known = stay is not None and stay.queue == event.queue
    if stay is not None and not known:  # its leave was missed
        leave(state, stay, event.at, changes)
        stay.lost = True
    open_exit = state.leaving.get(uniqueid)
    if open_exit is not None:
        decide(state, open_exit, rules.at_rejoin(open_exit), changes)
    if stay is not None and known:
        stay.location = stay.location or event.location
        return
    stay = Stay(event.queue, caller, event.location)
    queue = state.queue(event.queue)
    state.where[uniqueid] = event.queue
    if caller.position > len(queue.waiting):
        queue.waiting[uniqueid] = stay
    else:  # a priority puts it before others
        stays = list(queue.waiting.items())
        stays.insert(caller.position - 1, (uniqueid, stay))
        queue.waiting = dict(stays)


def _left(state: PbxState, event: CallerLeft, changes: list[Change]) -> None:
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    _told(stay, event.at, event.location)
    leave(state, stay, event.at, changes)
    _judge(state, stay, rules.at_step(stay, event.location), changes)


def _abandoned(state: PbxState, event: CallerAbandoned, changes: list[Change]) -> None:
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    track = state.legs.get(event.uniqueid)
    _told(stay, event.at, event.location)
    stay.abandoned = True
    leave(state, stay, event.at, changes)
    requested = track is not None and track.hangup_requested
    _judge(state, stay, rules.at_abandon(stay, event.location, requested), changes)


def _status_set(state: PbxState, event: QueueStatusSet, changes: list[Change]) -> None:
    refusal = rules.REFUSED_BY_STATUS.get(event.status)
    if refusal is not None:
        refuse(state, event.uniqueid, refusal, event.at, changes)
        return
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        _judge(state, stay, rules.ENDED_BY_STATUS.get(event.status), changes)


def _step(state: PbxState, event: DialplanStep, changes: list[Change]) -> None:
    track = state.legs.get(event.uniqueid)
    if track is not None:
        track.entering = event.queue
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        _judge(state, stay, rules.at_step(stay, event.location), changes)


def _answered(state: PbxState, event: AgentConnected | AgentCompleted, changes: list[Change]) -> None:
    """AgentConnect; or AgentComplete, where the connect fell into a gap."""
    _in_call(state, event.queue, event.interface, isinstance(event, AgentConnected))
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    ended_at = event.at if isinstance(event, AgentConnected) else stay.caller.joined_at + event.hold_s
    leave(state, stay, ended_at, changes)
    stay.ended_at = ended_at
    decide(state, stay, Outcome.ANSWERED, changes)


def _member_changed(state: PbxState, event: MemberChanged, changes: list[Change]) -> None:
    member = event.member
    explain(state, event.queue, member.interface)
    members = state.queue(event.queue).members
    known = members.get(member.interface)
    if known is not None and known.in_call and known.calls_taken == member.calls_taken:
        # Asterisk raises its flag a moment after it has sent AgentConnect, and lowers it with the count of calls.
        member = msgspec.structs.replace(member, in_call=True)
    members[member.interface] = member


def _member_removed(state: PbxState, event: MemberRemoved, changes: list[Change]) -> None:
    explain(state, event.queue, event.interface)
    queue = state.queues.get(event.queue)
    if queue is not None:
        queue.members.pop(event.interface, None)


def _in_call(state: PbxState, queue: str, interface: str, in_call: bool) -> None:
    """Sets the flag for which there is often no event: QueueMemberStatus of the same call may have come before it."""
    members = state.queues[queue].members if queue in state.queues else {}
    if (member := members.get(interface)) is not None:
        members[interface] = msgspec.structs.replace(member, in_call=in_call)


def _hangup_requested(state: PbxState, event: HangupRequested, changes: list[Change]) -> None:
    track = state.legs.get(event.uniqueid)
    if track is not None:
        track.hangup_requested = True


def _leg_ended(state: PbxState, event: LegEnded, changes: list[Change]) -> None:
    stay = state.waiting(event.uniqueid)
    if stay is not None:  # its leave was missed
        leave(state, stay, event.at, changes)
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        decide(state, stay, rules.at_end(stay, event.location), changes)
    leg_ended(state, event, changes)


def _link_changed(state: PbxState, event: LinkChanged, changes: list[Change]) -> None:
    link = state.links.get(event.link)
    if link is None:
        link = state.links[event.link] = Link(event.state, event.at)
    elif link.state != event.state:
        link.state = event.state
        link.since = event.at
        if event.gap_s > 0:
            link.gaps += 1
            link.gap_s += event.gap_s
    link.detail = event.detail
    if event.link == "ami" and event.state is not LinkState.UP:
        _stale(state)


def _missed(state: PbxState, event: EventsMissed, changes: list[Change]) -> None:
    _stale(state)


def _stale(state: PbxState) -> None:
    state.queues_current = False
    state.legs_current = False


def _nothing(state: PbxState, event: AgentCalled | AgentRangNoAnswer, changes: list[Change]) -> None:
    """Changes no state yet; whoever counts it takes it from the bus."""


def _stay(state: PbxState, queue: str, uniqueid: str) -> Stay | None:
    """The caller's stay in that queue, waiting or with its outcome open."""
    if state.suspects:
        explain(state, queue, uniqueid)
    for stay in (state.waiting(uniqueid), state.leaving.get(uniqueid)):
        if stay is not None and stay.queue == queue:
            return stay
    return None


def _told(stay: Stay, at: float, location: str) -> None:
    """Asterisk's own word about a leave, which may follow a snapshot that showed it already."""
    stay.location = stay.location or location
    if stay.lost:
        stay.lost = False
        stay.ended_at = at


def _judge(state: PbxState, stay: Stay, verdict: Outcome | None, changes: list[Change]) -> None:
    if verdict is not None:
        decide(state, stay, verdict, changes)


HANDLERS: dict[type, Callable[[PbxState, Any, list[Change]], None]] = {
    QueuesSnapshot: queues_snapshot,
    CallerJoined: _joined,
    CallerLeft: _left,
    CallerAbandoned: _abandoned,
    DialplanStep: _step,
    QueueStatusSet: _status_set,
    AgentCalled: _nothing,
    AgentConnected: _answered,
    AgentCompleted: _answered,
    AgentRangNoAnswer: _nothing,
    MemberChanged: _member_changed,
    MemberRemoved: _member_removed,
    LegsSnapshot: legs_snapshot,
    LegStarted: leg_started,
    LegChanged: leg_changed,
    HangupRequested: _hangup_requested,
    LegEnded: _leg_ended,
    LinkChanged: _link_changed,
    EventsMissed: _missed,
}
"""By event; a test holds that none is missing."""
