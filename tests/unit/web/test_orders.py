"""Orders for calls that are with bots: who may give which, and what comes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from connector.access.rights import Role
from connector.asterisk.ari import AriError
from connector.config_profiles import HandoverSettings
from connector.dialects.commands import Command, HangUp, Transfer
from connector.media.control import EndCause
from connector.streams.botcall import Ending
from connector.streams.handover import Handover, OnItsWay, asked_handover
from connector.web.rest import orders
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site
from tests.unit.web.test_scope import house
from tests.unit.web.test_streams import ALPHA, BETA


class Bot:
    """A call with a bot, whose profile lets it into the queues beta alone."""

    def __init__(self, *, leaves: bool = True) -> None:
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.orders: list[Command] = []
        self.refuses: Exception | None = None
        self._leaves = leaves

    async def order(self, command: Command, *, trusted: bool = True) -> None:
        if self.refuses is not None:
            raise self.refuses
        cause, handover = EndCause.BOT_HUNG_UP, Handover()
        if isinstance(command, Transfer):
            cause = EndCause.HANDED_OVER
            handover = asked_handover(HandoverSettings(allow=("queue:beta",)), command, trusted=trusted)
        self.orders.append(command)
        if self._leaves:
            self.ending.set_result(Ending(cause, "", handover))


async def made(make_site: MakeSite, bot: Bot) -> Site:
    site = await make_site(house(), anonymous="")
    site.streams = [ALPHA, BETA]
    site.bots = {"stream-a": bot}
    return site


async def order(site: Site, path: str, headers: dict[str, str], **body: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{site.url}/api/v1/streams/main/{path}", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_supervisor_sends_calls_to_own_queues_and_where_the_bot_may(make_site: MakeSite) -> None:
    bot = Bot(leaves=False)
    site = await made(make_site, bot)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    for target in ("queue:gamma", "extension:0900@out", "sip:a@b.example"):
        status, problem = await order(site, "stream-a/hand-over", headers, target=target)
        assert (status, "handover.allow" in problem["detail"]) == (422, True), problem
    bot.ending.set_result(Ending(EndCause.HANDED_OVER, "", Handover()))
    for target in ("queue:alpha", "queue:beta"):
        assert (await order(site, "stream-a/hand-over", headers, target=target, summary="s"))[0] == 200
    assert bot.orders == [Transfer("queue:alpha", summary="s"), Transfer("queue:beta", summary="s")]
    assert [(deed.action, deed.target, deed.result) for deed in site.deeds[-2:]] == [
        ("stream.hand-over", "stream-a", "ok"),
        ("stream.hand-over", "stream-a", "ok"),
    ]


async def test_an_administrator_sends_them_anywhere(make_site: MakeSite) -> None:
    bot = Bot()
    site = await made(make_site, bot)
    headers = await site.token(Role.ADMIN)
    status, answer = await order(site, "stream-a/hand-over", headers, target="extension:7@out", blind=True)
    assert (status, answer["outcome"], answer["detail"]) == (200, "done", "the call went to extension:7@out")
    assert bot.orders == [Transfer("extension:7@out", blind=True)]


async def test_who_may_not(make_site: MakeSite) -> None:
    bot = Bot()
    site = await made(make_site, bot)
    viewer = await site.token(Role.VIEWER, queues=("alpha",))
    assert (await order(site, "stream-a/hand-over", viewer, target="queue:alpha"))[0] == 403
    foreign = await site.token(Role.SUPERVISOR, queues=("beta",))
    assert (await order(site, "stream-a/hand-over", foreign, target="queue:beta"))[0] == 404
    assert (await order(site, "stream-b/hand-over", foreign, target="queue:beta"))[0] == 409, "it only listens"
    assert (await order(site, "nobody/hang-up", foreign, confirm=True))[0] == 404
    assert not bot.orders


async def test_a_call_ends_when_that_is_confirmed(make_site: MakeSite) -> None:
    bot = Bot()
    site = await made(make_site, bot)
    headers = await site.token(Role.SUPERVISOR, queues=("alpha",))
    assert (await order(site, "stream-a/hang-up", headers))[0] == 409
    assert (await order(site, "stream-a/hang-up", headers, confirm=True, reason="rude"))[0] == 200
    assert bot.orders == [HangUp("rude")]


async def test_what_does_not_come_about_is_said(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = Bot(leaves=False)
    site = await made(make_site, bot)
    headers = await site.token(Role.ADMIN)
    bot.refuses = OnItsWay("the call is on its way already: queue:alpha")
    assert (await order(site, "stream-a/hand-over", headers, target="queue:beta"))[0] == 422
    bot.refuses = AriError("POST", "/channels", 500, "no")
    assert (await order(site, "stream-a/hand-over", headers, target="queue:beta"))[0] == 502
    bot.refuses = None
    monkeypatch.setattr(orders, "CONFIRM_S", 0.01)
    status, answer = await order(site, "stream-a/hand-over", headers, target="queue:beta")
    assert (status, answer["outcome"]) == (200, "unknown")
    bot.ending.set_result(Ending(EndCause.CALLER_HUNG_UP, "", Handover()))
    status, problem = await order(site, "stream-a/hand-over", headers, target="queue:beta")
    assert (status, "caller_hung_up" in problem["detail"]) == (409, True)
