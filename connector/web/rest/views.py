"""The live state in the shapes of the API: pure.

Each `..._fields` makes the fields of a view, for the view itself and for the item of the push connection, which has the
same and `id`.
"""

from __future__ import annotations

from typing import Any

from connector.acd.model import Agent, Call, Line, Link, PbxState, Queue
from connector.events import Caller, DeviceState, Member
from connector.web.rest.shapes import (
    AgentView,
    CallerView,
    LegView,
    LinkView,
    LiveCall,
    MemberView,
    QueueView,
    QueueWhole,
    TrunkView,
)


def link_fields(pbx: str, name: str, link: Link) -> dict[str, Any]:
    """A connection to a PBX, as fields of `LinkView`."""
    return {
        "pbx": pbx,
        "link": name,
        "state": link.state,
        "since": link.since,
        "detail": link.detail,
        "gaps": link.gaps,
        "gap_s": link.gap_s,
    }


def link_view(pbx: str, name: str, link: Link) -> LinkView:
    """A connection to a PBX."""
    return LinkView(**link_fields(pbx, name, link))


def queue_fields(state: PbxState, name: str, queue: Queue) -> dict[str, Any]:
    """A queue in figures of this moment, as fields of `QueueView`."""
    params, members = queue.params, queue.members.values()
    return {
        "pbx": state.pbx,
        "queue": name,
        "strategy": params.strategy,
        "weight": params.weight,
        "max_callers": params.max_callers,
        "service_level_s": params.service_level_s,
        "waiting": len(queue.waiting),
        "waiting_since": min((stay.caller.joined_at for stay in queue.waiting.values()), default=None),
        "members": len(members),
        "members_free": sum(member.device is DeviceState.NOT_IN_USE and not member.paused for member in members),
        "members_paused": sum(member.paused for member in members),
        "outcomes": dict(state.outcomes.get(name, {})),
        "current": state.queues_current,
    }


def queue_view(state: PbxState, name: str, queue: Queue) -> QueueView:
    """A queue in figures of this moment."""
    return QueueView(**queue_fields(state, name, queue))


def member_fields(state: PbxState, queue: str, member: Member) -> dict[str, Any]:
    """A member of a queue, as fields of `MemberView`."""
    return {
        "pbx": state.pbx,
        "queue": queue,
        "interface": member.interface,
        "name": member.name,
        "agent": state.directory.agent_id(member),
        "state_interface": member.state_interface,
        "membership": member.membership,
        "penalty": member.penalty,
        "calls_taken": member.calls_taken,
        "last_call_at": member.last_call_at,
        "in_call": member.in_call,
        "device": member.device,
        "paused": member.paused,
        "pause_reason": member.pause_reason,
        "paused_at": member.paused_at,
        "ring_in_use": member.ring_in_use,
        "wrapup_s": member.wrapup_seconds,
        "logged_in_at": member.logged_in_at,
    }


def member_view(state: PbxState, queue: str, member: Member) -> MemberView:
    """A member of a queue."""
    return MemberView(**member_fields(state, queue, member))


def caller_fields(pbx: str, queue: str, caller: Caller) -> dict[str, Any]:
    """A caller who waits, as fields of `CallerView`."""
    return {
        "pbx": pbx,
        "queue": queue,
        "uniqueid": caller.uniqueid,
        "channel": caller.channel,
        "position": caller.position,
        "joined_at": caller.joined_at,
        "number": caller.number,
        "name": caller.name,
        "priority": caller.priority,
    }


def caller_view(pbx: str, queue: str, caller: Caller) -> CallerView:
    """A caller who waits."""
    return CallerView(**caller_fields(pbx, queue, caller))


def queue_whole(state: PbxState, name: str, queue: Queue) -> QueueWhole:
    """A queue with its members, by interface, and its callers, by position."""
    return QueueWhole(
        queue=queue_view(state, name, queue),
        members=tuple(member_view(state, name, member) for _, member in sorted(queue.members.items())),
        callers=tuple(caller_view(state.pbx, name, caller) for caller in queue.callers()),
    )


def agent_fields(state: PbxState, agent: Agent) -> dict[str, Any]:
    """One person over all queues, as fields of `AgentView`."""
    person = state.directory.people.get(agent.id)
    return {
        "pbx": state.pbx,
        "agent": agent.id,
        "name": agent.name,
        "teams": () if person is None else person.teams,
        "state": agent.state,
        "reason": agent.reason,
        "since": agent.since,
        "call": agent.linkedid,
        "queues": tuple(sorted({queue for queue, _ in agent.members})),
        "interfaces": tuple(sorted({interface for _, interface in agent.members})),
    }


def agent_view(state: PbxState, agent: Agent) -> AgentView:
    """One person over all queues."""
    return AgentView(**agent_fields(state, agent))


def trunk_fields(pbx: str, trunk: Line) -> dict[str, Any]:
    """A registration of the PBX at a provider, as fields of `TrunkView`."""
    return {
        "pbx": pbx,
        "trunk": trunk.name,
        "label": trunk.label,
        "endpoint": trunk.endpoint,
        "online": trunk.online,
        "status": trunk.status,
        "since": trunk.since,
    }


def trunk_view(pbx: str, trunk: Line) -> TrunkView:
    """A registration of the PBX at a provider."""
    return TrunkView(**trunk_fields(pbx, trunk))


def live_call(state: PbxState, call: Call) -> LiveCall:
    """A call that goes on."""
    tracks = [state.legs[uniqueid] for uniqueid in call.legs]
    return LiveCall(
        pbx=state.pbx,
        linkedid=call.linkedid,
        started_at=call.started_at,
        direction=call.direction,
        number=call.number,
        name=call.name,
        dialled=call.dialled,
        answered_at=call.answered_at,
        queue=next((state.where[uniqueid] for uniqueid in call.legs if uniqueid in state.where), ""),
        legs=tuple(
            LegView(
                uniqueid=track.leg.uniqueid,
                channel=track.leg.channel,
                state=track.leg.state,
                number=track.leg.number,
                name=track.leg.name,
                context=track.leg.context,
                exten=track.leg.exten,
                started_at=track.leg.started_at,
            )
            for track in tracks
        ),
    )
