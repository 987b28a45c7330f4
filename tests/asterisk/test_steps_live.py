"""Passthru and Connect on real Asterisk: a server decides where calls go and whom they ring."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio
from aiohttp import web

from connector.audio.g711 import ulaw_encode
from connector.audio.tone import dominant_tone, sine
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone, Reject, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.proof import MARK_HZ, until_heard, until_nothing_left
from connector.lab.raw_bot import RawBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

CALLER_HZ = 1000
AGENT_HZ = (450, 550)
DIALPLAN = "".join(
    f"""
[from-phones](+)
exten => {hz},1,Answer()
 same => n,PlayTones({hz})
 same => n,Wait(30)
"""
    for hz in (700, 800, 900)
)


class Server:
    """Answers as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answers: dict[str, list[Any]] = {}
        """By path: statuses, or JSON, or an event that is waited for; the last one again and again."""
        self.headers: dict[str, str] = {}
        self.url = ""
        self._more = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.Response:
        content = await request.json() if request.method == "POST" else None
        self.asked.append((request.path, dict(request.query), content))
        self.headers = dict(request.headers)
        self._more.set()
        answers = self.answers[request.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = 200
        return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        self.url = f"http://{HOST}:{runner.addresses[0][1]}"
        yield
        await runner.cleanup()

    def of(self, path: str) -> list[dict[str, str]]:
        """The queries of a path."""
        return [query for asked, query, _ in self.asked if asked == path]

    async def until(self, path: str, count: int) -> list[dict[str, str]]:
        async with asyncio.timeout(10):
            while len(self.of(path)) < count:
                self._more.clear()
                await self._more.wait()
        return self.of(path)


class Desk:
    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, phones: list[Phone], bot: RawBot) -> None:
        self.pbx, self.connector, self.bot = pbx, connector, bot
        self.caller, *self.agents = phones
        self.server: Server

    def agents_do(self, *what: Any) -> None:
        for agent, each in zip(self.agents, what, strict=True):
            agent.on_invite = each

    def rung(self, number: int) -> int:
        return sum(each.incoming for each in self.agents[number].calls.values())

    def answers(self, path: str, *answers: Any) -> None:
        self.server.answers[path] = list(answers)
        self.server.asked.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[Desk]:
    server = Server()
    places = {f"on_{status}": f"extension:{hz}@from-phones" for status, hz in ((200, 700), (302, 800))}
    places["otherwise"] = "extension:900@from-phones"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server.serving())
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=LabConf(extensions=DIALPLAN)))
        sip = (HOST, pbx.sip_port)
        phones = [await stack.enter_async_context(Phone(0, "alice", sip, source=tone_source(CALLER_HZ)))]
        for number, (port, hz) in enumerate(zip(pbx.ports.phones, AGENT_HZ, strict=True), start=1):
            phone = Phone(port, f"agent{number}", sip, source=tone_source(hz), on_invite=Answer())
            phones.append(await stack.enter_async_context(phone))
        bot = await stack.enter_async_context(RawBot())

        def passthru(path: str, **more: Any) -> dict[str, Any]:
            settings = {"timeout_ms": 1_000, "custom_field": "gold", **places, **more}
            return {"url": f"{server.url}/{path}", "mode": "passthru", "passthru": settings}

        raw = {"name": "raw", "encoding": "pcmu"}
        profile = {
            "decide": passthru("decide"),
            "decide_json": passthru("decide", request="get_json"),
            "decide_post": passthru("decide", request="post_after"),
            "tell": passthru("tell", wait=False, on_200="dialplan"),
            "before": passthru("before", request="post_before", on_200="profile:bot", otherwise="hangup"),
            "bot": {"dialect": raw, "record": True, "handover": {"on_close": "profile:decide", "allow": ["profile:*"]}},
            "connect": {
                "url": f"{server.url}/connect",
                "mode": "connect",
                "connect": {
                    "dial": "PJSIP/{number}",
                    "trunks": {"trunk-1": "PJSIP/agent1"},
                    "fallback_url": f"{server.url}/fallback",
                    "timeout_ms": 1_000,
                },
            },
        }
        bots = {name: bot.url if name == "bot" else settings["url"] for name, settings in profile.items()}
        connector = await stack.enter_async_context(
            make_connector(beside=pbx, bots=bots, profile=profile, outgoing={"allow_private": [HOST]})
        )
        made = Desk(pbx, connector, phones, bot)
        made.server = server
        yield made


