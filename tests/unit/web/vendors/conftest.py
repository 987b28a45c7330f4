"""The vendors' interfaces before calls that only say what they were told to do."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from connector.config import Settings
from connector.config_profiles import ProfileSettings
from connector.dialects.commands import Command, Transfer
from connector.media.control import EndCause
from connector.net.credentials import Secrets
from connector.net.fetch import Fetcher
from connector.records import AuditRecord
from connector.streams.book import ProfileBook
from connector.streams.botcall import BotCall
from connector.streams.handover import Place, asked_handover
from connector.telemetry.vendors import VendorCounters
from connector.web.audit import Audit
from connector.web.vendors.build import VendorApis

SECRET = "a-secret-of-the-test"


class Bot:
    """A call with a bot as far as the interfaces use it; `orders` is what it was told."""

    def __init__(self, dialect: dict[str, Any], channel_id: str) -> None:
        self.profile = ProfileSettings.model_validate({"url": "wss://bot.example/", "dialect": dialect})
        self.call = BotCall(
            pbx="main",
            channel_id=channel_id,
            stream_id=f"stream-{channel_id}",
            profile="support",
            place=Place(context="in", extension="100", priority=1),
            caller={"from": "+491", "fromName": "Anna"},
        )
        self.orders: list[Command] = []
        self.stopped: list[EndCause] = []

    async def order(self, command: Command, *, trusted: bool = True) -> None:
        assert not trusted, "a bot may by REST no more than in its own protocol"
        if isinstance(command, Transfer):
            asked_handover(self.profile.handover, command, trusted=trusted)
        self.orders.append(command)

    def stop(self, cause: EndCause) -> None:
        self.stopped.append(cause)


class Vendors:
    """A server with these interfaces.

    Attributes:
        calls: With bots; add to it.
        deeds: What was audited.
    """

    def __init__(self, vendor_api: dict[str, Any], *, book: ProfileBook | None = None, **sections: Any) -> None:
        self.calls: dict[str, Bot] = {}
        self.deeds: list[AuditRecord] = []
        self.now_s = 1_000.0
        self.registry = CollectorRegistry()
        settings = Settings.model_validate(
            {
                "pbx": {"main": {"ami": {"secret": "x"}, "ari": {"password": "x"}}},
                "vendor_api": vendor_api,
                "outgoing": {"allow_private": ["127.0.0.1"]},
                **sections,
            }
        )
        manager: Any = SimpleNamespace(calls=self.calls, taps=SimpleNamespace(active={}), listeners=None)
        no_book: Any = SimpleNamespace(profiles={})
        self.book: ProfileBook = no_book if book is None else book
        application = web.Application()
        VendorApis(
            settings,
            managers={"main": manager},
            book=self.book,
            audit=Audit(self.deeds.append, clock=time.time),
            secrets=Secrets({"CONNECTOR_SECRET_PLIVO": SECRET}, None),
            fetcher=Fetcher(max_answer_bytes=65_536),
            counters=VendorCounters(self.registry),
            monotonic=lambda: self.now_s,
            clock=time.time,
            states=dict,
        ).add_to(application.router)
        self.server = TestServer(application)

    def add(self, dialect: str, channel_id: str = "1.1", **options: Any) -> Bot:
        bot = Bot({"name": dialect, **options}, channel_id)
        self.calls[channel_id] = bot
        return bot

    async def ask(
        self, method: str, path: str, *, login: str = "", bearer: str = "", secret: str = SECRET, **kwargs: Any
    ) -> tuple[int, Any]:
        """Status, and the JSON of the answer, None where there is no body."""
        headers = dict(kwargs.pop("headers", {}))
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{login}:{secret}".encode()).decode()
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.server.make_url(path), headers=headers, **kwargs) as answer,
        ):
            raw = await answer.read()
            return answer.status, (await answer.json() if raw and answer.content_type == "application/json" else None)


MakeVendors = Callable[..., Awaitable[Vendors]]


@pytest.fixture
async def make_vendors() -> AsyncIterator[MakeVendors]:
    """Starts servers, ends them."""
    running: list[Vendors] = []

    async def make(vendor_api: dict[str, Any], **sections: Any) -> Vendors:
        vendors = Vendors(vendor_api, **sections)
        await vendors.server.start_server()
        running.append(vendors)
        return vendors

    yield make
    await asyncio.gather(*(vendors.server.close() for vendors in running))
