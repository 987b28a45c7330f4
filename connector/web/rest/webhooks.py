"""How the webhooks stand, and their dead letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from connector.web.hooks.outbox import Delivery
from connector.web.hooks.sender import Verdict
from connector.web.hooks.webhooks import Webhooks
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Limit, Name
from connector.web.rest.problems import Refused, not_found

T = TypeVar("T")


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint.

    Attributes:
        host: Where it goes; the rest of the address may hold secrets.
        pending: Deliveries that wait.
        oldest_at: When the oldest of them was put in.
        dead: Deliveries given up.
        delivered: Attempts that went well since the start.
        failed: Attempts that did not.
        dropped: Deliveries that did not fit.
        last_error: Of the last attempt; empty if it went well.
        last_delivered_at: None if nothing was delivered since the start.
    """

    name: str
    host: str
    pending: int
    oldest_at: float | None
    dead: int
    delivered: int
    failed: int
    dropped: int
    last_error: str
    last_delivered_at: float | None


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """All endpoints."""

    webhooks: tuple[WebhookView, ...]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that was given up; `body` is what was to be posted."""

    sequence: int
    id: str
    event: str
    made_at: float
    attempts: int
    error: str
    body: msgspec.Raw


class DeadLetterList(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters in order. `next` is 0 on the last page."""

    dead_letters: tuple[DeadLetter, ...]
    next: int


class Revived(msgspec.Struct, frozen=True, kw_only=True):
    """How many are tried once more."""

    revived: int


class WebhookPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One endpoint."""

    webhook: Name


class LettersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters."""

    limit: Limit = 100
    after: Annotated[int, Meta(ge=0, le=2**53, description="`next` of the page before.")] = 0


class WebhooksApi:
    """Answers from the webhooks.

    Args:
        webhooks: All of them.
    """

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/webhooks", "list_webhooks", "Webhooks and how they stand", "webhooks", self._list,
                     WebhookList, problems=(503,)),
            Endpoint("GET", "/webhooks/{webhook}/dead-letters", "list_dead_letters", "Deliveries given up", "webhooks",
                     self._letters, DeadLetterList, parameters=WebhookPath, query=LettersQuery, problems=(404, 503)),
            Endpoint("POST", "/webhooks/{webhook}/revive", "revive_dead_letters", "Try those given up once more",
                     "webhooks", self._revive, Revived, parameters=WebhookPath, problems=(404, 503),
                     deed=Deed("webhook.revive", lambda call: call.path.webhook)),
        ]  # fmt: skip

    async def _list(self, call: Call[Nothing, Nothing, None]) -> WebhookList:
        views = []
        for name, settings in sorted(self._webhooks.settings.items()):
            backlog = await _read(self._webhooks.use(lambda outbox, name=name: outbox.backlog(name)))  # type: ignore[misc]
            stats = self._webhooks.stats[name]
            views.append(
                WebhookView(
                    name=name,
                    host=urlsplit(settings.url).netloc,
                    pending=backlog.pending,
                    oldest_at=backlog.oldest_at,
                    dead=backlog.dead,
                    delivered=stats.attempts[Verdict.DELIVERED],
                    failed=stats.attempts[Verdict.RETRY] + stats.attempts[Verdict.DEAD],
                    dropped=stats.dropped,
                    last_error=stats.last_error,
                    last_delivered_at=stats.last_delivered_at,
                )
            )
        return WebhookList(webhooks=tuple(views))

    async def _letters(self, call: Call[WebhookPath, LettersQuery, None]) -> DeadLetterList:
        name, query = self._known(call.path.webhook), call.query
        found = await _read(self._webhooks.use(lambda outbox: outbox.dead_letters(name, query.after, query.limit + 1)))
        page = found[: query.limit]
        return DeadLetterList(
            dead_letters=tuple(_letter(each) for each in page), next=page[-1].seq if len(found) > query.limit else 0
        )

    async def _revive(self, call: Call[WebhookPath, Nothing, None]) -> Revived:
        return Revived(revived=await _read(self._webhooks.revive(self._known(call.path.webhook))))

    def _known(self, name: str) -> str:
        if name not in self._webhooks.settings:
            raise not_found(f"There is no webhook {name!r}.", "See /api/v1/webhooks for those there are.")
        return name


def _letter(delivery: Delivery) -> DeadLetter:
    return DeadLetter(
        sequence=delivery.seq,
        id=delivery.id,
        event=delivery.event,
        made_at=delivery.made_at,
        attempts=delivery.attempts,
        error=delivery.error,
        body=msgspec.Raw(delivery.body),
    )


async def _read(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (sqlite3.Error, OSError) as error:
        raise Refused(
            503,
            "unavailable",
            "The outbox of the webhooks cannot be read.",
            cause=str(error),
            remedy="Look at webhook_outbox and its disk.",
        ) from None
