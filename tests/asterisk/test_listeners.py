"""Servers that listen on demand, to bots, and to campaigns: on real calls, each side by its tone, and nothing left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest_asyncio

from connector.app import Connector
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

CALLER_HZ, AGENT_HZ, BOT_HZ = 1000, 600, 800
EXTENSIONS = """
[from-phones](+)
exten => queue,1,Answer()
 same => n,Queue(support)
exten => asks,1,Answer()
 same => n,Stasis(connector,@listen,coach,reason=vip)
 same => n,Log(NOTICE,asked: ${CONNECTOR_RESULT})
 same => n,Stasis(connector,@listen,nobody)
 same => n,Log(NOTICE,asked again: ${CONNECTOR_RESULT})
 same => n,Dial(PJSIP/agent1,,g)
 same => n,Hangup()
exten => tells,1,Answer()
 same => n,UserEvent(ConnectorListen,Operation: start,Profile: coach)
 same => n,Dial(PJSIP/agent1)
 same => n,Hangup()
exten => sells,1,Set(__CONNECTOR_CAMPAIGN=spring)
 same => n,Dial(PJSIP/agent1)
 same => n,Hangup()
exten => serves,1,Set(__CONNECTOR_CAMPAIGN=autumn)
 same => n,Dial(PJSIP/agent1)
 same => n,Hangup()
"""

CRM = {"manager.conf": "[crm]\nsecret = lab-crm\nread =\nwrite = user\n"}


@dataclass
class Floor:
    pbx: LabAsterisk
    connector: Connector
    url: str
    caller: Phone
    agent: Phone
    bot: RecordingBot
    ears: dict[str, RecordingBot]

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := condition()):  # noqa: ASYNC110 (states of several objects, each told in its own way)
                await asyncio.sleep(0.02)
        return found

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/api/v1{path}", json=body or None) as answer,
        ):
            return answer.status, await answer.json()

    @property
    def state(self) -> Any:
        return self.connector.states()["main"]

    async def talking(self, extension: str) -> tuple[Call, Call, str]:
        """A caller and the agent, connected, and the uniqueid of the caller's channel."""
        self.agent.on_invite, before = Answer(), sum(call.incoming for call in self.agent.calls.values())
        call = await self.caller.call(extension)
        at_agent = await self.agent.next_call(after=before)
        await at_agent.wait_answered()
        await self.until(lambda: len(self.state.legs) >= 2)
        legs = self.state.legs.items()
        return call, at_agent, next(each for each, track in legs if track.leg.channel.startswith("PJSIP/caller-"))

    async def heard(self, name: str, after: int, **tracks: float) -> list[BotStream]:
        """The streams of a listener, once each has its tone."""
        streams = [await self.ears[name].next_stream(after=after + number) for number in range(len(tracks))]
        for stream in streams:
            await stream.wait_for("media", count=30)
            hz = tracks[stream.start["customParameters"]["track"]]
            await stream.until_heard(hz, window_ms=400, share=0.99)
        return streams

    async def unchanged(self, call: Call, at_agent: Call) -> None:
        await until_heard(call, AGENT_HZ, window_ms=400, share=0.99)
        await until_heard(at_agent, CALLER_HZ, window_ms=400, share=0.99)

    async def over(self) -> None:
        for phone in (self.caller, self.agent):
            for call in list(phone.calls.values()):
                await phone.end_call(call)
        await self.until(lambda: not self.connector.taps["main"].active)
        await until_nothing_left(self.pbx)
        await self.until(lambda: not self.state.legs)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor_of_module(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Floor]:
    conf = LabConf(queue_options="timeout = 20\nretry = 1\nwrapuptime = 0", agents=1, extensions=EXTENSIONS, append=CRM)
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=1, conf=conf))
        server = (HOST, pbx.sip_port)
        agent, caller = [
            await stack.enter_async_context(Phone(port, user, server, source=tone_source(hz)))
            for port, user, hz in ((pbx.ports.phones[0], "agent1", AGENT_HZ), (0, "alice", CALLER_HZ))
        ]
        ears = {name: await stack.enter_async_context(RecordingBot()) for name in ("coach", "quality", "spring")}
        described = make_connector(
            beside=pbx,
            bots={"talk": bot.url, "mute": bot.url, **{name: each.url for name, each in ears.items()}},
            profile={
                "coach": {"mode": "on_demand"},
                "quality": {"mode": "monitor", "match": {"bots": ["talk"]}},
                "spring": {"mode": "campaign", "match": {"campaigns": ["spring"]}},
            },
        )
        connector = Connector(Settings.model_validate(described.settings))
        running = asyncio.create_task(connector.run())
        made = Floor(pbx, connector, described.url, caller, agent, bot, ears)
        try:
            await made.until(lambda: running.done() or (connector.ready.is_set() and not connector.not_ready()))
            yield made
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest_asyncio.fixture(loop_scope="session")
async def floor(floor_of_module: Floor) -> AsyncIterator[Floor]:
    yield floor_of_module
    await floor_of_module.over()


