"""A caller's stay changes: from waiting to leaving, from leaving to an outcome."""

from __future__ import annotations

from connector.acd import outcome as rules
from connector.acd.agents import refresh
from connector.acd.history import attach, finish, note
from connector.acd.model import PbxState, Stay, Visit
from connector.events import CallOutcome, Outcome
from connector.records import Derived

LEAVING_MAX = 10_000
"""Callers whose outcome may be open at a time; beyond it the oldest is decided as unknown."""

LEAVING_MAX_S = 3600.0
"""How long an outcome may stay open. Longer than any subroutine that runs between QueueCallerLeave and
AgentConnect; reached only where the channel's end is not told (AMI class `call` missing)."""


def leave(state: PbxState, stay: Stay, at: float, changes: list[Derived]) -> None:
    """Ends the waiting; the outcome stays open. Those behind move up by it. A no-op for one who has left."""
    if stay.ended_at is not None:
        return
    uniqueid = stay.caller.uniqueid
    if (open_exit := state.leaving.get(uniqueid)) is not None:
        decide(state, open_exit, rules.at_rejoin(open_exit), changes)
    stay.ended_at = at
    waiting = state.queues[stay.queue].waiting
    stay.visit.left_from = list(waiting).index(uniqueid) + 1
    del waiting[uniqueid]
    del state.where[uniqueid]
    state.leaving[uniqueid] = stay
    _stop_ringing(state, stay, at, changes)
    expire(state, at, changes)


def expire(state: PbxState, now: float, changes: list[Derived]) -> None:
    """Decides as unknown what has been open for too long, or is too much."""
    while state.leaving:
        oldest = next(iter(state.leaving.values()))
        ended_at = oldest.ended_at if oldest.ended_at is not None else now
        if len(state.leaving) <= LEAVING_MAX and now - ended_at <= LEAVING_MAX_S:
            return
        decide(state, oldest, Outcome.UNKNOWN, changes)


def decide(state: PbxState, stay: Stay, outcome: Outcome, changes: list[Derived]) -> None:
    """Counts the outcome of a stay that has left, and tells it."""
    del state.leaving[stay.caller.uniqueid]
    ended_at = stay.ended_at if stay.ended_at is not None else stay.caller.joined_at
    count(state, stay.queue, outcome)
    visit = stay.visit
    visit.ended_at, visit.outcome = ended_at, outcome
    if outcome is not Outcome.ANSWERED:
        note(visit.call, ended_at, "left", outcome.value)
    changes.append(
        CallOutcome(
            pbx=state.pbx,
            at=ended_at,
            queue=stay.queue,
            uniqueid=stay.caller.uniqueid,
            outcome=outcome,
            wait_s=max(0.0, round(ended_at - stay.caller.joined_at, 6)),
            agent=visit.agent,
        )
    )
    finish(state, visit.call, changes)


def refuse(state: PbxState, uniqueid: str, outcome: Outcome, at: float, changes: list[Derived]) -> None:
    """Counts a caller whom a queue did not take. The queue is the one that the dialplan named, or the empty name."""
    queue = ""
    track = state.legs.get(uniqueid)
    if track is not None:
        if track.refused_at == at:
            return
        track.refused_at = at
        queue = track.entering
    count(state, queue, outcome)
    visit = Visit(queue, uniqueid, at, ended_at=at, outcome=outcome)
    attach(state, visit)
    note(visit.call, at, "left", outcome.value)
    changes.append(CallOutcome(pbx=state.pbx, at=at, queue=queue, uniqueid=uniqueid, outcome=outcome, wait_s=0.0))


def explain(state: PbxState, queue: str, key: str) -> None:
    """An event about a caller, member or leg explains its difference to the last snapshot."""
    if state.suspects:
        state.suspects = {s for s in state.suspects if s[1] != queue or s[2] != key}


def _stop_ringing(state: PbxState, stay: Stay, at: float, changes: list[Derived]) -> None:
    for agent_id in stay.ringing:
        agent = state.agents.get(agent_id)
        if agent is not None and agent.ringing.pop(stay.caller.uniqueid, stay) is None:
            refresh(state, agent, at, changes)
    stay.ringing = {}


def count(state: PbxState, queue: str, outcome: Outcome) -> None:
    """Counts an outcome for the metrics."""
    counts = state.outcomes.setdefault(queue, {})
    counts[outcome] = counts.get(outcome, 0) + 1
