"""Queues, agents and calls as they are now."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.acd.model import Agent, PbxState
from connector.records import AgentState
from connector.web.ports import History, Live
from connector.web.rest.endpoint import Call, Endpoint, Nothing
from connector.web.rest.fields import Limit, Name, NameCursor, OfPbx, Text
from connector.web.rest.history import available, finished_call
from connector.web.rest.problems import Refused, not_found
from connector.web.rest.shapes import (
    AgentList,
    AgentView,
    LiveCallList,
    OneCall,
    QueueList,
    QueueWhole,
    TrunkList,
)
from connector.web.rest.views import agent_view, live_call, queue_view, queue_whole, trunk_view
from connector.web.scope import (
    own_agents,
    sees_agent,
    sees_call,
    shown_agent,
    shown_call,
    shown_caller,
    shown_finished,
    shown_timeline,
)

T = TypeVar("T")


class QueuesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queues."""

    pbx: Text = ""
    search: Annotated[Text, Meta(description="Part of the name, upper or lower case.")] = ""
    limit: Limit = 200
    after: NameCursor = ""


class QueuePath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One queue."""

    pbx: Name
    queue: Name


class AgentsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which agents."""

    pbx: Text = ""
    queue: Annotated[Text, Meta(description="Members of this queue.")] = ""
    state: AgentState | None = None
    search: Annotated[Text, Meta(description="Part of id, name or an interface, upper or lower case.")] = ""
    limit: Limit = 200
    after: NameCursor = ""


class AgentPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent."""

    pbx: Name
    agent: Name


class CallsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls."""

    pbx: Text = ""
    queue: Annotated[Text, Meta(description="Waiting in this queue.")] = ""
    limit: Limit = 200
    after: NameCursor = ""


class CallPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call."""

    pbx: Name
    linkedid: Name


class LiveApi:
    """Answers from the live state; one call also from what is kept, once it ended.

    Args:
        live: The state.
        history: What is kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, live: Live, history: History, clock: Callable[[], float]) -> None:
        self._live = live
        self._history = history
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/queues", "list_queues", "Queues, by PBX and name", "live", self._queues, QueueList,
                     query=QueuesQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/queues/{pbx}/{queue}", "get_queue", "A queue with its members and callers", "live",
                     self._queue, QueueWhole, parameters=QueuePath, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/agents", "list_agents", "Agents, by PBX and id", "live", self._agents, AgentList,
                     query=AgentsQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/agents/{pbx}/{agent}", "get_agent", "An agent", "live", self._agent, AgentView,
                     parameters=AgentPath, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/calls", "list_calls", "Calls that go on, by PBX and linkedid", "live", self._calls,
                     LiveCallList, query=CallsQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/calls/{pbx}/{linkedid}", "get_call", "A call, going on or ended, with its timeline",
                     "live", self._call, OneCall, parameters=CallPath, problems=(404, 503), right=Right.SEE),
            Endpoint("GET", "/trunks", "list_trunks", "Registrations of the PBXs at providers", "live", self._trunks,
                     TrunkList, query=OfPbx, problems=(404,), right=Right.SEE),
        ]  # fmt: skip

    async def _queues(self, call: Call[Nothing, QueuesQuery, None]) -> QueueList:
        query = call.query
        part = query.search.casefold()
        found = (
            (f"{state.pbx}/{name}", (state, name))
            for state in states_of(self._live, query.pbx)
            for name in sorted(state.queues)
            if part in name.casefold() and call.sight.queue(state.pbx, name)
        )
        page, following = page_of(found, query.after, query.limit)
        return QueueList(
            at=self._clock(),
            queues=tuple(queue_view(state, name, state.queues[name]) for state, name in page),
            next=following,
        )

    async def _queue(self, call: Call[QueuePath, Nothing, None]) -> QueueWhole:
        state = state_of(self._live, call.path.pbx)
        queue = state.queues.get(call.path.queue)
        if queue is None or not call.sight.queue(state.pbx, call.path.queue):
            raise not_found(f"{state.pbx} has no queue {call.path.queue!r}.", "See /api/v1/queues for those it has.")
        whole = queue_whole(state, call.path.queue, queue)
        callers = tuple(shown_caller(call.sight, each) for each in whole.callers)
        return msgspec.structs.replace(whole, callers=callers)

    async def _agents(self, call: Call[Nothing, AgentsQuery, None]) -> AgentList:
        query = call.query
        part = query.search.casefold()

        def wanted(agent: AgentView) -> bool:
            return (
                (query.state is None or agent.state is query.state)
                and (not query.queue or query.queue in agent.queues)
                and any(part in text.casefold() for text in (agent.agent, agent.name, *agent.interfaces))
            )

        found = (
            (f"{state.pbx}/{name}", agent)
            for state in states_of(self._live, query.pbx)
            for name, each in sorted(state.agents.items())
            if sees_agent(call.sight, state, each) and wanted(agent := agent_in_sight(call.sight, state, each))
        )
        page, following = page_of(found, query.after, query.limit)
        return AgentList(at=self._clock(), agents=tuple(page), next=following)

    async def _agent(self, call: Call[AgentPath, Nothing, None]) -> AgentView:
        state = state_of(self._live, call.path.pbx)
        agent = state.agents.get(call.path.agent)
        if agent is None or not sees_agent(call.sight, state, agent):
            raise not_found(f"{state.pbx} has no agent {call.path.agent!r}.", "See /api/v1/agents for those it has.")
        return agent_in_sight(call.sight, state, agent)

    async def _calls(self, call: Call[Nothing, CallsQuery, None]) -> LiveCallList:
        query = call.query
        found = (
            (f"{state.pbx}/{linkedid}", each)
            for state in states_of(self._live, query.pbx)
            for linkedid in sorted(state.calls)
            if sees_call(call.sight, state, state.calls[linkedid])
            and (each := shown_call(call.sight, live_call(state, state.calls[linkedid])))
            and (not query.queue or each.queue == query.queue)
        )
        page, following = page_of(found, query.after, query.limit)
        return LiveCallList(at=self._clock(), calls=tuple(page), next=following)

    async def _call(self, call: Call[CallPath, Nothing, None]) -> OneCall:
        state = state_of(self._live, call.path.pbx)
        live, sight = state.calls.get(call.path.linkedid), call.sight
        if live is not None and sees_call(sight, state, live):
            return OneCall(live=shown_call(sight, live_call(state, live)), finished=None, timeline=())
        record = None if live else await available(self._history.call(state.pbx, call.path.linkedid))
        whole = finished_call(record) if record is not None else None
        shown = shown_finished(sight, whole, own_agents(sight, [state])) if whole is not None else None
        if record is None or whole is None or shown is None or not (shown.visits or sight.whole):
            raise not_found(
                f"{state.pbx} has no call {call.path.linkedid!r}.",
                "See /api/v1/calls for those that go on and /api/v1/history/calls for those that are kept.",
            )
        timeline = shown_timeline(sight, whole, shown, record.timeline)
        return OneCall(live=None, finished=shown, timeline=timeline)

    async def _trunks(self, call: Call[Nothing, OfPbx, None]) -> TrunkList:
        states = states_of(self._live, call.query.pbx)
        found = tuple(trunk_view(state.pbx, each) for state in states for _, each in sorted(state.trunks.items()))
        return TrunkList(at=self._clock(), trunks=found)


def agent_in_sight(sight: Sight, state: PbxState, agent: Agent) -> AgentView:
    """An agent as somebody sees them."""
    call = state.calls.get(agent.linkedid)
    return shown_agent(sight, agent_view(state, agent), call is not None and sees_call(sight, state, call))


def states_of(live: Live, pbx: str) -> list[PbxState]:
    """The states of all PBXs by name, or of one; 404 if there is none of that name."""
    if pbx:
        return [state_of(live, pbx)]
    return [state for _, state in sorted(live.states().items())]


def state_of(live: Live, pbx: str) -> PbxState:
    """The state of a PBX; 404 if there is none of that name."""
    states = live.states()
    state = states.get(pbx)
    if state is None:
        raise no_pbx(pbx, states)
    return state


def no_pbx(pbx: str, known: Iterable[str]) -> Refused:
    """404 that names those there are."""
    return not_found(f"There is no PBX {pbx!r}.", f"The settings have: {', '.join(sorted(known))}.")


def page_of(found: Iterable[tuple[str, T]], after: str, limit: int) -> tuple[list[T], str]:
    """One page of what is sorted by PBX and name, and the cursor of the next, empty at the end."""
    position = tuple(after.partition("/")[::2])
    rest: Iterator[tuple[str, Any]] = (
        each for each in found if not after or tuple(each[0].partition("/")[::2]) > position
    )
    page = list(itertools.islice(rest, limit + 1))
    following = page[limit - 1][0] if len(page) > limit else ""
    return [each for _, each in page[:limit]], following