async def ended(desk: Desk, *calls: Call) -> None:
    for call in calls:
        await call.hang_up()
    await until_nothing_left(desk.pbx)


async def test_an_answer_says_where_the_call_goes(desk: Desk) -> None:
    for answer, hz in ((200, 700), (302, 800), (503, 900), (asyncio.Event(), 900)):
        desk.answers("/decide", answer)
        call = await desk.caller.call("bot_decide")
        await until_heard(call, hz)
        (asked,) = desk.server.of("/decide")
        assert (asked["CallFrom"], asked["CallTo"], asked["CustomField"]) == ("alice", "bot_decide", "gold")
        assert not [name for name in asked if name.startswith("Stream")]
        await ended(desk, call)
        if isinstance(answer, asyncio.Event):
            answer.set()


async def test_who_is_only_told_keeps_nobody_waiting(desk: Desk) -> None:
    answered = asyncio.Event()
    desk.answers("/tell", answered)
    call = await desk.caller.call("bot_tell")
    await until_heard(call, MARK_HZ)
    await desk.server.until("/tell", 1)
    answered.set()
    await ended(desk, call)


async def test_a_bot_that_closes_is_followed_by_what_the_server_is_told_of_it(desk: Desk) -> None:
    desk.answers("/decide", 302)
    for profile in ("decide", "decide_json", "decide_post"):
        desk.server.asked.clear()
        after = len(desk.bot.streams)
        call = await desk.caller.call("bot_bot")
        stream = await desk.bot.next_stream(after=after)
        await stream.wait_for_audio(1600)
        if profile == "decide":
            await stream.close()
        else:
            await stream.say("transfer", target=f"profile:{profile}")
        await until_heard(call, 800)
        ((_, query, body),) = desk.server.asked
        if profile == "decide":
            told = {name[7:-1]: value for name, value in query.items() if name.startswith("Stream[")}
        else:
            told = json.loads(query["Stream"]) if body is None else body
        lower = {name.lower(): value for name, value in told.items()}
        assert (lower["status"], lower["disconnectedby"]) == ("completed", "bot")
        assert lower["streamurl"] == desk.bot.url.rstrip("/")
        assert "/recordings/" in lower["recordingurl"]
        await ended(desk, call)


async def test_a_server_is_asked_before_a_stream(desk: Desk) -> None:
    desk.answers("/before", 403)
    call = await desk.caller.call("bot_before")
    async with asyncio.timeout(10):
        await call.ended.wait()
    desk.answers("/before", 200)
    after = len(desk.bot.streams)
    call = await desk.caller.call("bot_before")
    await (await desk.bot.next_stream(after=after)).wait_for("start")
    ((_, _, body),) = desk.server.asked
    assert (body["EventType"], body["StreamUrl"], body["From"]) == ("stream-start", desk.bot.url, "alice")
    await ended(desk, call)


