"""A call's history: what happened in it, and its record once nothing in it is open."""

from __future__ import annotations

from connector.acd.model import TIMELINE_MAX, VISITS_MAX, Call, PbxState, Visit
from connector.events import Outcome
from connector.records import CallRecord, Derived, QueueVisit, TimelineEntry

ENDING_MAX = 10_000
"""Calls that wait for the end of a wrap-up; beyond it the oldest record goes out as it stands."""


def note(call: Call | None, at: float, what: str, detail: str = "") -> None:
    """Adds to a call's timeline; the same thing once more changes nothing."""
    if call is None or len(call.timeline) >= TIMELINE_MAX:
        return
    entry = TimelineEntry(at=at, what=what, detail=detail)
    if entry not in call.timeline[-4:]:
        call.timeline.append(entry)


def call_of(state: PbxState, uniqueid: str) -> Call | None:
    """The living call that a channel belongs to."""
    track = state.legs.get(uniqueid)
    return None if track is None else state.calls.get(track.leg.linkedid)


def linkedid_of(state: PbxState, uniqueid: str) -> str | None:
    """Under which linkedid the record of a channel's call will be given out; None where there will be none."""
    call = call_of(state, uniqueid)
    if call is None:
        call = next((c for c in state.ending.values() if any(v.uniqueid == uniqueid for v in c.visits)), None)
    return None if call is None else call.linkedid


def attach(state: PbxState, visit: Visit) -> None:
    """Puts a visit to the call of its channel, if that is known."""
    call = call_of(state, visit.uniqueid)
    if visit.call is None and call is not None and len(call.visits) < VISITS_MAX:
        visit.call = call
        call.visits.append(visit)


def merge(call: Call, into: Call) -> None:
    """A call whose legs went on in another is a part of that."""
    into.started_at = min(into.started_at, call.started_at)
    into.legs_total += call.legs_total
    if into.answered_at is None or (call.answered_at is not None and call.answered_at < into.answered_at):
        into.answered_at = call.answered_at
    for visit in call.visits:
        visit.call = into
    into.visits = sorted((*into.visits, *call.visits), key=lambda visit: visit.joined_at)[:VISITS_MAX]
    timeline = sorted((*into.timeline, *call.timeline), key=lambda entry: entry.at)
    into.timeline = timeline[:TIMELINE_MAX]


def finish(state: PbxState, call: Call | None, changes: list[Derived]) -> None:
    """Gives out the record of a call that is over, unless something of it is open."""
    if call is None or call.ended_at is None or call.told:
        return
    if any(visit.outcome is None or visit.talking or visit.wraps for visit in call.visits):
        state.ending[call.linkedid] = call
        if len(state.ending) <= ENDING_MAX:
            return
        call = next(iter(state.ending.values()))
    state.ending.pop(call.linkedid, None)
    call.told = True
    changes.append(_record(state.pbx, call))


def _record(pbx: str, call: Call) -> CallRecord:
    return CallRecord(
        pbx=pbx,
        at=call.ended_at if call.ended_at is not None else call.started_at,
        linkedid=call.linkedid,
        started_at=call.started_at,
        direction=call.direction,
        number=call.number,
        name=call.name,
        dialled=call.dialled,
        answered_at=call.answered_at,
        visits=tuple(_visit(visit) for visit in call.visits),
        timeline=tuple(call.timeline),
        legs=call.legs_total,
    )


def _visit(visit: Visit) -> QueueVisit:
    ended_at = visit.ended_at if visit.ended_at is not None else visit.joined_at
    talk_s = 0.0
    if visit.connected_at is not None and visit.completed_at is not None:
        talk_s = max(0.0, round(visit.completed_at - visit.connected_at, 6))
    return QueueVisit(
        queue=visit.queue,
        uniqueid=visit.uniqueid,
        joined_at=visit.joined_at,
        ended_at=ended_at,
        outcome=visit.outcome or Outcome.UNKNOWN,
        position=visit.position,
        wait_s=max(0.0, round(ended_at - visit.joined_at, 6)),
        agent=visit.agent,
        ring_s=visit.ring_s,
        talk_s=talk_s,
        hold_s=round(visit.hold_s, 6),
        wrap_up_s=visit.wrap_up_s,
        rang_in_vain=visit.rang_in_vain,
        transferred=visit.transferred,
    )
