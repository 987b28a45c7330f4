"""What supervisors do to agents and callers, over REST, and Asterisk agreeing each time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from connector.access.accounts import Account, new_token
from connector.access.rights import Role, TokenScope
from connector.app import Connector
from connector.audio import g711
from connector.audio.tone import dominant_tone, sine
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone, Reject, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.streams.chime import TONES_HZ

CALLER_HZ, AGENT_HZ, BOSS_HZ = 1000, 600, 1700
MARK_HZ = 1300
CONF = LabConf(
    queue_options="timeout = 30\nretry = 1\nwrapuptime = 0\nringinuse = no",
    agents=1,
    append={"queues.conf": "[sales]\nstrategy = ringall\njoinempty = yes\nringinuse = no\n"},
    extensions="""
[from-phones](+)
exten => queue,1,Answer()
 same => n,Queue(support)
 same => n,Goto(mark,1)
exten => sales,1,Answer()
 same => n,Queue(sales)
 same => n,Hangup()
[connector-transfer](+)
exten => 99,1,Goto(from-phones,mark,1)
""",
)


@dataclass
class Floor:
    """One agent, a supervisor's phone, a caller, and a connector in the test's own process."""

    pbx: LabAsterisk
    connector: Connector
    url: str
    caller: Phone
    agent: Phone
    boss: Phone
    tokens: dict[str, str]

    async def act(self, name: str, who: str = "anna", **body: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.url}/api/v1/actions/{name}", json={"pbx": "main", **body}) as answer,
        ):
            return answer.status, await answer.json()

    async def done(self, name: str, who: str = "anna", **body: Any) -> dict[str, Any]:
        status, result = await self.act(name, who, **body)
        assert (status, result.get("outcome")) == (200, "done"), result
        return result

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):  # noqa: ASYNC110 (states of several objects)
                await asyncio.sleep(0.01)
        return found

    @property
    def state(self) -> Any:
        return self.connector.states()["main"]

    async def waiting(self, queue: str = "support") -> tuple[Call, str]:
        """A caller who waits; the call and the uniqueid."""
        call = await self.caller.call("queue" if queue == "support" else queue)
        stays = self.state.queues[queue].waiting
        return call, await self.until(lambda: next(iter(stays), ""))

    async def talking(self) -> tuple[Call, Call]:
        """A caller and the agent in a conversation."""
        self.agent.on_invite, before = Answer(), sum(call.incoming for call in self.agent.calls.values())
        call = await self.caller.call("queue")
        at_agent = await self.agent.next_call(after=before)
        await at_agent.wait_answered()
        await self.until(lambda: any(agent.talks for agent in self.state.agents.values()))
        return call, at_agent

    async def quiet(self) -> None:
        """Ends what a test left, whatever became of it."""
        for phone in (self.caller, self.agent, self.boss):
            for call in list(phone.calls.values()):
                await phone.end_call(call)
        await until_nothing_left(self.pbx)
        await self.until(lambda: not self.state.calls)
        self.boss.on_invite = self.agent.on_invite = Answer()
        await self.pbx.cli("queue unpause member PJSIP/agent1")


ACCOUNTS = {
    "anna": Account(name="anna", role=Role.SUPERVISOR, queues=("support",), phone="PJSIP/agent2"),
    "boss": Account(name="boss", role=Role.ADMIN, phone="PJSIP/agent2"),
    "sales": Account(name="sales", role=Role.SUPERVISOR, queues=("sales",), phone="PJSIP/agent2"),
    "vera": Account(name="vera", role=Role.VIEWER, queues=("*",)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[Floor]:
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=CONF))
        server = (HOST, pbx.sip_port)
        agent, boss, caller = [
            await stack.enter_async_context(Phone(port, user, server, source=tone_source(hz)))
            for port, user, hz in (
                (pbx.ports.phones[0], "agent1", AGENT_HZ),
                (pbx.ports.phones[1], "agent2", BOSS_HZ),
                (0, "alice", CALLER_HZ),
            )
        ]
        described = make_connector(beside=pbx, bots={})
        connector = Connector(Settings.model_validate(described.settings))
        running = asyncio.create_task(connector.run())
        floor = Floor(pbx, connector, described.url, caller, agent, boss, {})
        try:
            await floor.until(lambda: running.done() or (connector.ready.is_set() and not connector.not_ready()))
            await floor.until(connector.store.writer.up.is_set)
            for name, account in ACCOUNTS.items():
                await connector.store.accounts.add(account)
                token, floor.tokens[name] = new_token(name, "t", tuple(TokenScope), now=0.0, expires_at=None)
                await connector.store.accounts.add_token(token)
            yield floor
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def quiet_afterwards(floor: Floor) -> AsyncIterator[None]:
    yield
    await floor.quiet()


async def members(pbx: LabAsterisk, queue: str = "support") -> str:
    return await pbx.cli(f"queue show {queue}")


async def test_agents_are_paused_moved_and_weighted_and_asterisk_agrees(floor: Floor) -> None:
    agent = "PJSIP/agent1"
    await floor.done("pause", agent=agent, reason="Lunch")
    assert "paused:Lunch" in await members(floor.pbx) or "paused" in await members(floor.pbx)
    assert floor.state.queues["support"].members[agent].pause_reason == "Lunch"
    assert "already" in (await floor.done("pause", agent=agent, reason="Lunch"))["detail"]
    await floor.done("unpause", agent=agent)
    assert "paused" not in await members(floor.pbx)
    await floor.done("set-penalty", agent=agent, queue="support", penalty=7)
    assert "penalty 7" in await members(floor.pbx)
    await floor.done("set-penalty", agent=agent, queue="support", penalty=0)
    await floor.done("add-member", who="boss", agent=agent, queue="sales", penalty=2)
    assert "PJSIP/agent1" in await members(floor.pbx, "sales")
    status, problem = await floor.act("add-member", who="boss", agent=agent, queue="sales")
    assert (status, problem["type"]) == (409, "urn:connector:problem:not-possible")
    await floor.done("remove-member", who="boss", agent=agent, queue="sales")
    assert "PJSIP/agent1" not in await members(floor.pbx, "sales")


async def test_logged_out_is_out_of_dynamic_queues_and_paused_in_static_ones(floor: Floor) -> None:
    agent = "PJSIP/agent1"
    await floor.done("add-member", who="boss", agent=agent, queue="sales")
    status, problem = await floor.act("force-logout", who="boss", agent=agent)
    assert (status, problem["type"]) == (409, "urn:connector:problem:confirmation-needed")
    await floor.done("force-logout", who="boss", agent=agent, confirm=True)
    assert "PJSIP/agent1" not in await members(floor.pbx, "sales")
    assert "paused" in await members(floor.pbx)
    await floor.done("unpause", agent=agent)


async def test_a_call_is_hung_up(floor: Floor) -> None:
    call, _ = await floor.talking()
    uniqueid = next(iter(floor.state.talks))
    status, _ = await floor.act("hang-up", uniqueid=uniqueid)
    assert status == 409
    await floor.done("hang-up", uniqueid=uniqueid, confirm=True)
    await call.wait_ended()


async def test_a_waiting_caller_is_moved_before_others_and_out(floor: Floor) -> None:
    await floor.done("pause", agent="PJSIP/agent1", reason="so that nothing rings")
    call, uniqueid = await floor.waiting()
    await floor.done("set-priority", queue="support", uniqueid=uniqueid, priority=5)
    assert "prio: 5" in await members(floor.pbx)
    status, _ = await floor.act("withdraw", queue="support", uniqueid=uniqueid)
    assert status == 409
    await floor.done("withdraw", queue="support", uniqueid=uniqueid, reason="too long", confirm=True)
    await until_heard(call, MARK_HZ)


async def test_while_a_phone_rings_a_withdrawal_waits_and_says_so(floor: Floor) -> None:
    floor.agent.on_invite = RingForever()
    _, uniqueid = await floor.waiting()
    await floor.until(lambda: floor.state.queues["support"].waiting[uniqueid].ringing)
    status, result = await floor.act("withdraw", queue="support", uniqueid=uniqueid, confirm=True)
    assert (status, result["outcome"]) == (200, "sent")
    assert "when the phones that ring now have stopped" in result["detail"]


async def test_a_waiting_caller_is_transferred_to_a_number_and_to_a_queue(floor: Floor) -> None:
    floor.agent.on_invite = RingForever()
    _, uniqueid = await floor.waiting()
    await floor.done("transfer", who="boss", uniqueid=uniqueid, queue="sales")
    await floor.until(lambda: uniqueid in floor.state.queues["sales"].waiting)
    await floor.done("transfer", who="boss", uniqueid=uniqueid, exten="99")
    await floor.until(lambda: not floor.state.queues["sales"].waiting)
    status, result = await floor.act("transfer", who="boss", uniqueid=uniqueid, exten="98")
    assert (status, result["outcome"]) == (200, "unknown")
    assert "is there such an extension" in result["detail"]


# -- in a conversation ------------------------------------------------------------------------------------------------


async def at_boss(floor: Floor) -> Call:
    before = sum(call.incoming for call in floor.boss.calls.values())
    return await floor.boss.next_call(after=before)


def tones(call: Call) -> set[int]:
    """Which of the phones' tones are in what a phone heard last."""
    audio = call.rtp.audio(last_ms=400).astype(float)
    if audio.size < 3_000:
        return set()
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    hz_of_bin = 8_000 / audio.size
    loud = {
        hz: spectrum[round((hz - 20) / hz_of_bin) : round((hz + 20) / hz_of_bin) + 1].max()
        for hz in (CALLER_HZ, AGENT_HZ, BOSS_HZ)
    }
    # A tone of these phones is some thousand high; what leaks from one into another's place is far below a twentieth.
    return {hz for hz, height in loud.items() if height > max(loud.values()) / 20 and height / audio.size > 50}


