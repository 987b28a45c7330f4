"""The figures of queues and agents. docs/figures.md has their definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.acd.model import PbxState
from connector.records import AgentState
from connector.web.ports import Figures, Live
from connector.web.rest.endpoint import Call, Endpoint, Nothing
from connector.web.rest.fields import Limit, NameCursor, Text
from connector.web.rest.live import AgentPath, QueuePath, page_of, state_of, states_of
from connector.web.rest.problems import not_found
from connector.web.scope import owns_agent, sees_agent, sees_call

Share = Annotated[float, Meta(ge=0, le=1)]


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    pass


class QueueNow(_Shape, frozen=True, kw_only=True):
    """A queue at this moment.

    Attributes:
        agents: Its agents by state.
        open: Within its business hours.
        estimated_wait_s: For a caller who joins now; null if it cannot be told.
        target_s: Of the service level.
        target_share: Of calls that should be answered within it.
        time_zone: Of the queue's day, an IANA name.
    """

    waiting: int
    longest_wait_s: float
    agents: dict[AgentState, int]
    open: bool
    estimated_wait_s: float | None
    target_s: float
    target_share: float
    time_zone: str


class Use(_Shape, frozen=True, kw_only=True):
    """How agents spent their time: seconds by state, and the shares that follow."""

    state_s: dict[AgentState, float]
    occupancy: Share | None
    utilisation: Share | None


class Handling(Use, frozen=True, kw_only=True):
    """Conversations that ended: how many, seconds in all, and means; null of nothing."""

    talks: int
    talk_s: float
    hold_s: float
    wrap_up_s: float
    talk_mean_s: float | None
    hold_mean_s: float | None
    wrap_up_mean_s: float | None
    handle_mean_s: float | None


class QueueWindow(Handling, frozen=True, kw_only=True):
    """A queue over a stretch of time; `offered` is the sum of the outcomes."""

    offered: int
    answered: int
    abandoned: int
    timed_out: int
    left_empty: int
    join_empty: int
    full: int
    key_exit: int
    withdrawn: int
    redirected: int
    unknown: int
    short_abandoned: int
    abandoned_without_short: int
    abandoned_share: Share | None
    outside_hours: int
    answered_in_target: int
    service_level: Share | None
    answer_wait_mean_s: float | None
    answer_wait_max_s: float
    abandon_wait_mean_s: float | None
    abandon_wait_max_s: float
    transfers: int
    rang_in_vain: int


class AsteriskFigures(_Shape, frozen=True, kw_only=True):
    """What Asterisk itself counts since its last reset; hold and talk are its moving averages."""

    completed: int
    abandoned: int
    service_level_s: int
    service_level_percent: float | None
    service_level2_percent: float | None
    hold_s: float
    talk_s: float


class QueueFigures(_Shape, frozen=True, kw_only=True):
    """Figures of a queue: now, today so far, and the last 15, 30 and 60 minutes."""

    now: QueueNow
    today: QueueWindow
    m15: QueueWindow
    m30: QueueWindow
    m60: QueueWindow
    asterisk: AsteriskFigures


class AgentNow(_Shape, frozen=True, kw_only=True):
    """An agent at this moment."""

    state: AgentState
    since: float
    state_s: float
    reason: str
    linkedid: str


class AgentWindow(Handling, frozen=True, kw_only=True):
    """An agent over a stretch of time, whatever the queue."""

    answered: int
    rang_in_vain: int
    ring_in_vain_s: float
    transfers: int


class AgentFigures(_Shape, frozen=True, kw_only=True):
    """Figures of an agent: now, today so far, and the last 15, 30 and 60 minutes."""

    now: AgentNow
    today: AgentWindow
    m15: AgentWindow
    m30: AgentWindow
    m60: AgentWindow


class OfQueue(_Shape, frozen=True, kw_only=True):
    """A queue with its figures."""

    pbx: str
    queue: str
    figures: QueueFigures


class OfAgent(_Shape, frozen=True, kw_only=True):
    """An agent with their figures."""

    pbx: str
    agent: str
    figures: AgentFigures


class QueueFiguresList(_Shape, frozen=True, kw_only=True):
    """Queues with their figures. `next` is empty on the last page."""

    at: float
    queues: tuple[OfQueue, ...]
    next: str


class QueueTrend(_Shape, frozen=True, kw_only=True):
    """A queue's last hour: 60 minutes, the oldest first, the running one last. An attempt counts when it ended.

    Attributes:
        offered: Callers.
        answered: Of them.
        abandoned: Of them, but not at once.
    """

    pbx: str
    queue: str
    offered: tuple[int, ...]
    answered: tuple[int, ...]
    abandoned: tuple[int, ...]


class QueueTrendList(_Shape, frozen=True, kw_only=True):
    """Queues with their last hour. `next` is empty on the last page."""

    at: float
    queues: tuple[QueueTrend, ...]
    next: str


class AgentFiguresList(_Shape, frozen=True, kw_only=True):
    """Agents with their figures. `next` is empty on the last page."""

    at: float
    agents: tuple[OfAgent, ...]
    next: str


class FiguresQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which ones."""

    pbx: Text = ""
    limit: Limit = 50
    after: NameCursor = ""


