"""Profiles on real Asterisk: which calls get which bot, changed while calls come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.useragent import HOST

DIALPLAN = """
[from-phones](+)
; match_<number>: no profile is named, what is known of the call decides; the number is what the caller dialled
exten => _match_.,1,Set(CALLERID(dnid)=${EXTEN:6})
 same => n,Stasis(connector,,queue=sales,note=from the dialplan)
 same => n,Log(NOTICE,connector result: ${CONNECTOR_RESULT})
 same => n,Goto(mark,1)
; tag_<campaign>; no letter n, x or z may stand in a pattern, each means digits
exten => _tag_.,1,Set(CONNECTOR_CAMPAIGN=${EXTEN:4})
 same => n,Stasis(connector)
 same => n,Goto(mark,1)
"""

SIP_HEADERS = {"X-Customer": "gold-7", "X-UUI": "abc123"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pbx(make_asterisk: Callable[..., LabAsterisk]) -> AsyncIterator[LabAsterisk]:
    async with make_asterisk(phones=1, conf=LabConf(extensions=DIALPLAN)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    pbx: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[ConnectorProcess]:
    async with make_connector(beside=pbx, bots={}, outgoing={"allow_private": ["127.0.0.1"]}) as process:
        yield process


async def change(connector: ConnectorProcess, method: str, path: str, body: Any = None) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{connector.url}/api/v1/profiles{path}", json=body) as answer,
    ):
        assert answer.status < 300, await answer.text()
        return await answer.json() if answer.status != 204 else None


async def call_gets(bot: RecordingBot, phone: Phone, exten: str) -> dict[str, str]:
    """What the bot is told of a call."""
    after = len(bot.streams)
    call = await phone.call(exten, headers=SIP_HEADERS)
    stream = await bot.next_stream(after=after)
    await call.wait_answered()
    await stream.wait_for("media", count=5)
    await call.hang_up()
    parameters: dict[str, str] = stream.start["customParameters"]
    return parameters


async def call_gets_none(bot: RecordingBot, phone: Phone, exten: str) -> None:
    after = len(bot.streams)
    call = await phone.call(exten)
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    assert len(bot.streams) == after


async def test_what_is_known_of_a_call_decides_and_may_be_changed_while_calls_come(
    pbx: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot
) -> None:
    def settings(which: str, **more: Any) -> dict[str, Any]:
        return {"settings": {"url": bot.url, "parameters": {"which": which}, **more}}

    for name in ("number", "header", "rest", "campaign"):  # of a try before this one
        async with aiohttp.ClientSession() as session, session.delete(f"{connector.url}/api/v1/profiles/by_{name}"):
            pass
    async with Phone(0, "alice", (HOST, pbx.sip_port)) as phone:
        await call_gets_none(bot, phone, "match_4930")
        assert pbx.log_lines("connector result: ")[-1].endswith(" not_matched")

        await change(connector, "PUT", "/by_number", settings("number", match={"dids": ["4930*"]}))
        told = await call_gets(bot, phone, "match_4930123")
        assert (told["which"], told["to"], told["note"]) == ("number", "4930123", "from the dialplan")
        await call_gets_none(bot, phone, "match_4989")

        by_header = {"match": {"headers": {"X-Customer": "gold*"}}, "priority": 1, "sip_headers": ["X-UUI"]}
        await change(connector, "PUT", "/by_header", settings("header", **by_header))
        told = await call_gets(bot, phone, "match_4930123")
        assert (told["which"], told["X-UUI"]) == ("header", "abc123")
        await change(connector, "DELETE", "/by_header")

        rest = {"trunks": ["PJSIP/caller"], "queues": ["sales"], "directions": ["inbound"], "pbxs": ["main"]}
        await change(connector, "PUT", "/by_rest", settings("rest", match=rest))
        assert (await call_gets(bot, phone, "match_4989"))["which"] == "rest"

        await change(connector, "PUT", "/by_campaign", settings("campaign", match={"campaigns": ["spring"]}))
        assert (await call_gets(bot, phone, "tag_spring"))["which"] == "campaign"
        await call_gets_none(bot, phone, "tag_autumn")

        changed = await change(connector, "PUT", "/by_campaign", settings("campaign", enabled=False))
        assert changed["version"] == 2
        await call_gets_none(bot, phone, "tag_spring")

    # What was changed is there after a restart.
    await connector.stop()
    await connector.start()
    async with Phone(0, "alice", (HOST, pbx.sip_port)) as phone:
        assert (await call_gets(bot, phone, "match_4930123"))["which"] == "number"
    await until_nothing_left(pbx)