async def until_tones(call: Call, wanted: set[int]) -> None:
    """Waits until a phone hears these of the tones and no other."""
    heard: set[int] = set()
    try:
        async with asyncio.timeout(10):
            while (heard := tones(call)) != wanted:  # noqa: ASYNC110 (audio sends no event)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"heard {heard}, not {wanted}") from None


@pytest.mark.parametrize(
    ("mode", "at_supervisor", "at_agent", "at_caller"),
    [
        ("listen", {CALLER_HZ, AGENT_HZ}, {CALLER_HZ}, {AGENT_HZ}),
        ("whisper", {CALLER_HZ, AGENT_HZ}, {CALLER_HZ, BOSS_HZ}, {AGENT_HZ}),
        ("barge", {CALLER_HZ, AGENT_HZ}, {CALLER_HZ, BOSS_HZ}, {AGENT_HZ, BOSS_HZ}),
    ],
)
async def test_a_supervisor_is_heard_by_whom_the_mode_says_and_by_nobody_else(
    floor: Floor, mode: str, at_supervisor: set[int], at_agent: set[int], at_caller: set[int]
) -> None:
    caller, agent = await floor.talking()
    ringing = asyncio.create_task(at_boss(floor))
    result = await floor.done(mode, agent="PJSIP/agent1")
    assert result["uniqueid"]
    boss = await ringing
    await until_tones(boss, at_supervisor)
    await until_tones(agent, at_agent)
    await until_tones(caller, at_caller)


