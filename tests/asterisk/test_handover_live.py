"""What a bot asks for, on real Asterisk: the agent who answers has the bot's summary, a place in the queue is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio
from aiohttp import web

from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.raw_bot import RawBot, RawStream
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

AGENT_HZ = 450
CALLER_HZ = 1000
DIALPLAN = """
[from-phones](+)
exten => two-stages,1,Gosub(connector-bot,s,1(first))
 same => n,Gosub(connector-bot,s,1(second))
 same => n,Goto(mark,1)
; out of the queue by key, to the bot
exten => leave,1,Answer()
 same => n,Queue(keyed)
 same => n,Hangup()
exten => 700,1,Answer()
 same => n,PlayTones(700)
 same => n,Wait(30)
[queue-exit]
exten => 2,1,Gosub(connector-bot,s,1(first))
 same => n,Hangup()
"""


class Desk:
    """A PBX with an agent and a caller, two bots, and a program that is told by webhook."""

    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, agent: Phone, caller: Phone, bot: RawBot) -> None:
        self.pbx, self.connector, self.agent, self.caller, self.bot = pbx, connector, agent, caller, bot
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    async def begin(self, exten: str) -> tuple[Call, RawStream]:
        after = len(self.bot.streams)
        call = await self.caller.call(exten)
        stream = await self.bot.next_stream(after=after)
        await stream.wait_for("start")
        return call, stream


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[Desk]:
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        told.put_nowait(await request.json())
        return web.Response()

    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    hook = {
        "url": f"http://{HOST}:{runner.addresses[0][1]}/",
        "secret": "0123456789abcdef",
        "allow_private": True,
        "events": ["call-handed-over"],
    }
    raw = {"name": "raw", "encoding": "pcmu"}
    allow = ["queue:*", "profile:*", "hangup", "extension:7*"]
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        conf = LabConf(extensions=DIALPLAN)
        pbx = await stack.enter_async_context(make_asterisk(phones=1, conf=conf))
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(AGENT_HZ), on_invite=Answer())
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        bot = await stack.enter_async_context(RawBot())
        connector = await stack.enter_async_context(
            make_connector(
                beside=pbx,
                bots={"first": bot.url, "second": bot.url},
                profile={
                    "first": {"dialect": raw, "handover": {"allow": allow}, "parameters": {"stage": "first"}},
                    "second": {
                        "dialect": raw,
                        "parameters": {"stage": "second"},
                        "reconnect": {"attempts": 1, "meanwhile": "music"},
                        "handover": {"on_failure": "extension:700@from-phones"},
                    },
                },
                webhook={"desktop": hook},
                webhook_outbox=str(pbx.folder / "hooks.sqlite"),
            )
        )
        made = Desk(pbx, connector, agent, caller, bot)
        made.told = told
        yield made


async def test_the_agent_who_answers_has_the_bots_summary(desk: Desk) -> None:
    rung = sum(each.incoming for each in desk.agent.calls.values())
    call, stream = await desk.begin("bot_first")
    await stream.wait_for_audio(1600)
    summary = "wants a refund for 4711; Grüße, ${EXTEN}"
    await stream.say("transfer", target="queue:support", summary=summary, headers={"Ticket": "7", "Mood": "calm"})
    at_agent = await desk.agent.next_call(after=rung)
    invite = at_agent.invite_headers
    assert invite["x-connector-summary"] == summary
    assert (invite["x-ticket"], invite["x-mood"]) == ("7", "calm")
    await until_heard(call, AGENT_HZ)
    await until_heard(at_agent, CALLER_HZ)
    assert (await stream.wait_for("transfer"))["state"] == "started"
    async with asyncio.timeout(10):
        await stream.closed.wait()
    channels = (await desk.pbx.cli("core show channels concise")).splitlines()
    name = next(line.split("!")[0] for line in channels if "PJSIP/caller" in line)
    shown = await desk.pbx.cli(f"core show channel {name}")
    assert f"CONNECTOR_SUMMARY={summary}" in shown
    assert "CONNECTOR_RESULT=handed_over" in shown
    async with asyncio.timeout(10):
        told = await desk.told.get()
    assert (told["event"], told["queue"]) == ("call-handed-over", "support")
    assert told["data"]["summary"] == summary
    assert [each["interface"] for each in told["recipients"]] == ["PJSIP/agent1"]
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_what_a_bot_may_not_do_is_told_to_it_and_the_call_goes_on(desk: Desk) -> None:
    call, stream = await desk.begin("bot_first")
    await stream.say("transfer", target="extension:0900@from-phones")
    answer = await stream.wait_for("transfer")
    assert (answer["state"], "handover.allow" in answer["reason"]) == ("failed", True)
    await stream.wait_for_audio(8000)
    await stream.say("transfer", target="extension:700@from-phones")
    await until_heard(call, 700)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_a_place_that_does_not_exist_leaves_the_call_in_the_dialplan(desk: Desk) -> None:
    call, stream = await desk.begin("bot_first")
    await stream.say("transfer", target="extension:799@nowhere")
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_a_bot_hangs_up(desk: Desk) -> None:
    call, stream = await desk.begin("bot_first")
    await stream.say("hang_up", reason="done")
    async with asyncio.timeout(10):
        await call.ended.wait()
    await until_nothing_left(desk.pbx)


async def test_stages_of_a_call_have_each_their_bot(desk: Desk) -> None:
    call, first = await desk.begin("two-stages")
    after = len(desk.bot.streams)
    await first.close()
    second = await desk.bot.next_stream(after=after)
    told = [await stream.wait_for("start") for stream in (first, second)]
    assert [each["parameters"]["stage"] for each in told] == ["first", "second"]
    assert told[0]["call"] == told[1]["call"]
    await second.wait_for_audio(1600)
    await second.close()
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_one_bot_hands_over_to_another(desk: Desk) -> None:
    call, first = await desk.begin("bot_first")
    after = len(desk.bot.streams)
    await first.say("transfer", target="profile:second")
    second = await desk.bot.next_stream(after=after)
    start = await second.wait_for("start")
    assert start["parameters"]["stage"] == "second"
    await second.wait_for_audio(1600)
    await second.close()
    await until_heard(call, MARK_HZ)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_a_connection_that_breaks_is_dialled_again_and_the_second_time_the_call_goes_on(desk: Desk) -> None:
    call, first = await desk.begin("bot_second")
    await first.wait_for_audio(1600)
    after = len(desk.bot.streams)
    first.drop()
    second = await desk.bot.next_stream(after=after)
    again = await second.wait_for("reconnected")
    assert (again["attempt"], again["gap_ms"] >= 0) == (1, True)
    await second.wait_for_audio(8000)
    second.drop()
    await until_heard(call, 700)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_who_came_out_of_a_queue_goes_back_to_the_place_of_before(desk: Desk) -> None:
    waiting: list[Call] = []
    try:
        for number in (1, 2, 3):
            waiting.append(await (await desk.caller.call("leave")).wait_answered())
            await _until_waiting(desk, number)
        after = len(desk.bot.streams)
        await waiting[1].send_digits("2")
        stream = await desk.bot.next_stream(after=after)
        await stream.wait_for("start")
        await _until_waiting(desk, 2)
        await stream.say("transfer", target="queue:keyed")
        # The last to join stands second, where it stood before; the places of the others are told after its own.
        await _until_waiting(desk, 3, lambda joined: joined.index(max(joined)) == 1)
    finally:
        for call in waiting:
            await call.hang_up()
    await until_nothing_left(desk.pbx)


async def _until_waiting(desk: Desk, count: int, holds: Callable[[list[float]], bool] = lambda _: True) -> None:
    def waits(pbx: dict[str, Any]) -> bool:
        callers = next(each for each in pbx["queues"] if each["name"] == "keyed")["callers"]
        return len(callers) == count and holds([caller["joined_at"] for caller in callers])

    await desk.connector.until(waits, timeout_s=20.0)
