"""All endpoints together, with the document that describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from connector.calls.acts import Acts
from connector.streams.book import ProfileBook
from connector.streams.seen import LiveStream
from connector.web.audit import Audit
from connector.web.auth.accounts import Accounts
from connector.web.hooks.webhooks import Webhooks
from connector.web.ports import Directory, Figures, History, Live, Probes
from connector.web.rest.accounts import AccountsApi
from connector.web.rest.actions import ActionsApi
from connector.web.rest.audit import AuditApi
from connector.web.rest.directory import DirectoryApi
from connector.web.rest.endpoint import PREFIX, add_to
from connector.web.rest.figures import FiguresApi
from connector.web.rest.history import HistoryApi
from connector.web.rest.listeners import ListenersApi
from connector.web.rest.live import LiveApi
from connector.web.rest.openapi import document
from connector.web.rest.orders import Bot, OrdersApi
from connector.web.rest.phones import PhonesApi
from connector.web.rest.probes import ProbesApi
from connector.web.rest.profiles import ProfilesApi
from connector.web.rest.recordings import RecordingsApi
from connector.web.rest.session import SessionApi
from connector.web.rest.state import StateApi
from connector.web.rest.streams import StreamsApi
from connector.web.rest.webhooks import WebhooksApi


class Api:
    """The API.

    Args:
        live: The live state.
        streams: The streams of a PBX that run.
        bot: The call of a stream, by PBX and id, where it is with a bot.
        figures: The figures by PBX.
        history: What is kept.
        directory: The people.
        probes: Connection tests.
        clock: Seconds since the epoch.
        webhooks: The webhooks.
        state: Everything as plain values, see `web.rest.state`.
        audit: Keeps what is done.
        profiles: The profiles.
        accounts: Who may.
        phones: What browser phones log in with.
        acts: What can be done, by PBX.
        recordings: Of calls.
        listeners: Servers that listen to calls.
        sso: Title of the single sign-on; empty for none.
    """

    def __init__(
        self,
        *,
        live: Live,
        streams: Callable[[str], Iterable[LiveStream]],
        bot: Callable[[str, str], Bot | None],
        figures: Mapping[str, Figures],
        history: History,
        directory: Directory,
        probes: Probes,
        clock: Callable[[], float],
        webhooks: Webhooks,
        state: Callable[[], dict[str, Any]],
        audit: Audit,
        profiles: ProfileBook,
        accounts: Accounts,
        phones: PhonesApi,
        acts: Mapping[str, Acts],
        recordings: RecordingsApi,
        listeners: ListenersApi,
        sso: str = "",
    ) -> None:
        self._audit = audit
        running = StreamsApi(streams, live, history, clock)
        self.endpoints = [
            *SessionApi(accounts, sso).endpoints(),
            *AccountsApi(accounts).endpoints(),
            *ActionsApi(acts).endpoints(),
            *StateApi(state).endpoints(),
            *LiveApi(live, history, clock).endpoints(),
            *recordings.endpoints(),
            *running.endpoints(),
            *OrdersApi(running.seen, bot).endpoints(),
            *listeners.endpoints(),
            *FiguresApi(figures, live, clock).endpoints(),
            *HistoryApi(history, live, clock).endpoints(),
            *AuditApi(history, clock).endpoints(),
            *DirectoryApi(directory, live).endpoints(),
            *phones.endpoints(),
            *ProbesApi(probes, live).endpoints(),
            *ProfilesApi(profiles).endpoints(),
            *WebhooksApi(webhooks).endpoints(),
        ]
        self.document: dict[str, Any] = document(self.endpoints)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Makes it reachable."""
        add_to(router, self.endpoints, self._audit)
        body = msgspec.json.format(msgspec.json.encode(self.document), indent=2)

        async def openapi(_request: web.Request) -> web.Response:
            return web.Response(body=body, content_type="application/json")

        router.add_get(f"{PREFIX}/openapi.json", openapi)
