"""Events change the state: no I/O, no clock, the same events give the same state.

Asterisk numbers nothing, and a snapshot can be ahead of the events that follow it: a join may arrive of a caller
who is listed already, and a leave of one who is not. So each event is applied by queue and uniqueid, and applying it
twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connector.acd import agents, outcome as rules, visits
from connector.acd.calls import leg_changed, leg_ended, leg_started, legs_snapshot
from connector.acd.clock import due
from connector.acd.directory import Directory
from connector.acd.lines import (
    contact_changed,
    contacts_snapshot,
    endpoints_snapshot,
    pbx_changed,
    peer_changed,
    trunk_changed,
    trunks_snapshot,
)
from connector.acd.model import Link, PbxState, Stay
from connector.acd.resync import queues_snapshot, same_pause
from connector.acd.stays import decide, explain, leave, refuse
from connector.events import (
    AgentCalled,
    AgentCompleted,
    AgentConnected,
    AgentDumped,
    AgentRangNoAnswer,
    AnyEvent,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    ContactChanged,
    ContactsSnapshot,
    DialEnded,
    DialplanStep,
    DirectoryChanged,
    EndpointsSnapshot,
    EventsMissed,
    HangupRequested,
    LegChanged,
    LegEnded,
    LegHeld,
    LegMoved,
    LegsSnapshot,
    LegStarted,
    LinkChanged,
    LinkState,
    ListenAsked,
    MemberChanged,
    MemberRemoved,
    Outcome,
    PbxChanged,
    PeerChanged,
    QueuesSnapshot,
    QueueStatusSet,
    SpyChanged,
    Transferred,
    TrunkChanged,
    TrunksSnapshot,
)
from connector.records import Derived


def apply(state: PbxState, event: AnyEvent) -> list[Derived]:
    """Folds one event into the state of its PBX.

    Args:
        state: Changed in place.
        event: Of the same PBX.

    Returns:
        What follows from it, in order; usually nothing.
    """
    changes: list[Derived] = []
    if state.deadlines and state.deadlines[0][0] <= event.at:
        changes += tick(state, event.at)
    HANDLERS[type(event)](state, event, changes)
    return changes


def tick(state: PbxState, now: float) -> list[Derived]:
    """Lets time pass without an event, such as the end of a wrap-up.

    Args:
        state: Changed in place.
        now: Seconds since the epoch. What is found due counts from when it was due, so how often this is called
            changes only how soon it is told.

    Returns:
        What follows.
    """
    changes: list[Derived] = []
    while (deadline := due(state, now)) is not None:
        _, kind, key = deadline
        (agents.wrap_up_due if kind == "wrap_up" else visits.talk_due)(state, key, now, changes)
    return changes


def _joined(state: PbxState, event: CallerJoined, changes: list[Derived]) -> None:
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
    talk = state.talks.get(uniqueid)
    if talk is not None:
        visits.end_talk(state, talk, event.at, False, changes)
    stay = visits.new_stay(state, event.queue, caller, event.location)
    queue = state.queue(event.queue)
    state.where[uniqueid] = event.queue
    if caller.position > len(queue.waiting):
        queue.waiting[uniqueid] = stay
    else:  # a priority puts it before others
        stays = list(queue.waiting.items())
        stays.insert(caller.position - 1, (uniqueid, stay))
        queue.waiting = dict(stays)


def _left(state: PbxState, event: CallerLeft, changes: list[Derived]) -> None:
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    _told(stay, event.at, event.location)
    leave(state, stay, event.at, changes)
    _judge(state, stay, rules.at_step(stay, event.location), changes)


def _abandoned(state: PbxState, event: CallerAbandoned, changes: list[Derived]) -> None:
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    track = state.legs.get(event.uniqueid)
    _told(stay, event.at, event.location)
    stay.abandoned = True
    leave(state, stay, event.at, changes)
    requested = track is not None and track.hangup_requested
    _judge(state, stay, rules.at_abandon(stay, event.location, requested), changes)


def _status_set(state: PbxState, event: QueueStatusSet, changes: list[Derived]) -> None:
    refusal = rules.REFUSED_BY_STATUS.get(event.status)
    if refusal is not None:
        refuse(state, event.uniqueid, refusal, event.at, changes)
        return
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        _judge(state, stay, rules.ENDED_BY_STATUS.get(event.status), changes)


def _step(state: PbxState, event: DialplanStep, changes: list[Derived]) -> None:
    track = state.legs.get(event.uniqueid)
    if track is not None:
        track.entering = event.queue
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        _judge(state, stay, rules.at_step(stay, event.location), changes)


def _connected(state: PbxState, event: AgentConnected, changes: list[Derived]) -> None:
    _in_call(state, event.queue, event.interface, True)
    _answered(state, event, event.at, changes)


def _completed(state: PbxState, event: AgentCompleted, changes: list[Derived]) -> None:
    _in_call(state, event.queue, event.interface, False)
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is not None:  # the connect fell into a gap
        _answered(state, event, stay.caller.joined_at + event.hold_s, changes)
    visits.completed(state, event, changes)


def _answered(state: PbxState, event: AgentConnected | AgentCompleted, at: float, changes: list[Derived]) -> None:
    stay = _stay(state, event.queue, event.uniqueid)
    if stay is None:
        return
    leave(state, stay, at, changes)
    stay.ended_at = at
    visits.connected(state, stay.visit, event, at, changes)
    decide(state, stay, Outcome.ANSWERED, changes)


def _member_changed(state: PbxState, event: MemberChanged, changes: list[Derived]) -> None:
    member = event.member
    explain(state, event.queue, member.interface)
    members = state.queue(event.queue).members
    known = members.get(member.interface)
    if known is not None and known.in_call and known.calls_taken == member.calls_taken:
        # Asterisk raises its flag a moment after it has sent AgentConnect, and lowers it with the count of calls.
        member = msgspec.structs.replace(member, in_call=True)
    if event.kind != "pause":
        member = same_pause(known, member)
    members[member.interface] = member
    agents.member_set(state, event.queue, known, member, event.at, changes)


def _member_removed(state: PbxState, event: MemberRemoved, changes: list[Derived]) -> None:
    explain(state, event.queue, event.interface)
    queue = state.queues.get(event.queue)
    member = queue.members.pop(event.interface, None) if queue is not None else None
    if member is not None:
        agents.member_gone(state, event.queue, member, event.at, changes)


def _directory_changed(state: PbxState, event: DirectoryChanged, changes: list[Derived]) -> None:
    state.directory = Directory(event.people)
    agents.rebuild(state, event.at, changes)


def _in_call(state: PbxState, queue: str, interface: str, in_call: bool) -> None:
    """Sets the flag for which there is often no event: QueueMemberStatus of the same call may have come before it."""
    members = state.queues[queue].members if queue in state.queues else {}
    if (member := members.get(interface)) is not None:
        members[interface] = msgspec.structs.replace(member, in_call=in_call)


def _hangup_requested(state: PbxState, event: HangupRequested, changes: list[Derived]) -> None:
    track = state.legs.get(event.uniqueid)
    if track is not None:
        track.hangup_requested = True


def _leg_ended(state: PbxState, event: LegEnded, changes: list[Derived]) -> None:
    stay = state.waiting(event.uniqueid)
    if stay is not None:  # its leave was missed
        leave(state, stay, event.at, changes)
    stay = state.leaving.get(event.uniqueid)
    if stay is not None:
        decide(state, stay, rules.at_end(stay, event.location), changes)
    leg_ended(state, event, changes)


def _link_changed(state: PbxState, event: LinkChanged, changes: list[Derived]) -> None:
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


def _missed(state: PbxState, event: EventsMissed, changes: list[Derived]) -> None:
    _stale(state)


def _stale(state: PbxState) -> None:
    state.queues_current = False
    state.legs_current = False


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


def _judge(state: PbxState, stay: Stay, verdict: Outcome | None, changes: list[Derived]) -> None:
    if verdict is not None:
        decide(state, stay, verdict, changes)


HANDLERS: dict[type, Callable[[PbxState, Any, list[Derived]], None]] = {
    QueuesSnapshot: queues_snapshot,
    CallerJoined: _joined,
    CallerLeft: _left,
    CallerAbandoned: _abandoned,
    DialplanStep: _step,
    QueueStatusSet: _status_set,
    AgentCalled: visits.called,
    AgentConnected: _connected,
    AgentCompleted: _completed,
    AgentRangNoAnswer: visits.rang_in_vain,
    AgentDumped: visits.rang_in_vain,
    MemberChanged: _member_changed,
    MemberRemoved: _member_removed,
    LegsSnapshot: legs_snapshot,
    LegStarted: leg_started,
    LegChanged: leg_changed,
    HangupRequested: _hangup_requested,
    LegEnded: _leg_ended,
    LegHeld: visits.held,
    LegMoved: visits.moved,
    SpyChanged: lambda _state, _event, _changes: None,  # changes nothing of the call
    ListenAsked: lambda _state, _event, _changes: None,  # nor does this
    Transferred: visits.transferred,
    DialEnded: visits.dial_ended,
    DirectoryChanged: _directory_changed,
    EndpointsSnapshot: endpoints_snapshot,
    ContactsSnapshot: contacts_snapshot,
    ContactChanged: contact_changed,
    PeerChanged: peer_changed,
    TrunkChanged: trunk_changed,
    TrunksSnapshot: trunks_snapshot,
    PbxChanged: pbx_changed,
    LinkChanged: _link_changed,
    EventsMissed: _missed,
}
"""By event; a test holds that none is missing."""
