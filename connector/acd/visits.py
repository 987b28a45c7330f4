"""From the agent's phone that rings to the end of the conversation: what happens to a caller besides waiting."""

from __future__ import annotations

from connector.acd.agents import agent_at, agent_name, begin_wrap_up, end_wrap_up, refresh
from connector.acd.clock import at_time
from connector.acd.history import attach, call_of, finish, note
from connector.acd.model import PbxState, Stay, Visit
from connector.acd.stays import count
from connector.events import (
    AgentCalled,
    AgentCompleted,
    AgentConnected,
    AgentDumped,
    AgentRangNoAnswer,
    Caller,
    CallOutcome,
    DialEnded,
    LegHeld,
    LegMoved,
    Outcome,
    RangInVain,
    TalkEnded,
    Transferred,
)
from connector.records import Derived

LATE_S = 2.0
"""How long after the caller's channel AgentComplete may come; it stands in another stream of Asterisk's."""


def new_stay(state: PbxState, queue: str, caller: Caller, location: str = "") -> Stay:
    """A caller begins to wait."""
    visit = Visit(queue, caller.uniqueid, caller.joined_at, caller.position)
    attach(state, visit)
    note(visit.call, caller.joined_at, "joined", queue)
    return Stay(queue, caller, visit, location)


def called(state: PbxState, event: AgentCalled, changes: list[Derived]) -> None:
    """AgentCalled: somebody's phone rings."""
    stay = state.waiting(event.uniqueid)
    if stay is None or stay.queue != event.queue:
        return
    agent = agent_at(state, event.interface)
    note(stay.visit.call, event.at, "rang", agent_name(state, event.interface))
    if agent is not None:
        stay.ringing[agent.id] = None
        agent.ringing[event.uniqueid] = None
        refresh(state, agent, event.at, changes)


def rang_in_vain(state: PbxState, event: AgentRangNoAnswer | AgentDumped, changes: list[Derived]) -> None:
    """AgentRingNoAnswer; or AgentDump, which nobody holds against the member."""
    stay = state.waiting(event.uniqueid) or state.leaving.get(event.uniqueid)
    agent = agent_at(state, event.interface)
    if agent is not None and agent.ringing.pop(event.uniqueid, event) is None:
        if stay is not None:
            stay.ringing.pop(agent.id, None)
        refresh(state, agent, event.at, changes)
    if stay is None or stay.queue != event.queue or isinstance(event, AgentDumped):
        return
    visit = stay.visit
    if visit.rang.get(event.interface, -1.0) >= event.at:
        return
    visit.rang[event.interface] = event.at
    visit.rang_in_vain += 1
    name = agent_name(state, event.interface)
    note(visit.call, event.at, "rang_in_vain", name)
    changes.append(
        RangInVain(
            pbx=state.pbx, at=event.at, queue=event.queue, uniqueid=event.uniqueid, agent=name, ring_s=event.ring_s
        )
    )


def connected(
    state: PbxState, visit: Visit, event: AgentConnected | AgentCompleted, at: float, changes: list[Derived]
) -> None:
    """Somebody answered; called before the outcome is told. With AgentComplete the connect fell into a gap."""
    earlier = state.talks.get(visit.uniqueid)
    if earlier is not None:
        end_talk(state, earlier, at, False, changes)
    visit.agent = agent_name(state, event.interface)
    visit.interface = event.interface
    visit.connected_at = at
    if isinstance(event, AgentConnected):
        visit.ring_s = event.ring_s
        visit.agent_leg = event.leg
    if visit.call is not None and visit.call.answered_at is None:
        visit.call.answered_at = at
    note(visit.call, at, "answered", visit.agent)
    state.talks[visit.uniqueid] = visit
    agent = agent_at(state, event.interface)
    if agent is not None:
        agent.ringing.pop(visit.uniqueid, None)
        agent.talks[visit.uniqueid] = visit
        if agent.wrapping is not None:
            end_wrap_up(state, agent, at, changes)
        refresh(state, agent, at, changes)


def completed(state: PbxState, event: AgentCompleted, changes: list[Derived]) -> None:
    """AgentComplete, the outcome being known."""
    visit = _talk_that_ends(state, event)
    transferred = event.reason == "transfer"
    if visit is not None:
        end_talk(state, visit, min(event.at, visit.hung_up_at or event.at), transferred, changes)
        return
    agent = agent_at(state, event.interface)
    if agent is None or agent.completed[0] == event.uniqueid or not event.uniqueid:
        return
    _answered_unheard(state, event, changes)
    end_talk(state, state.talks[event.uniqueid], event.at, transferred, changes)


def _answered_unheard(state: PbxState, event: AgentCompleted, changes: list[Derived]) -> None:
    """The conversation began before we were there, or in a gap: how the caller's wait ended is told by its end."""
    connected_at = event.at - event.talk_s
    visit = Visit(event.queue, event.uniqueid, connected_at - event.hold_s)
    visit.ended_at, visit.outcome = connected_at, Outcome.ANSWERED
    visit.agent, visit.interface = agent_name(state, event.interface), event.interface
    visit.connected_at = connected_at
    attach(state, visit)
    if visit.call is not None and visit.call.answered_at is None:
        visit.call.answered_at = connected_at
    note(visit.call, connected_at, "answered", visit.agent)
    state.talks[event.uniqueid] = visit
    count(state, event.queue, Outcome.ANSWERED)
    changes.append(
        CallOutcome(
            pbx=state.pbx,
            at=connected_at,
            queue=event.queue,
            uniqueid=event.uniqueid,
            outcome=Outcome.ANSWERED,
            wait_s=event.hold_s,
            agent=visit.agent,
        )
    )


