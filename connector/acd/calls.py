"""Legs and the calls they make up. A call is the legs that share a linkedid; a bridge can give a leg another one."""

from __future__ import annotations

import msgspec

from connector.acd.model import Call, PbxState, Track
from connector.acd.resync import forget_lost, settle
from connector.acd.stays import explain
from connector.events import CallEnded, CallStarted, Change, Leg, LegChanged, LegEnded, LegsSnapshot, LegStarted


def leg_started(state: PbxState, event: LegStarted, changes: list[Change]) -> None:
    """Adds a leg; a no-op for one that a snapshot has listed already."""
    leg = event.leg
    explain(state, "", leg.uniqueid)
    if leg.uniqueid not in state.legs:
        state.legs[leg.uniqueid] = Track(leg)
        _attach(state, leg, event.at, changes)


def leg_changed(state: PbxState, event: LegChanged, changes: list[Change]) -> None:
    """Takes over the state and the linkedid of a known leg."""
    track = state.legs.get(event.uniqueid)
    if track is None:
        return
    leg = track.leg
    if leg.state != event.state or leg.linkedid != event.linkedid:
        _replace(
            state, track, msgspec.structs.replace(leg, state=event.state, linkedid=event.linkedid), event.at, changes
        )


def leg_ended(state: PbxState, event: LegEnded, changes: list[Change]) -> None:
    """Removes a leg, and its call if it was the last."""
    explain(state, "", event.uniqueid)
    _remove(state, event.uniqueid, event.at, changes)


def legs_snapshot(state: PbxState, event: LegsSnapshot, changes: list[Change]) -> None:
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
            state.legs[leg.uniqueid] = Track(leg)
            _attach(state, leg, leg.started_at, changes)
        else:
            merged = msgspec.structs.replace(leg, started_at=track.leg.started_at)
            _replace(state, track, merged, event.at, changes)
    for uniqueid in gone:
        _remove(state, uniqueid, event.at, changes)
    state.legs_current = True
    if not check and state.queues_current:
        forget_lost(state, changes)


def _attach(state: PbxState, leg: Leg, at: float, changes: list[Change]) -> None:
    call = state.calls.get(leg.linkedid)
    if call is None:
        call = state.calls[leg.linkedid] = Call(leg.linkedid, at)
        changes.append(CallStarted(pbx=state.pbx, at=at, linkedid=leg.linkedid))
    call.legs[leg.uniqueid] = None


def _detach(state: PbxState, leg: Leg, at: float, merged_into: str, changes: list[Change]) -> None:
    call = state.calls[leg.linkedid]
    del call.legs[leg.uniqueid]
    if not call.legs:
        del state.calls[leg.linkedid]
        changes.append(CallEnded(pbx=state.pbx, at=at, linkedid=leg.linkedid, merged_into=merged_into))


def _replace(state: PbxState, track: Track, leg: Leg, at: float, changes: list[Change]) -> None:
    old = track.leg
    track.leg = leg
    if old.linkedid != leg.linkedid:
        _attach(state, leg, at, changes)
        _detach(state, old, at, leg.linkedid, changes)


def _remove(state: PbxState, uniqueid: str, at: float, changes: list[Change]) -> None:
    track = state.legs.pop(uniqueid, None)
    if track is not None:
        _detach(state, track.leg, at, "", changes)
