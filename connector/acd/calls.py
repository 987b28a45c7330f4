"""Legs and the calls they make up. A call is the legs that share a linkedid; a bridge can give a leg another one."""

from __future__ import annotations

import msgspec

from connector.acd.agents import leg_gone, own_leg, refresh
from connector.acd.directory import device_of_channel
from connector.acd.history import attach, finish, merge, note
from connector.acd.lines import registers
from connector.acd.model import Call, PbxState, Track
from connector.acd.resync import forget_lost, settle
from connector.acd.stays import explain
from connector.acd.visits import caller_gone
from connector.events import CallEnded, CallStarted, Leg, LegChanged, LegEnded, LegsSnapshot, LegStarted
from connector.records import Derived, Direction


def leg_started(state: PbxState, event: LegStarted, changes: list[Derived]) -> None:
    """Adds a leg; a no-op for one that a snapshot has listed already."""
    leg = event.leg
    explain(state, "", leg.uniqueid)
    if leg.uniqueid not in state.legs:
        _add(state, leg, event.at, changes)


def leg_changed(state: PbxState, event: LegChanged, changes: list[Derived]) -> None:
    """Takes over the state and the linkedid of a known leg."""
    track = state.legs.get(event.uniqueid)
    if track is None:
        return
    leg = track.leg
    if leg.state != event.state or leg.linkedid != event.linkedid:
        _replace(
            state, track, msgspec.structs.replace(leg, state=event.state, linkedid=event.linkedid), event.at, changes
        )


def leg_ended(state: PbxState, event: LegEnded, changes: list[Derived]) -> None:
    """Removes a leg, and its call if it was the last."""
    explain(state, "", event.uniqueid)
    _remove(state, event.uniqueid, event.at, changes)


def legs_snapshot(state: PbxState, event: LegsSnapshot, changes: list[Derived]) -> None:
    """Applies all channels as CoreShowChannels listed them; see `acd.resync` for drift."""
    check = state.legs_current
    settle(state, "leg_", count=check)
    listed = {leg.uniqueid: leg for leg in event.legs}
    gone = [uniqueid for uniqueid in state.legs if uniqueid not in listed]
    if check:
        state.suspects.update(("leg_ghost", "", uniqueid) for uniqueid in gone)
        state.suspects.update(("leg_missing", "", uniqueid) for uniqueid in listed.keys() - state.legs.keys())
    # New legs first: a call whose legs were all exchanged in a gap goes on.
    for leg in event.legs:
        track = state.legs.get(leg.uniqueid)
        if track is None:
            _add(state, leg, leg.started_at, changes)
        else:
            merged = msgspec.structs.replace(leg, started_at=track.leg.started_at)
            _replace(state, track, merged, event.at, changes)
    for uniqueid in gone:
        _remove(state, uniqueid, event.at, changes)
    state.legs_current = True
    if not check and state.queues_current:
        forget_lost(state, changes)


def _add(state: PbxState, leg: Leg, at: float, changes: list[Derived]) -> None:
    track = state.legs[leg.uniqueid] = Track(leg)
    agent = own_leg(state, track)
    call = _attach(state, leg, at, changes)
    call.legs_total += 1
    ours = agent is not None or registers(state, device_of_channel(leg.channel))
    if call.legs_total == 1:
        _begin(call, leg, ours)
    elif ours and call.direction is Direction.OUTBOUND and call.dialled:
        call.direction = Direction.INTERNAL
    stay = state.waiting(leg.uniqueid)
    visit = stay.visit if stay is not None else state.talks.get(leg.uniqueid)
    if visit is not None:  # a snapshot of the queues told of it first
        attach(state, visit)
    if agent is not None:
        refresh(state, agent, at, changes)


def _begin(call: Call, leg: Leg, ours: bool) -> None:
    """What the first leg tells. A leg that begins ringing has called in; one that begins down is called by Asterisk.

    A phone of the house is one that somebody of the directory has, that is a member of a queue, or that is registered
    here. All else that calls in is a trunk.
    """
    call.number, call.name, call.dialled = leg.number, leg.name, leg.exten
    if leg.channel.startswith("Local/"):
        return
    if leg.state == "down":
        call.direction, call.dialled = Direction.OUTBOUND, ""
    elif ours:
        call.direction, call.number, call.name = Direction.OUTBOUND, leg.exten, ""
    else:
        call.direction = Direction.INBOUND


def _attach(state: PbxState, leg: Leg, at: float, changes: list[Derived]) -> Call:
    call = state.calls.get(leg.linkedid)
    if call is None:
        call = state.ending.pop(leg.linkedid) if leg.linkedid in state.ending else Call(leg.linkedid, at)
        call.ended_at = None
        state.calls[leg.linkedid] = call
        changes.append(CallStarted(pbx=state.pbx, at=at, linkedid=leg.linkedid))
    call.legs[leg.uniqueid] = None
    return call


def _detach(state: PbxState, leg: Leg, at: float, changes: list[Derived]) -> None:
    call = state.calls[leg.linkedid]
    del call.legs[leg.uniqueid]
    if call.legs:
        return
    del state.calls[leg.linkedid]
    into = _goes_on_in(state, call)
    merged_into = into.linkedid if into is not None else ""
    changes.append(CallEnded(pbx=state.pbx, at=at, linkedid=leg.linkedid, merged_into=merged_into))
    if into is not None:
        merge(call, into)
    else:
        call.ended_at = at
        finish(state, call, changes)


def _goes_on_in(state: PbxState, call: Call) -> Call | None:
    return state.calls.get(call.merged_into) or state.ending.get(call.merged_into)


def _replace(state: PbxState, track: Track, leg: Leg, at: float, changes: list[Derived]) -> None:
    old = track.leg
    track.leg = leg
    if old.linkedid != leg.linkedid:
        into = _attach(state, leg, at, changes)
        from_call = state.calls[old.linkedid]
        from_call.merged_into = leg.linkedid
        note(into, at, "merged", old.linkedid)
        _detach(state, old, at, changes)
    agent = state.agents.get(track.agent)
    if agent is not None:
        refresh(state, agent, at, changes)


def _remove(state: PbxState, uniqueid: str, at: float, changes: list[Derived]) -> None:
    track = state.legs.pop(uniqueid, None)
    if track is not None:
        leg_gone(state, track, at, changes)
        caller_gone(state, uniqueid, at, changes)
        _detach(state, track.leg, at, changes)
