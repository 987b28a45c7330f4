"""Calls that ended, and reports by interval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy.exc import SQLAlchemyError

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.events import Outcome
from connector.records import AuditRecord, CallRecord, Direction, StreamRecord
from connector.store.database import why
from connector.store.within import Within
from connector.web.ports import History, Live
from connector.web.rest.endpoint import Call, Endpoint, Nothing
from connector.web.rest.fields import CallCursor, Limit, Text, Time
from connector.web.rest.problems import Refused
from connector.web.rest.shapes import AgentReport, CallPage, FinishedCall, QueueReport
from connector.web.scope import own_agents, shown_finished

T = TypeVar("T")

DAY_S = 86_400.0


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls."""

    pbx: Text = ""
    queue: Annotated[Text, Meta(description="That came to this queue.")] = ""
    agent: Annotated[Text, Meta(description="That this agent answered: id or interface.")] = ""
    number: Annotated[Text, Meta(description="Of the other party, whole.")] = ""
    outcome: Annotated[Outcome | None, Meta(description="That ended so in a queue.")] = None
    direction: Direction | None = None
    since: Annotated[Time | None, Meta(description="Ended at or after; without it, from a day before `until`.")] = None
    until: Annotated[Time | None, Meta(description="Ended before; without it, until now.")] = None
    limit: Limit = 100
    after: CallCursor = ""


IntervalCursor = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^([0-9]{1,12}/[^/\x00-\x1f\x7f]+/[^\x00-\x1f\x7f]*)?$",
        description="`next` of the page before; empty for the first page.",
    ),
]


class IntervalsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which intervals."""

    pbx: Text = ""
    name: Annotated[Text, Meta(description="Of the queue or agent.")] = ""
    since: Annotated[Time | None, Meta(description="Begins at or after; without it, a day before `until`.")] = None
    until: Annotated[Time | None, Meta(description="Begins before; without it, until now.")] = None
    limit: Limit = 500
    after: IntervalCursor = ""


class HistoryApi:
    """Answers from what is kept.

    Args:
        history: What is kept.
        live: Knows who is an agent of which queues and teams.
        clock: Seconds since the epoch.
    """

    def __init__(self, history: History, live: Live, clock: Callable[[], float]) -> None:
        self._history = history
        self._live = live
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/history/calls", "list_finished_calls", "Calls that ended, the latest first", "history",
                     self._calls, CallPage, query=HistoryQuery, problems=(503,), right=Right.SEE),
            Endpoint("GET", "/reports/queues", "report_queues", "Queues by quarter of an hour", "reports",
                     self._queues, QueueReport, query=IntervalsQuery, problems=(503,), right=Right.SEE),
            Endpoint("GET", "/reports/agents", "report_agents", "Agents by quarter of an hour", "reports",
                     self._agents, AgentReport, query=IntervalsQuery, problems=(503,), right=Right.SEE),
        ]  # fmt: skip

    async def _calls(self, call: Call[Nothing, HistoryQuery, None]) -> CallPage:
        query, sight = call.query, call.sight
        since, until = self._span(query.since, query.until)
        if query.number and not sight.numbers:
            raise Refused(
                403,
                "forbidden",
                "Numbers are masked for you, so calls cannot be looked up by one.",
                remedy="Ask somebody who sees numbers.",
            )
        own = own_agents(sight, self._live.states().values())
        found = await available(
            self._history.calls(
                pbx=query.pbx,
                since=since,
                until=until,
                queue=query.queue,
                agent=query.agent,
                number=query.number,
                outcome=query.outcome or "",
                direction=query.direction or "",
                before=before(query.after),
                limit=query.limit + 1,
                within=_within(sight, own),
            )
        )
        page = found[: query.limit]
        return CallPage(
            calls=tuple(shown_finished(sight, finished_call(record), own) for record in page),
            next=cursor(page[-1]) if len(found) > query.limit else "",
        )

    async def _queues(self, call: Call[Nothing, IntervalsQuery, None]) -> QueueReport:
        query = call.query
        found = await available(self._history.queue_quarters(**self._quarters(query), within=_within(call.sight, ())))
        page = found[: query.limit]
        last = page[-1] if len(found) > query.limit else None
        return QueueReport(intervals=tuple(page), next=f"{last.starts_at}/{last.pbx}/{last.queue}" if last else "")

    async def _agents(self, call: Call[Nothing, IntervalsQuery, None]) -> AgentReport:
        query = call.query
        within = _within(call.sight, own_agents(call.sight, self._live.states().values()))
        found = await available(self._history.agent_quarters(**self._quarters(query), within=within))
        page = found[: query.limit]
        last = page[-1] if len(found) > query.limit else None
        return AgentReport(intervals=tuple(page), next=f"{last.starts_at}/{last.pbx}/{last.agent}" if last else "")

    def _quarters(self, query: IntervalsQuery) -> dict[str, Any]:
        since, until = self._span(query.since, query.until)
        after: tuple[int, str, str] | None = None
        if query.after:
            starts_at, pbx, name = query.after.split("/", 2)
            after = (int(starts_at), pbx, name)
        return {
            "pbx": query.pbx,
            "name": query.name,
            "since": since,
            "until": until,
            "after": after,
            "limit": query.limit + 1,
        }

    def _span(self, since: float | None, until: float | None) -> tuple[float, float]:
        return span(since, until, self._clock())


def _within(sight: Sight, agents: tuple[str, ...]) -> Within | None:
    return None if sight.queues is None else Within(tuple(sorted(sight.queues)), agents)


def span(since: float | None, until: float | None, now: float) -> tuple[float, float]:
    """From when to when is asked for: without `until` until now, without `since` a day."""
    until = now if until is None else until
    return (until - DAY_S if since is None else since), until


def cursor(last: CallRecord | StreamRecord | AuditRecord) -> str:
    """Where the next page begins."""
    return f"{last.at:.9f}".rstrip("0").rstrip(".") + f"~{last.key}"


def before(after: str) -> tuple[float, str] | None:
    """What a cursor of `cursor` means; None for the first page."""
    at, _, key = after.partition("~")
    return (float(at), key) if after else None


async def available(answer: Awaitable[T]) -> T:
    """Waits for an answer; says 503 where it cannot be had."""
    try:
        return await answer
    except (SQLAlchemyError, OSError) as error:
        raise Refused(
            503,
            "history-unavailable",
            "What is kept cannot be read now.",
            cause=f"The database says: {why(error)}.",
            remedy="Look at store.database_url and whether the database runs; what happens meanwhile is kept.",
        ) from None


def finished_call(record: CallRecord) -> FinishedCall:
    """A kept call in the shape of the API."""
    return FinishedCall(
        pbx=record.pbx,
        linkedid=record.linkedid,
        started_at=record.started_at,
        ended_at=record.at,
        direction=record.direction,
        number=record.number,
        name=record.name,
        dialled=record.dialled,
        answered_at=record.answered_at,
        legs=record.legs,
        recovered=record.recovered,
        visits=record.visits,
    )