class FiguresApi:
    """Answers from the figures.

    Args:
        figures: By PBX.
        live: The live state.
        clock: Seconds since the epoch.
    """

    def __init__(self, figures: Mapping[str, Figures], live: Live, clock: Callable[[], float]) -> None:
        self._figures = figures
        self._live = live
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/figures/queues", "list_queue_figures", "Figures of queues", "figures", self._queues,
                     QueueFiguresList, query=FiguresQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/figures/queues/{pbx}/{queue}", "get_queue_figures", "Figures of a queue", "figures",
                     self._queue, OfQueue, parameters=QueuePath, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/figures/trends", "list_queue_trends", "The last hour of queues by minute", "figures",
                     self._trends, QueueTrendList, query=FiguresQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/figures/agents", "list_agent_figures", "Figures of agents", "figures", self._agents,
                     AgentFiguresList, query=FiguresQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/figures/agents/{pbx}/{agent}", "get_agent_figures", "Figures of an agent", "figures",
                     self._agent, OfAgent, parameters=AgentPath, problems=(404,), right=Right.SEE),
        ]  # fmt: skip

    def _page(self, call: Call[Nothing, FiguresQuery, None]) -> tuple[list[tuple[PbxState, str]], str]:
        """A page of the queues in scope."""
        query = call.query
        found = (
            (f"{state.pbx}/{name}", (state, name))
            for state in states_of(self._live, query.pbx)
            for name in sorted(state.queues)
            if call.sight.queue(state.pbx, name)
        )
        return page_of(found, query.after, query.limit)

    async def _queues(self, call: Call[Nothing, FiguresQuery, None]) -> QueueFiguresList:
        now, (page, following) = self._clock(), self._page(call)
        shown = tuple(self._of_queue(state, name, now) for state, name in page)
        return QueueFiguresList(at=now, queues=shown, next=following)

    async def _trends(self, call: Call[Nothing, FiguresQuery, None]) -> QueueTrendList:
        now, (page, following) = self._clock(), self._page(call)
        shown = tuple(
            QueueTrend(
                pbx=state.pbx,
                queue=name,
                **{what: tuple(values) for what, values in self._figures[state.pbx].trend(name, now).items()},
            )
            for state, name in page
        )
        return QueueTrendList(at=now, queues=shown, next=following)

    async def _queue(self, call: Call[QueuePath, Nothing, None]) -> OfQueue:
        state = state_of(self._live, call.path.pbx)
        if call.path.queue not in state.queues or not call.sight.queue(state.pbx, call.path.queue):
            raise not_found(f"{state.pbx} has no queue {call.path.queue!r}.", "See /api/v1/queues for those it has.")
        return self._of_queue(state, call.path.queue, self._clock())

    async def _agents(self, call: Call[Nothing, FiguresQuery, None]) -> AgentFiguresList:
        query, now = call.query, self._clock()
        found = (
            (f"{state.pbx}/{name}", (state, name))
            for state in states_of(self._live, query.pbx)
            for name in sorted(state.agents)
            if sees_agent(call.sight, state, state.agents[name])
        )
        page, following = page_of(found, query.after, query.limit)
        shown = tuple(self._of_agent(call.sight, state, name, now) for state, name in page)
        return AgentFiguresList(at=now, agents=shown, next=following)

    async def _agent(self, call: Call[AgentPath, Nothing, None]) -> OfAgent:
        state = state_of(self._live, call.path.pbx)
        agent = state.agents.get(call.path.agent)
        if agent is None or not sees_agent(call.sight, state, agent):
            raise not_found(f"{state.pbx} has no agent {call.path.agent!r}.", "See /api/v1/agents for those it has.")
        return self._of_agent(call.sight, state, call.path.agent, self._clock())

    def _of_queue(self, state: PbxState, name: str, now: float) -> OfQueue:
        figures: dict[str, Any] = self._figures[state.pbx].view_queue(state, name, now)
        return OfQueue(pbx=state.pbx, queue=name, figures=msgspec.convert(figures, QueueFigures))

    def _of_agent(self, sight: Sight, state: PbxState, name: str, now: float) -> OfAgent:
        # Of a person who serves foreign queues too, only what came of the own ones.
        counts = None if owns_agent(sight, state, name) else partial(sight.queue, state.pbx)
        figures = msgspec.convert(self._figures[state.pbx].view_agent(state, name, now, counts=counts), AgentFigures)
        call = state.calls.get(figures.now.linkedid)
        if figures.now.linkedid and (call is None or not sees_call(sight, state, call)):
            figures = msgspec.structs.replace(figures, now=msgspec.structs.replace(figures.now, linkedid=""))
        return OfAgent(pbx=state.pbx, agent=name, figures=figures)