async def test_several_phones_ring_together_and_one_of_them_answers(desk: Desk) -> None:
    desk.agents_do(RingForever(), Answer())
    sound = desk.pbx.folder / "moh" / "tone-850.ulaw"
    sound.write_bytes(ulaw_encode(sine(850, 8000, rate_hz=8000)).tobytes())
    plan = {
        "destination": {"numbers": ["agent1", "agent2"]},
        "parallel_ringing": {"activate": True, "max_parallel_attempts": 3},
        "custom_params": "ticket=7&mood=calm",
        "outgoing_phone_number": "+4930555",
        "record": True,
        "recording_channels": "dual",
        "max_ringing_duration": 20,
        "max_conversation_duration": 4,
        "music_on_hold": {"type": "default_tone"},
        "start_call_playback": {
            "playback_to": "both",
            "type": "audio_url",
            "value": desk.pbx.inside(sound).removesuffix(".ulaw"),
        },
        "dial_passthru_event_url": f"{desk.server.url}/event",
    }
    desk.answers("/connect", plan)
    desk.answers("/event", 200)
    rung = desk.rung(0), desk.rung(1)
    call = await desk.caller.call("bot_connect")
    first, second = [await agent.next_call(after=after) for agent, after in zip(desk.agents, rung, strict=True)]
    (asked,) = desk.server.of("/connect")
    assert (asked["CallFrom"], asked["CallTo"]) == ("alice", "bot_connect")
    for invited in (first, second):
        assert (invited.invite_headers["x-ticket"], invited.invite_headers["x-mood"]) == ("7", "calm")
        assert "+4930555" in invited.invite_headers["from"]
    await until_heard(second, 850)
    await until_heard(second, CALLER_HZ)
    await until_heard(call, AGENT_HZ[1])
    assert 850 in {round(hz, -1) for hz in heard_tones(call)}, "the caller had the announcement too"
    # The conversation is ended by its limit, and the dialplan goes on.
    await until_heard(call, MARK_HZ)
    (event,) = await desk.server.until("/event", 1)
    assert (event["DialCallStatus"], event["DialWhomNumber"]) == ("completed", "PJSIP/agent1&PJSIP/agent2")
    await ended(desk, call)
    recorded = {path.name.rpartition("-")[2] for path in desk.pbx.folder.rglob("connector-*.wav")}
    assert {"caller.wav", "callee.wav"} <= recorded


def heard_tones(call: Call) -> set[float]:
    """The strongest tone of each tenth of a second."""
    samples = call.rtp.audio()
    return {dominant_tone(samples[at : at + 800], 8000).hz for at in range(0, samples.size - 800, 800)}


async def test_phones_ring_one_after_the_other_and_the_server_is_told_of_each(desk: Desk) -> None:
    desk.agents_do(Reject(486), Answer())
    both = {"numbers": ["agent1", "agent2"]}
    desk.answers("/connect", {"destination": both, "dial_passthru_event_url": f"{desk.server.url}/event"})
    desk.answers("/event", 200)
    rung = desk.rung(1)
    call = await desk.caller.call("bot_connect")
    second = await desk.agents[1].next_call(after=rung)
    await until_heard(call, AGENT_HZ[1])
    await second.hang_up()
    await until_heard(call, MARK_HZ)
    events = await desk.server.until("/event", 2)
    assert sorted(event["DialCallStatus"] for event in events) == ["busy", "completed"]
    await ended(desk, call)


async def test_the_server_is_asked_again_after_each_attempt_until_it_names_nobody(desk: Desk) -> None:
    desk.agents_do(Reject(486), Answer())
    number = {"destination": {"numbers": ["agent1"]}, "fetch_after_attempt": True}
    trunk = {"destination": {"trunk": "trunk-1"}, "fetch_after_attempt": True}
    desk.answers("/connect", number, trunk, {"destination": {"numbers": []}})
    rung = desk.rung(0)
    call = await desk.caller.call("bot_connect")
    await until_heard(call, MARK_HZ)
    asked = desk.server.of("/connect")
    assert [each.get("DialCallStatus") for each in asked] == [None, "busy", "busy"]
    assert desk.server.headers["Exotel-Version"] == "1.0"
    assert desk.rung(0) == rung + 2
    await ended(desk, call)


async def test_a_second_server_is_asked_where_the_first_does_not_answer(desk: Desk) -> None:
    desk.agents_do(Reject(486), Answer())
    desk.answers("/connect", 500)
    desk.answers("/fallback", {"destination": {"numbers": ["agent2"]}})
    call = await desk.caller.call("bot_connect")
    await until_heard(call, AGENT_HZ[1])
    await ended(desk, call)
    desk.answers("/fallback", {"destination": {"numbers": ["1&Local/0900@out"]}})
    call = await desk.caller.call("bot_connect")
    await until_heard(call, MARK_HZ)
    await ended(desk, call)
