"""What a bot asks for, on real Asterisk: the agent who answers has the bot's summary, a place in the queue is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from connector.audio.g711 import ulaw_encode
from connector.audio.tone import dominant_tone, sine
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, is_loud, until_heard, until_nothing_left
from connector.lab.raw_bot import RawBot, RawStream
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

AGENT_HZ = 450
CALLER_HZ = 1000
MUSIC_HZ = 1150
PATIENT = {"connect_timeout_ms": 10_000, "dial_timeout_ms": 20_000}
"""A bot may take its time in the middle of a call."""
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


def sound(pbx: LabAsterisk, hz: int) -> str:
    """A second of a tone as a file; gives its name as Asterisk plays it."""
    file = pbx.folder / "moh" / f"tone-{hz}.ulaw"
    file.write_bytes(ulaw_encode(sine(hz, 8000, rate_hz=8000)).tobytes())
    return pbx.inside(file).removesuffix(".ulaw")


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
        (pbx.folder / "moh" / "silence.ulaw").unlink()
        await asyncio.to_thread(sound, pbx, MUSIC_HZ)
        await pbx.cli("moh reload")
        sounds = {name: await asyncio.to_thread(sound, pbx, hz) for name, hz in (("caller", 600), ("agent", 850))}
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(AGENT_HZ), on_invite=Answer())
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        bot = await stack.enter_async_context(RawBot())
        connector = await stack.enter_async_context(
            make_connector(
                beside=pbx,
                bots={"first": bot.url, "second": bot.url, "sip": bot.url, "quiet": bot.url},
                profile={
                    "first": {"dialect": raw, "handover": {"allow": allow}, "parameters": {"stage": "first"}},
                    "second": {
                        "dialect": raw,
                        "parameters": {"stage": "second"},
                        "reconnect": {"attempts": 1, "meanwhile": "music"},
                        "handover": {"on_failure": "extension:700@from-phones"},
                        **PATIENT,
                    },
                    "quiet": {"dialect": raw, "reconnect": {"attempts": 1, "meanwhile": "silence"}, **PATIENT},
                    "sip": {
                        "dialect": raw,
                        "handover": {
                            "allow": ["sip:*", "queue:*"],
                            "sip_endpoint": "agent1",
                            "announce": sounds["caller"],
                            "announce_agent": sounds["agent"],
                        },
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


async def test_a_bot_that_was_handed_a_call_sends_it_back_to_where_it_began(desk: Desk) -> None:
    call, first = await desk.begin("bot_first")
    after = len(desk.bot.streams)
    await first.say("transfer", target="profile:second")
    second = await desk.bot.next_stream(after=after)
    await second.wait_for_audio(1600)
    # Nobody is there: from the context that hands over the call goes back to the line after the first Stasis().
    await second.say("transfer", target="queue:empty")
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


@pytest.mark.parametrize(("profile", "hears_music"), [("second", True), ("quiet", False)])
async def test_what_the_caller_hears_until_the_bot_is_there_again(desk: Desk, profile: str, hears_music: bool) -> None:
    call, first = await desk.begin(f"bot_{profile}")
    await first.wait_for_audio(1600)
    after, packets = len(desk.bot.streams), len(call.rtp.received)
    desk.bot.takes.clear()
    try:
        first.drop()
        if hears_music:
            await until_heard(call, MUSIC_HZ)
        else:
            await asyncio.sleep(1.0)  # nobody speaks in the bridge, so nothing comes that could be waited for
            assert not any(is_loud(packet) for packet in list(call.rtp.received)[packets:])
    finally:
        desk.bot.takes.set()
    second = await desk.bot.next_stream(after=after)
    assert (await second.wait_for("reconnected"))["gap_ms"] > 0
    await second.wait_for_audio(1600)
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


async def order(desk: Desk, what: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """Orders something of the only stream there is, by REST."""
    streams = f"{desk.connector.url}/api/v1/streams"
    async with aiohttp.ClientSession() as session:
        async with session.get(streams) as answer:
            (stream,) = (await answer.json())["streams"]
        async with session.post(f"{streams}/main/{stream['stream']}/{what}", json=body) as answer:
            return answer.status, await answer.json()


async def test_a_bot_goes_by_rest_to_a_sip_address_announced_to_both(desk: Desk) -> None:
    rung = sum(each.incoming for each in desk.agent.calls.values())
    call, stream = await desk.begin("bot_sip")
    await stream.wait_for_audio(1600)
    target = f"sip:desk@{HOST}:{desk.pbx.ports.phones[0]}"
    headers = {"X-Ticket": "7", "X-Mood": "calm", "X-Lang": "x" * 150}
    status, answer = await order(desk, "hand-over", target=target, summary="wants a refund", headers=headers)
    assert (status, answer["outcome"], answer["detail"]) == (200, "done", f"the call went to {target}")
    await until_heard(call, 600)
    at_agent = await desk.agent.next_call(after=rung)
    invite = at_agent.invite_headers
    assert invite["x-connector-summary"] == "wants a refund"
    assert {name: invite[name.lower()] for name in headers} == headers
    assert "alice" in invite["from"], "the caller's number goes with the call"
    await until_heard(at_agent, 850)
    await until_heard(at_agent, CALLER_HZ)
    await until_heard(call, AGENT_HZ)
    async with asyncio.timeout(10):
        await stream.closed.wait()
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_what_cannot_be_ordered_is_refused_and_a_blind_hand_over_is_not_announced(
    desk: Desk,
) -> None:
    rung = sum(each.incoming for each in desk.agent.calls.values())
    call, stream = await desk.begin("bot_sip")
    await stream.wait_for_audio(1600)
    for wrong in (
        {"headers": {"X-Exotel-Id": "1"}},
        {"headers": {"X-Long": "x" * 200}},
        {"target": "queue:a,b"},
        {"target": "nowhere"},
    ):
        status, problem = await order(desk, "hand-over", **{"target": "queue:support", **wrong})
        assert (status, problem["type"].rpartition("/")[2].rpartition(":")[2]) == (422, "bad-hand-over"), problem
    await stream.wait_for_audio(1600)
    status, _ = await order(desk, "hand-over", target="queue:support", blind=True)
    assert status == 200
    at_agent = await desk.agent.next_call(after=rung)
    await until_heard(call, AGENT_HZ)
    heard = at_agent.rtp.audio()
    assert dominant_tone(heard[:8000], 8000).hz != pytest.approx(850, abs=20)
    await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_a_call_ends_by_rest(desk: Desk) -> None:
    call, stream = await desk.begin("bot_first")
    await stream.wait_for_audio(1600)
    assert (await order(desk, "hang-up"))[0] == 409, "only when confirmed"
    assert (await order(desk, "hang-up", confirm=True))[0] == 200
    async with asyncio.timeout(10):
        await call.ended.wait()
    await until_nothing_left(desk.pbx)


async def _until_waiting(desk: Desk, count: int, holds: Callable[[list[float]], bool] = lambda _: True) -> None:
    def waits(pbx: dict[str, Any]) -> bool:
        callers = next(each for each in pbx["queues"] if each["name"] == "keyed")["callers"]
        return len(callers) == count and holds([caller["joined_at"] for caller in callers])

    await desk.connector.until(waits, timeout_s=20.0)
