"""Agent assist on real Asterisk: who listens hears agent and caller from the answer to the end, and nothing before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Answer, Phone, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.raw_bot import RawBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST


async def test_each_agent_of_a_call_is_a_session_and_waiting_is_none(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> None:
    raw = {"name": "raw", "encoding": "pcmu"}
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1))
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(450), on_invite=RingForever())
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(1000)))
        bot = await stack.enter_async_context(RawBot())
        connector = await stack.enter_async_context(
            make_connector(
                beside=pbx,
                bots={"ears": bot.url, "others": bot.url},
                profile={
                    "ears": {"mode": "assist", "dialect": raw, "match": {"queues": ["support"]}},
                    "others": {"mode": "assist", "dialect": raw, "match": {"queues": ["sales"]}},
                },
            )
        )
        call = await caller.call("support")
        await agent.next_call()
        assert bot.streams == [], "nobody listens while the caller waits"
        agent.on_invite = Answer()
        at_agent = await agent.next_call(after=1)
        stream = await bot.next_stream(after=0)
        start = await stream.wait_for("start")
        assert start["two_way"] is False
        assert (start["parameters"]["queue"], start["parameters"]["from"]) == ("support", "alice")
        await stream.wait_for_audio(16_000)
        await until_heard(call, 450)
        await until_heard(at_agent, 1000)
        await at_agent.hang_up()
        async with asyncio.timeout(10):
            for each in bot.streams:
                await each.closed.wait()
        tracks = {track for each in bot.streams for track in (await each.wait_for("start"))["tracks"]}
        assert tracks == {"agent", "caller"}
        await call.hang_up()
        await until_nothing_left(pbx)
        ended = await connector.metric("connector_streams_total", pbx="main", profile="ears", cause="call_ended")
        assert ended == len(bot.streams)
