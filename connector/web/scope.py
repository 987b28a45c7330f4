"""What somebody sees of the live state and of history: their queues, agents and calls, with numbers masked for some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from connector.access.sight import Sight
from connector.acd.model import Agent, Call, PbxState
from connector.records import TimelineEntry
from connector.web.rest.shapes import AgentView, CallerView, FinishedCall, LegView, LiveCall
from connector.web.rest.stream_views import StreamView

C = TypeVar("C", bound=CallerView)
S = TypeVar("S", bound=StreamView)
A = TypeVar("A", bound=AgentView)


def teams_of(state: PbxState, agent: str) -> tuple[str, ...]:
    """Teams of an agent, by id."""
    person = state.directory.people.get(agent)
    return () if person is None else person.teams


def queues_of(agent: Agent) -> set[str]:
    """The queues that an agent is a member of."""
    return {queue for queue, _ in agent.members}


def sees_agent(sight: Sight, state: PbxState, agent: Agent) -> bool:
    """Whether an agent is seen."""
    return sight.whole or sight.agent(state.pbx, queues_of(agent), teams_of(state, agent.id))


def owns_agent(sight: Sight, state: PbxState, agent: str) -> bool:
    """Whether an agent is in scope with all they do."""
    if sight.whole:
        return True
    known = state.agents.get(agent)
    return sight.owns_agent(state.pbx, queues_of(known) if known else (), teams_of(state, agent))


def current_queues(state: PbxState, call: Call) -> set[str]:
    """The queues that a call is in now: waiting, or talking to who answered there."""
    waiting = {state.where[uniqueid] for uniqueid in call.legs if uniqueid in state.where}
    return waiting | {visit.queue for visit in call.visits if visit.talking}


def sees_call(sight: Sight, state: PbxState, call: Call) -> bool:
    """Whether a call is seen: it came to a queue in scope, or an agent who is wholly in scope has it."""
    if sight.whole:
        return True
    queues = {visit.queue for visit in call.visits} | current_queues(state, call)
    return any(sight.queue(state.pbx, queue) for queue in queues) or _owns_a_leg(sight, state, call)


def reaches_call(sight: Sight, state: PbxState, call: Call) -> bool:
    """Whether a call may be acted on: the queue it is in now is in scope, or an agent wholly in scope has it."""
    if sight.whole:
        return True
    queues = current_queues(state, call)
    return any(sight.queue(state.pbx, queue) for queue in queues) or _owns_a_leg(sight, state, call)


def _owns_a_leg(sight: Sight, state: PbxState, call: Call) -> bool:
    agents = {state.legs[uniqueid].agent for uniqueid in call.legs if uniqueid in state.legs}
    return any(agent and owns_agent(sight, state, agent) for agent in agents)


def sees_stream(sight: Sight, stream: StreamView) -> bool:
    """Whether a stream is seen: of a queue in scope, or of an agent of an own team."""
    return sight.whole or sight.agent(stream.pbx, stream.queues, stream.teams)


# -- as shown -----------------------------------------------------------------------------------------------------


def shown_caller(sight: Sight, view: C) -> C:
    """A waiting caller."""
    if sight.numbers:
        return view
    return msgspec.structs.replace(
        view, number=sight.number(view.number), name=sight.number(view.name), channel=sight.number(view.channel)
    )


def shown_agent(sight: Sight, view: A, call: bool) -> A:
    """An agent: of the queues only those in scope, and the call only where it is seen."""
    if sight.whole:
        return view
    queues = tuple(queue for queue in view.queues if sight.queue(view.pbx, queue))
    return msgspec.structs.replace(view, queues=queues, call=view.call if call else "")


def shown_stream(sight: Sight, view: S) -> S:
    """A stream: of the queues only those in scope."""
    if sight.clear:
        return view
    return msgspec.structs.replace(
        view,
        queues=tuple(queue for queue in view.queues if sight.queue(view.pbx, queue)),
        number=sight.number(view.number),
        name=sight.number(view.name),
    )


def shown_call(sight: Sight, view: LiveCall) -> LiveCall:
    """A call that goes on."""
    queue = view.queue if sight.queue(view.pbx, view.queue) else ""
    if sight.numbers and queue == view.queue:
        return view
    return msgspec.structs.replace(
        view,
        queue=queue,
        number=sight.number(view.number),
        name=sight.number(view.name),
        dialled=sight.number(view.dialled),
        legs=tuple(_shown_leg(sight, leg) for leg in view.legs),
    )


def _shown_leg(sight: Sight, leg: LegView) -> LegView:
    return msgspec.structs.replace(
        leg,
        channel=sight.number(leg.channel),
        number=sight.number(leg.number),
        name=sight.number(leg.name),
        exten=sight.number(leg.exten),
    )


def shown_finished(sight: Sight, call: FinishedCall, agents: Iterable[str]) -> FinishedCall:
    """A call that ended.

    Args:
        sight: Whose.
        call: It.
        agents: Ids of the agents who are wholly in scope.
    """
    if sight.clear:
        return call
    own = frozenset(agents)
    visits = (v for v in call.visits if v.agent in own or sight.queue(call.pbx, v.queue))
    return msgspec.structs.replace(
        call,
        number=sight.number(call.number),
        name=sight.number(call.name),
        dialled=sight.number(call.dialled),
        visits=tuple(visits),
    )


def shown_timeline(
    sight: Sight, whole: FinishedCall, shown: FinishedCall, timeline: tuple[TimelineEntry, ...]
) -> tuple[TimelineEntry, ...]:
    """A call's timeline without what happened at queues out of scope."""
    if sight.clear:
        return timeline
    own = {visit.joined_at for visit in shown.visits}
    spans: list[tuple[float, bool]] = sorted((visit.joined_at, visit.joined_at in own) for visit in whole.visits)

    def is_seen(entry: TimelineEntry) -> bool:
        # What happens belongs to the queue that the call came to last; what came before the first is the call's own.
        before = [seen for joined_at, seen in spans if joined_at <= entry.at]
        return before[-1] if before else True

    return tuple(
        msgspec.structs.replace(entry, detail=sight.number(entry.detail)) for entry in timeline if is_seen(entry)
    )


def own_agents(sight: Sight, states: Iterable[PbxState]) -> tuple[str, ...]:
    """Ids of the agents who are wholly in scope; none for a whole sight, which needs no list."""
    if sight.whole:
        return ()
    states = tuple(states)
    found = {
        agent.id
        for state in states
        for agent in state.agents.values()
        if sight.owns_agent(state.pbx, queues_of(agent), teams_of(state, agent.id))
    }
    in_teams = {
        person.id
        for state in states
        for person in state.directory.people.values()
        if not sight.teams.isdisjoint(person.teams)
    }
    return tuple(sorted(found | in_teams))