async def test_a_caller_is_taken_over(floor: Floor) -> None:
    caller, agent = await floor.talking()
    ringing = asyncio.create_task(at_boss(floor))
    assert (await floor.act("take-over", agent="PJSIP/agent1"))[0] == 409
    await floor.done("take-over", agent="PJSIP/agent1", confirm=True)
    boss = await ringing
    await agent.wait_ended()
    await until_tones(caller, {BOSS_HZ})
    await until_tones(boss, {CALLER_HZ})


async def test_a_waiting_caller_is_picked_up(floor: Floor) -> None:
    await floor.done("pause", agent="PJSIP/agent1")
    caller, uniqueid = await floor.waiting()
    ringing = asyncio.create_task(at_boss(floor))
    await floor.done("pick-up", queue="support", uniqueid=uniqueid)
    boss = await ringing
    await until_tones(caller, {BOSS_HZ})
    await until_tones(boss, {CALLER_HZ})


async def test_a_supervisor_who_does_not_answer_changes_nothing(floor: Floor) -> None:
    caller, _ = await floor.talking()
    floor.boss.on_invite = Reject(486)
    status, problem = await floor.act("listen", agent="PJSIP/agent1")
    assert (status, problem["type"]) == (409, "urn:connector:problem:not-possible")
    await until_tones(caller, {AGENT_HZ})


async def test_out_of_scope_nothing_is_touched(floor: Floor) -> None:
    await floor.talking()
    uniqueid = next(iter(floor.state.talks))
    for who, expected in (("sales", 404), ("vera", 403)):
        for name, body in (
            ("pause", {"agent": "PJSIP/agent1"}),
            ("remove-member", {"agent": "PJSIP/agent1", "queue": "support"}),
            ("hang-up", {"uniqueid": uniqueid, "confirm": True}),
            ("transfer", {"uniqueid": uniqueid, "exten": "99"}),
            ("withdraw", {"queue": "support", "uniqueid": uniqueid, "confirm": True}),
            ("listen", {"agent": "PJSIP/agent1"}),
            ("take-over", {"agent": "PJSIP/agent1", "confirm": True}),
            ("message", {"agent": "PJSIP/agent1", "text": "hello"}),
            ("chime", {"agent": "PJSIP/agent1"}),
        ):
            assert (await floor.act(name, who, **body))[0] == expected, (who, name)
    assert floor.state.talks
    assert "paused" not in await members(floor.pbx)