async def test_by_rest_on_a_call_of_a_queue(floor: Floor) -> None:
    call, at_agent, uniqueid = await floor.talking("queue")
    after = len(floor.ears["coach"].streams)
    body = {"pbx": "main", "uniqueid": uniqueid, "profile": "coach"}
    status, listener = await floor.ask("POST", "/listeners", **body, parameters={"reason": "training"})
    assert (status, listener["listening"], listener["tracks"]) == (201, True, ["caller", "agent"]), listener
    streams = await floor.heard("coach", after, caller=CALLER_HZ, agent=AGENT_HZ)
    given = streams[0].start["customParameters"]
    assert (given["reason"], given["queue"], given["from"]) == ("training", "support", "alice")
    for wrong, status in (
        ({}, 409),
        ({"profile": "talk"}, 409),
        ({"profile": "nobody"}, 404),
        ({"uniqueid": "1.1"}, 404),
        ({"pbx": "other"}, 404),
    ):
        assert (await floor.ask("POST", "/listeners", **{**body, **wrong}))[0] == status
    _, page = await floor.ask("GET", "/listeners?pbx=main")
    assert [each["id"] for each in page["listeners"]] == [listener["id"]]
    path = f"/listeners/main/{listener['id']}"
    assert (await floor.ask("DELETE", path))[0] == 200
    for stream in streams:
        await stream.wait_for("stop")
    await floor.until(lambda: not floor.connector.taps["main"].active)
    assert (await floor.ask("DELETE", path))[0] == 404
    await floor.unchanged(call, at_agent)


async def test_by_the_dialplan_which_is_told_what_came_of_it(floor: Floor) -> None:
    after = len(floor.ears["coach"].streams)
    call, at_agent, _ = await floor.talking("asks")
    streams = await floor.heard("coach", after, caller=CALLER_HZ, agent=AGENT_HZ)
    assert streams[0].start["customParameters"]["reason"] == "vip"
    await floor.unchanged(call, at_agent)
    assert floor.pbx.log_lines("asked: listening")
    assert floor.pbx.log_lines("asked again: unknown_profile")


async def test_by_user_event_of_the_dialplan_and_of_ami(floor: Floor) -> None:
    after = len(floor.ears["coach"].streams)
    call, at_agent, uniqueid = await floor.talking("tells")
    streams = await floor.heard("coach", after, caller=CALLER_HZ, agent=AGENT_HZ)

    async def user_event(operation: str, profile: str = "coach") -> None:
        reader, writer = await asyncio.open_connection(HOST, floor.pbx.ami_port)
        fields = f"UserEvent: ConnectorListen\r\nOperation: {operation}\r\nProfile: {profile}\r\nUniqueid: {uniqueid}"
        for action in ("Login\r\nUsername: crm\r\nSecret: lab-crm", f"UserEvent\r\n{fields}", "Logoff"):
            writer.write(f"Action: {action}\r\n\r\n".encode())
        answers = await reader.read()
        assert b"Event Sent" in answers, answers
        writer.close()

    await user_event("stop")
    for stream in streams:
        await stream.wait_for("stop")
    await floor.until(lambda: not floor.connector.taps["main"].active)
    await user_event("start", "nobody")
    await user_event("begin")
    await user_event("start", "talk")
    await user_event("start")
    await floor.heard("coach", after + 2, caller=CALLER_HZ, agent=AGENT_HZ)
    assert len(floor.ears["coach"].streams) == after + 4
    await floor.unchanged(call, at_agent)


async def test_to_a_bot_that_notices_nothing_as_long_as_it_has_the_call(floor: Floor) -> None:
    after, bots = len(floor.ears["quality"].streams), len(floor.bot.streams)
    call = await floor.caller.call("bot_talk")
    talk = await floor.bot.next_stream(after=bots)
    await talk.play(BOT_HZ, 30)
    streams = await floor.heard("quality", after, caller=CALLER_HZ, agent=BOT_HZ)
    assert streams[0].start["customParameters"]["bot"] == "talk"
    await until_heard(call, BOT_HZ, window_ms=400, share=0.99)
    await talk.until_heard(CALLER_HZ, window_ms=400, share=0.99)
    numbers = [int(said.message["sequenceNumber"]) for said in talk.said if said.message["event"] == "media"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no frame is missing or twice"
    await talk.close()
    for stream in streams:
        await stream.wait_for("stop")
    await floor.over()
    await floor.caller.call("bot_mute")  # another bot is not monitored
    await floor.bot.next_stream(after=bots + 1)
    await floor.over()
    assert len(floor.ears["quality"].streams) == after + 2


async def test_to_calls_that_bear_the_tag_of_a_campaign(floor: Floor) -> None:
    after = len(floor.ears["spring"].streams)
    await floor.talking("serves")
    await floor.over()
    call, at_agent, _ = await floor.talking("sells")
    streams = await floor.heard("spring", after, caller=CALLER_HZ, agent=AGENT_HZ)
    given = streams[0].start["customParameters"]
    assert (given["campaign"], given["agent"]) == ("spring", "PJSIP/agent1")
    await floor.unchanged(call, at_agent)
    assert len(floor.ears["spring"].streams) == after + 2, "not the other campaign's"
    await call.hang_up()
    for stream in streams:
        await stream.wait_for("stop")
