"""RingCX's streaming profiles and media control on real Asterisk: what a server hears, and for how long."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

TOKEN = "token-of-the-laboratory"
AGENT_HZ, CALLER_HZ = 450, 1000
PRODUCT = "/media-distributor/product"
DIALOGS = "/voice/api/cx/integration/v1/accounts/37439510/sub-accounts/9999/dialogs"


async def ask(connector: ConnectorProcess, method: str, path: str, body: Any = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, connector.url + path, json=body) as answer,
    ):
        return answer.status, await answer.text()


async def next_stream(bot: RecordingBot, *, after: int) -> BotStream:
    """The next whose `Start` came; RingCX writes its events with capitals."""
    async with asyncio.timeout(10):
        while len(bot.streams) <= after:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await bot.streams[after].wait_for("Start")
    return bot.streams[after]


def tones(stream: BotStream) -> dict[str, float]:
    """What each perspective sounds like in its last half second."""
    heard: dict[str, bytes] = {}
    for each in stream.all("Media"):
        message = each.message
        heard[message["perspective"]] = heard.get(message["perspective"], b"") + base64.b64decode(message["media"])
    found = {name: dominant_tone(g711.ulaw_decode(audio[-4000:]), 8000) for name, audio in heard.items()}
    return {name: each.hz for name, each in found.items() if each.share > 0.9}


def about(heard: dict[str, float], wanted: dict[str, float]) -> bool:
    return heard.keys() == wanted.keys() and all(abs(heard[name] - hz) < 10 for name, hz in wanted.items())


async def test_a_product_streams_its_queue_and_media_control_any_call(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1))
        server = (HOST, pbx.sip_port)
        await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(AGENT_HZ), on_invite=Answer())
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        bot = await stack.enter_async_context(RecordingBot())
        products = {"queues": {"1234": "support"}, "any_url": True, "media_control": True}
        connector = await stack.enter_async_context(
            make_connector(
                beside=pbx,
                bots={},
                vendor_api={"ringcx": {"9999": {"secret": TOKEN}}, "ringcx_products": products},
                outgoing={"allow_private": [HOST]},
            )
        )
        product = {"productType": "QUEUE", "productId": 1234, "subAccountId": "9999", "streamingUrl": bot.url}
        status, text = await ask(connector, "POST", PRODUCT, product)
        assert status == 200, text

        call = await caller.call("support")
        stream = await next_stream(bot, after=0)
        start = (await stream.wait_for("Start")).message["metadata"]
        assert (start["productType"], start["productId"], start["subaccountId"]) == ("Queue", 1234, "9999")
        both: dict[str, float] = {"Participant": AGENT_HZ, "Conference": CALLER_HZ}
        await stream.wait_until(lambda now: about(tones(now), both), timeout_s=20)
        await until_heard(call, AGENT_HZ)

        # Another server listens to the same call, and then to one side of it, for as long as it is asked to.
        dialog = f"{DIALOGS}/{start['callId']}"
        wanted = {"url": bot.url, "streamId": "s1", "token": "t"}
        assert (await ask(connector, "POST", f"{dialog}/streams", wanted))[0] == 200
        whole = await next_stream(bot, after=1)
        await whole.wait_until(lambda now: about(tones(now), both), timeout_s=20)
        assert bot.upgrades[-1]["authorization"] == "Bearer t"
        assert (await ask(connector, "POST", f"{dialog}/streams", wanted))[0] == 409
        listeners = (await connector.get("/api/v1/listeners"))["listeners"]
        segment = next(each["uniqueid"] for each in listeners if each["profile"] != "ringcx_control")
        one = {"url": bot.url, "streamId": "s2"}
        assert (await ask(connector, "POST", f"{dialog}/segments/{segment}/streams", one))[0] == 200
        half = await next_stream(bot, after=2)
        await half.wait_until(lambda now: about(tones(now), {"Participant": AGENT_HZ}), timeout_s=20)
        for name, each in (("s1", whole), ("s2", half)):
            assert (await ask(connector, "DELETE", f"{dialog}/streams/{name}"))[0] == 200
            async with asyncio.timeout(10):
                await each.closed.wait()
        assert (await ask(connector, "DELETE", f"{dialog}/streams/s1"))[0] == 404
        assert (await ask(connector, "POST", f"{DIALOGS}/none/streams", wanted))[0] == 404
        assert not stream.closed.is_set(), "the product's own stream goes on"

        await call.hang_up()
        async with asyncio.timeout(10):
            await stream.closed.wait()
        assert {each.message["perspective"] for each in stream.all("Stop")} == {"Participant", "Conference"}
        await until_nothing_left(pbx)