async def test_an_agent_gets_a_text(floor: Floor) -> None:
    status, result = await floor.act("message", agent="PJSIP/agent1", text="Please come to my desk: größte Eile")
    assert (status, result["outcome"]) == (200, "sent")
    await floor.until(lambda: floor.agent.texts)
    assert floor.agent.texts[-1] == "Please come to my desk: größte Eile"


async def test_an_agent_hears_a_chime_that_the_caller_does_not(floor: Floor) -> None:
    caller, agent = await floor.talking()
    heard: dict[int, tuple[float, float]] = {}
    chiming = asyncio.create_task(floor.done("chime", agent="PJSIP/agent1"))
    async with asyncio.timeout(15):
        while not (chiming.done() and len(heard) == len(TONES_HZ)):
            for hz in map(int, TONES_HZ):
                levels = strength(agent, hz), strength(caller, hz)
                if levels[0] > 0.02:
                    heard[hz] = levels
            await asyncio.sleep(0.05)
    await chiming
    await until_tones(agent, {CALLER_HZ})
    assert all(at_caller < 0.003 for _, at_caller in heard.values()), heard
    await floor.until(lambda: not floor.connector.taps["main"].active)


def strength(call: Call, hz: float) -> float:
    """Amplitude of a tone in the last 200 ms, 0 to 1 at full scale."""
    audio = call.rtp.audio(last_ms=200) / 32_768
    wave = np.exp(-2j * np.pi * hz / 8_000 * np.arange(audio.size)) * np.hanning(audio.size)
    return float(4 * abs(np.dot(audio, wave)) / max(1, audio.size))


async def test_a_conversation_is_heard_in_the_browser_and_only_in_scope(floor: Floor) -> None:
    caller, _ = await floor.talking()
    query = "?pbx=main&agent=PJSIP%2Fagent1"
    linkedid = next(iter(floor.state.calls))
    for who, expected in (("sales", 404), ("vera", 403)):
        headers = {"Authorization": f"Bearer {floor.tokens[who]}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for asked in (query, f"{query}&mode=whisper", f"{query}&mode=barge", f"?pbx=main&call={linkedid}"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(f"{floor.url}/api/v1/listen{asked}")
                assert refused.value.status == expected, (who, asked)
    headers = {"Authorization": f"Bearer {floor.tokens['anna']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{floor.url}/api/v1/listen{query}") as socket,
    ):
        started = await socket.receive_json(timeout=10)
        assert started == {
            "type": "listening", "tracks": ["caller", "agent"], "encoding": "ulaw", "rate_hz": 8000, "frame_ms": 20,
            "mode": "listen", "microphone": None,
        }  # fmt: skip
        audio: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        async with asyncio.timeout(15):
            while min(map(len, audio)) < 12_000:
                frame = await socket.receive_bytes()
                audio[frame[0]].extend(frame[1:])
        for heard, hz in zip(audio, (CALLER_HZ, AGENT_HZ), strict=True):
            tone = dominant_tone(g711.ulaw_decode(bytes(heard[-4_000:])), 8_000)
            assert tone.hz == pytest.approx(hz, abs=10)
            assert tone.share > 0.9
        await until_tones(caller, {AGENT_HZ})
        for call in list(floor.caller.calls.values()):
            await floor.caller.end_call(call)
        async with asyncio.timeout(10):
            while (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                pass


async def test_who_whispers_in_the_browser_is_heard_by_the_agent_alone_and_who_barges_in_by_both(floor: Floor) -> None:
    caller, agent = await floor.talking()
    headers = {"Authorization": f"Bearer {floor.tokens['anna']}"}
    for mode, at_caller in (("whisper", {AGENT_HZ}), ("barge", {AGENT_HZ, BOSS_HZ})):
        query = f"?pbx=main&agent=PJSIP%2Fagent1&mode={mode}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{floor.url}/api/v1/listen{query}") as socket,
        ):
            assert (await socket.receive_json(timeout=10))["mode"] == mode
            speaking = asyncio.create_task(speak(socket))
            await until_tones(agent, {CALLER_HZ, BOSS_HZ})
            await until_tones(caller, at_caller)
            speaking.cancel()
            await asyncio.wait({speaking})
        await until_tones(agent, {CALLER_HZ})


async def speak(socket: aiohttp.ClientWebSocketResponse) -> None:
    """A tone, 20 ms at a time, as a browser's microphone sends it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for frame in range(1_000):
        await socket.send_bytes(sine(BOSS_HZ, 160, rate_hz=8_000, start=160 * frame).astype("<i2").tobytes())
        await asyncio.sleep(max(0.0, began + frame * 0.02 - loop.time()))
