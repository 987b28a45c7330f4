"""Streams: those that run, and those that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.media.control import EndCause
from connector.store.within import Within
from connector.streams.seen import LiveStream, Stage
from connector.web.ports import History, Live
from connector.web.rest.endpoint import Call, Endpoint, Nothing
from connector.web.rest.fields import CallCursor, Limit, Name, NameCursor, Text, Time
from connector.web.rest.history import available, before, cursor, span
from connector.web.rest.live import page_of, state_of, states_of
from connector.web.rest.problems import not_found
from connector.web.rest.stream_views import StreamList, StreamPage, StreamView, finished_stream, stream_view
from connector.web.scope import sees_stream, shown_stream


class StreamsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which streams."""

    pbx: Text = ""
    profile: Text = ""
    queue: Annotated[Text, Meta(description="Of calls of this queue.")] = ""
    state: Stage | None = None
    limit: Limit = 200
    after: NameCursor = ""


class StreamPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stream."""

    pbx: Name
    stream: Name


class EndedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which streams that ended."""

    pbx: Text = ""
    profile: Text = ""
    queue: Text = ""
    cause: EndCause | None = None
    since: Annotated[Time | None, Meta(description="Ended at or after; without it, a day before `until`.")] = None
    until: Annotated[Time | None, Meta(description="Ended before; without it, until now.")] = None
    limit: Limit = 100
    after: CallCursor = ""


class StreamsApi:
    """Answers from the live streams, and from what is kept of those that ended.

    Args:
        streams: Those of a PBX that run, by id.
        live: The live state: whose calls they are.
        history: What is kept.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, streams: Callable[[str], Iterable[LiveStream]], live: Live, history: History, clock: Callable[[], float]
    ) -> None:
        self._streams = streams
        self._live = live
        self._history = history
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/streams", "list_streams", "Streams that run, by PBX and id", "streams", self._list,
                     StreamList, query=StreamsQuery, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/streams/{pbx}/{stream}", "get_stream", "A stream that runs", "streams", self._one,
                     StreamView, parameters=StreamPath, problems=(404,), right=Right.SEE),
            Endpoint("GET", "/history/streams", "list_finished_streams", "Streams that ended, the latest first",
                     "history", self._ended, StreamPage, query=EndedQuery, problems=(503,), right=Right.SEE),
        ]  # fmt: skip

    def seen(self, sight: Sight, pbx: str) -> Iterable[StreamView]:
        """Those of a PBX in scope."""
        state = state_of(self._live, pbx)
        for stream in self._streams(pbx):
            view = stream_view(state, stream)
            if sees_stream(sight, view):
                yield shown_stream(sight, view)

    async def _list(self, call: Call[Nothing, StreamsQuery, None]) -> StreamList:
        query = call.query
        found = (
            (f"{view.pbx}/{view.stream}", view)
            for state in states_of(self._live, query.pbx)
            for view in self.seen(call.sight, state.pbx)
            if (not query.profile or view.profile == query.profile)
            and (not query.queue or query.queue in view.queues)
            and (query.state is None or view.state is query.state)
        )
        page, following = page_of(found, query.after, query.limit)
        return StreamList(at=self._clock(), streams=tuple(page), next=following)

    async def _one(self, call: Call[StreamPath, Nothing, None]) -> StreamView:
        for view in self.seen(call.sight, call.path.pbx):
            if view.stream == call.path.stream:
                return view
        raise not_found(
            f"{call.path.pbx} has no stream {call.path.stream!r}.",
            "See /api/v1/streams for those that run, /api/v1/history/streams for those that ended.",
        )

    async def _ended(self, call: Call[Nothing, EndedQuery, None]) -> StreamPage:
        query, sight = call.query, call.sight
        since, until = span(query.since, query.until, self._clock())
        found = await available(
            self._history.streams(
                pbx=query.pbx,
                profile=query.profile,
                queue=query.queue,
                cause=query.cause.value if query.cause is not None else "",
                since=since,
                until=until,
                before=before(query.after),
                limit=query.limit + 1,
                within=None if sight.queues is None else Within(tuple(sorted(sight.queues))),
            )
        )
        page = found[: query.limit]
        return StreamPage(
            streams=tuple(finished_stream(record) for record in page),
            next=cursor(page[-1]) if len(found) > query.limit else "",
        )