def end_talk(state: PbxState, visit: Visit, at: float, transferred: bool, changes: list[Derived]) -> None:
    """Caller and agent are done with each other."""
    connected_at = visit.connected_at if visit.connected_at is not None else at
    _hold_ends(visit, at)
    visit.completed_at = at = max(at, connected_at)
    visit.transferred = visit.transferred or transferred
    del state.talks[visit.uniqueid]
    changes.append(
        TalkEnded(
            pbx=state.pbx,
            at=at,
            queue=visit.queue,
            uniqueid=visit.uniqueid,
            agent=visit.agent,
            talk_s=round(at - connected_at, 6),
            hold_s=round(visit.hold_s, 6),
            transferred=visit.transferred,
        )
    )
    note(visit.call, at, "completed", visit.agent)
    agent = state.agents.get(visit.agent)
    if agent is not None:
        agent.talks.pop(visit.uniqueid, None)
        begin_wrap_up(state, agent, visit, at, changes)
        refresh(state, agent, at, changes)
    finish(state, visit.call, changes)


def caller_gone(state: PbxState, uniqueid: str, at: float, changes: list[Derived]) -> None:
    """The caller's channel ended; AgentComplete, which tells why, may still come."""
    visit = state.talks.get(uniqueid)
    if visit is None or visit.hung_up_at is not None:
        return
    visit.hung_up_at = at
    at_time(state, at + LATE_S, "talk", uniqueid)
    agent = state.agents.get(visit.agent)
    if agent is not None:
        refresh(state, agent, at, changes)


def talk_due(state: PbxState, uniqueid: str, now: float, changes: list[Derived]) -> None:
    """AgentComplete did not come."""
    visit = state.talks.get(uniqueid)
    if visit is not None and visit.hung_up_at is not None:
        end_talk(state, visit, visit.hung_up_at, False, changes)


# -- hold, transfers and other places -------------------------------------------------------------------------------


def held(state: PbxState, event: LegHeld, changes: list[Derived]) -> None:
    """Hold or Unhold; only the agent's own counts as hold of the conversation."""
    track = state.legs.get(event.uniqueid)
    if track is None or (track.held_since is not None) is event.held:
        return
    track.held_since = event.at if event.held else None
    call = state.calls[track.leg.linkedid]
    note(call, event.at, "hold" if event.held else "unhold", track.agent)
    visit = _talk_of(state, event.uniqueid)
    if visit is not None:
        if event.held:
            visit.held_since = event.at
        else:
            _hold_ends(visit, event.at)
    agent = state.agents.get(track.agent or (visit.agent if visit is not None else ""))
    if agent is not None:
        refresh(state, agent, event.at, changes)


def transferred(state: PbxState, event: Transferred, changes: list[Derived]) -> None:
    """A transfer that worked. AgentComplete, which says the same, may come before or after."""
    call = call_of(state, event.transferer) or call_of(state, event.transferee)
    note(call, event.at, "transfer_attended" if event.attended else "transfer_blind", event.to)
    for uniqueid in (event.transferer, event.consult):
        visit = _talk_of(state, uniqueid)
        if visit is not None:
            visit.transferred = True


def moved(state: PbxState, event: LegMoved, changes: list[Derived]) -> None:
    """Into a parking space or a conference, or out of it."""
    note(call_of(state, event.uniqueid), event.at, event.what.value, event.place)


def dial_ended(state: PbxState, event: DialEnded, changes: list[Derived]) -> None:
    """A dial outside of a queue, whose own are told by AgentConnect and AgentRingNoAnswer."""
    if event.uniqueid in state.where or event.uniqueid in state.leaving:
        return
    call = call_of(state, event.uniqueid) or call_of(state, event.dialled)
    if call is None or event.uniqueid in state.talks:
        return
    track = state.legs.get(event.dialled)
    whom = (track.agent or track.leg.channel.rpartition("-")[0]) if track is not None else ""
    note(call, event.at, f"dial_{event.status.lower()}", whom)
    if event.status == "ANSWER" and call.answered_at is None:
        call.answered_at = event.at


def _talk_that_ends(state: PbxState, event: AgentCompleted) -> Visit | None:
    if event.uniqueid:
        visit = state.talks.get(event.uniqueid)
        return visit if visit is not None and (visit.queue, visit.interface) == (event.queue, event.interface) else None
    # The caller's channel was gone before Asterisk looked, so it names none.
    agent = agent_at(state, event.interface)
    for visit in agent.talks.values() if agent is not None else ():
        if visit.hung_up_at is not None and (visit.queue, visit.interface) == (event.queue, event.interface):
            return visit
    return None


def _talk_of(state: PbxState, uniqueid: str) -> Visit | None:
    """The conversation in which the channel is the agent's."""
    track = state.legs.get(uniqueid)
    call = None if track is None else state.calls.get(track.leg.linkedid)
    if track is None or call is None:
        return None
    for visit in reversed(call.visits):
        if visit.talking and visit.uniqueid != uniqueid and uniqueid == visit.agent_leg:
            return visit
    # The device behind a member's Local channel.
    for visit in reversed(call.visits):
        if visit.talking and visit.uniqueid != uniqueid and track.agent in (visit.agent, ""):
            return visit
    return None


def _hold_ends(visit: Visit, at: float) -> None:
    if visit.held_since is not None:
        visit.hold_s += max(0.0, at - visit.held_since)
        visit.held_since = None
