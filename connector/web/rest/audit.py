"""What was done through the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from connector.web.ports import History
from connector.web.rest.endpoint import Call, Endpoint, Nothing
from connector.web.rest.fields import CallCursor, Limit, Text, Time
from connector.web.rest.history import available, before, cursor, span


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deeds."""

    actor: Annotated[Text, Meta(description="Done by this login or token.")] = ""
    action: Annotated[Text, Meta(description="Of this kind, such as person.add.")] = ""
    since: Annotated[Time | None, Meta(description="Done at or after; without it, from a day before `until`.")] = None
    until: Annotated[Time | None, Meta(description="Done before; without it, until now.")] = None
    limit: Limit = 100
    after: CallCursor = ""


class DeedView(msgspec.Struct, frozen=True, kw_only=True):
    """A deed.

    Attributes:
        at: When.
        actor: Who: name of a login or of the token; `anonymous` where neither is asked for.
        remote: Address it came from.
        action: What, such as person.add.
        target: To what.
        pbx: Where; empty where no PBX is concerned.
        result: ok, or why not.
        detail: More of it.
    """

    at: float
    actor: str
    remote: str
    action: str
    target: str
    pbx: str
    result: str
    detail: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deeds. `next` is empty on the last page."""

    deeds: tuple[DeedView, ...]
    next: str


class AuditApi:
    """Answers from what is kept.

    Args:
        history: What is kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        self._history = history
        self._clock = clock

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/audit", "list_audit", "What was done through the API, the latest first", "audit",
                     self._audit, AuditPage, query=AuditQuery, problems=(503,)),
        ]  # fmt: skip

    async def _audit(self, call: Call[Nothing, AuditQuery, None]) -> AuditPage:
        query = call.query
        since, until = span(query.since, query.until, self._clock())
        found = await available(
            self._history.audit(
                since=since,
                until=until,
                actor=query.actor,
                action=query.action,
                before=before(query.after),
                limit=query.limit + 1,
            )
        )
        page = found[: query.limit]
        return AuditPage(
            deeds=tuple(
                DeedView(
                    at=deed.at,
                    actor=deed.actor,
                    remote=deed.remote,
                    action=deed.action,
                    target=deed.target,
                    pbx=deed.pbx,
                    result=deed.result,
                    detail=deed.detail,
                )
                for deed in page
            ),
            next=cursor(page[-1]) if len(found) > query.limit else "",
        )
