"""The live state as plain values, for pages, files and tests."""

from __future__ import annotations

from typing import Any

import msgspec

from connector.acd.model import Agent, Call, Line, PbxState, Queue, Stay, Visit


def to_jsonable(state: PbxState, now: float) -> dict[str, Any]:
    """The state as plain values, in a form for pages, files and tests.

    Args:
        state: Read, not changed.
        now: Seconds since the epoch, for what is still running.

    Returns:
        Dicts, lists, strings, numbers; the same events give the same value.
    """
    return {
        "pbx": state.pbx,
        "queues": {name: _queue(state, queue, now) for name, queue in state.queues.items()},
        "outcomes": {name: {str(o): n for o, n in counts.items()} for name, counts in state.outcomes.items()},
        "leaving": [_stay(stay) for stay in state.leaving.values()],
        "calls": {call.linkedid: _call(state, call) for call in state.calls.values()},
        "ending": {call.linkedid: _call(state, call) for call in state.ending.values()},
        "agents": agents_to_jsonable(state, now),
        "endpoints": {line.name: _line(line) for line in state.endpoints.values()},
        "trunks": {line.name: _line(line) for line in state.trunks.values()},
        "links": {
            name: {
                "state": str(link.state),
                "since": link.since,
                "detail": link.detail,
                "gaps": link.gaps,
                "gap_s": link.gap_s,
            }
            for name, link in state.links.items()
        },
        "queues_current": state.queues_current,
        "legs_current": state.legs_current,
        "drift": dict(state.drift),
        "unannounced": dict(state.unannounced),
    }


def encode(state: PbxState, now: float) -> bytes:
    """`to_jsonable` as JSON with sorted keys: the same events give the same bytes."""
    return msgspec.json.encode(to_jsonable(state, now), order="sorted")


def _queue(state: PbxState, queue: Queue, now: float) -> dict[str, Any]:
    callers = [
        {**msgspec.to_builtins(caller), "wait_s": max(0.0, round(now - caller.joined_at, 6))}
        for caller in queue.callers()
    ]
    return {
        "params": msgspec.to_builtins(queue.params),
        "members": [msgspec.to_builtins(queue.members[interface]) for interface in sorted(queue.members)],
        "callers": callers,
        "longest_wait_s": max((caller["wait_s"] for caller in callers), default=0.0),
    }


def _stay(stay: Stay) -> dict[str, Any]:
    return {
        "queue": stay.queue,
        "uniqueid": stay.caller.uniqueid,
        "joined_at": stay.caller.joined_at,
        "ended_at": stay.ended_at,
        "abandoned": stay.abandoned,
        "lost": stay.lost,
    }


def _call(state: PbxState, call: Call) -> dict[str, Any]:
    return {
        "started_at": call.started_at,
        "direction": call.direction.value,
        "number": call.number,
        "name": call.name,
        "dialled": call.dialled,
        "answered_at": call.answered_at,
        "legs": [msgspec.to_builtins(state.legs[uniqueid].leg) for uniqueid in call.legs],
        "visits": [_visit(visit) for visit in call.visits],
        "timeline": [msgspec.to_builtins(entry) for entry in call.timeline],
    }


def _visit(visit: Visit) -> dict[str, Any]:
    return {
        "queue": visit.queue,
        "uniqueid": visit.uniqueid,
        "joined_at": visit.joined_at,
        "ended_at": visit.ended_at,
        "outcome": visit.outcome.value if visit.outcome is not None else None,
        "agent": visit.agent,
        "connected_at": visit.connected_at,
        "completed_at": visit.completed_at,
        "held_since": visit.held_since,
        "hold_s": visit.hold_s,
        "rang_in_vain": visit.rang_in_vain,
        "transferred": visit.transferred,
    }


def agents_to_jsonable(state: PbxState, now: float) -> dict[str, dict[str, Any]]:
    """The agents by id. See `to_jsonable`."""
    devices: dict[str, list[str]] = {}
    for device, owner in state.agent_of.items():
        devices.setdefault(owner, []).append(device)
    return {agent.id: _agent(state, agent, sorted(devices.get(agent.id, ())), now) for agent in state.agents.values()}


def _agent(state: PbxState, agent: Agent, interfaces: list[str], now: float) -> dict[str, Any]:
    person = state.directory.people.get(agent.id)
    return {
        "name": agent.name,
        "teams": list(person.teams) if person is not None else [],
        "skills": person.skills if person is not None else "",
        "interfaces": interfaces,
        "queues": sorted({queue for queue, _ in agent.members}),
        "state": agent.state.value,
        "since": agent.since,
        "state_s": max(0.0, round(now - agent.since, 6)),
        "reason": agent.reason,
        "linkedid": agent.linkedid,
        "wrap_until": agent.wrap_until,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "online": line.online,
        "status": line.status,
        "since": line.since,
        "contacts": msgspec.to_builtins(line.contacts),
    }
