"""What a stream and its bot say to each other beyond audio: handshake, commands, notices, the end."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.dialects.base import Track
from connector.dialects.commands import Ended, Event, Failed, HangUp, Hold, SendDigits, Transfer
from connector.media import counters
from connector.media.control import EndCause
from connector.media.engine import MAX_COMMANDS, MediaEngine
from tests.unit.media.conftest import Caller

RAW = {"dialect": "raw", "dialect_options": {"encoding": "pcmu"}}
AUDIOHOOK = {"dialect": "audiohook"}
OPENED = {"version": "2", "type": "opened", "seq": 1, "parameters": {"media": []}}
WORD = bytes(range(256)) * 10  # 320 ms


class Server:
    """A bot that the test speaks for.

    Args:
        answer: What is said upon a message, if anything.
    """

    def __init__(self, answer: Callable[[Any], Any] = lambda _: None) -> None:
        self.heard: list[Any] = []
        self.closed_with: int | None = None
        self.subprotocol: str | None = None
        self.url = ""
        self._answer = answer
        self._socket: ServerConnection

    async def say(self, *messages: Any) -> None:
        for message in messages:
            await self._socket.send(message if isinstance(message, bytes) else json.dumps(message))

    def texts(self, kind: str) -> list[Any]:
        return [each for each in self.heard if isinstance(each, dict) and each.get("type") == kind]

    async def _talk(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.subprotocol = socket.subprotocol
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                self.heard.append(json.loads(message) if isinstance(message, str) else message)
                said = self._answer(self.heard[-1])
                if isinstance(said, Awaitable):
                    said = await said
                if said is not None:
                    await self.say(said)
        self.closed_with = socket.close_code


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    def choose(_: ServerConnection, offered: Any) -> Any:
        return "asterisk-connector.v1" if "asterisk-connector.v1" in offered else None

    async with serve(server._talk, "127.0.0.1", 0, compression=None, select_subprotocol=choose) as running:
        server.url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/"
        yield server


async def test_what_a_bot_asks_for_reaches_the_control_process(open_stream: Any, until: Any) -> None:
    async with serving(Server()) as server:
        handle, _ = await open_stream(server.url, **RAW)
        await until(lambda: server.texts("start"))
        assert server.subprotocol == "asterisk-connector.v1"
        await server.say(
            {"type": "dtmf", "digits": "12#"},
            {"type": "event", "name": "transcript", "data": {"text": "hallo"}},
            {"type": "transfer", "target": "queue:support", "summary": "wants a refund", "headers": {"X-Case": "7"}},
        )
        said = [await asyncio.wait_for(handle.commands.get(), 10) for _ in range(3)]
    assert said == [
        SendDigits("12#"),
        Event("transcript", '{"text":"hallo"}'),
        Transfer("queue:support", "", "wants a refund", {"X-Case": "7"}),
    ]


async def test_a_hang_up_waits_for_the_goodbye_and_a_clear_brings_it_forward(open_stream: Any, until: Any) -> None:
    async with serving(Server()) as server:
        handle, caller = await open_stream(server.url, **RAW)
        await until(lambda: server.texts("start"))
        await server.say(WORD, {"type": "hang_up", "reason": "done"}, {"type": "dtmf", "digits": "1"})
        assert await asyncio.wait_for(handle.commands.get(), 10) == SendDigits("1")
        assert handle.commands.empty()
        assert await asyncio.wait_for(handle.commands.get(), 10) == HangUp("done")
        spoken = b"".join(packet for packet in caller.heard)
        assert WORD[-160:] in spoken or len(spoken) >= len(WORD) - 320
        await server.say(WORD * 30, {"type": "transfer", "target": "x"}, {"type": "clear"})
        assert await asyncio.wait_for(handle.commands.get(), 5) == Transfer("x")
        await until(lambda: server.texts("cleared"))
        assert not server.texts("mark")


async def test_a_notice_reaches_the_bot(open_stream: Any, until: Any) -> None:
    async with serving(Server()) as server:
        handle, _ = await open_stream(server.url, **RAW)
        handle.notify(Hold(held=True))
        await until(lambda: server.texts("hold"))
    assert server.texts("hold")[0]["held"] is True


async def test_a_bot_that_ends_and_one_that_fails(open_stream: Any, until: Any) -> None:
    for said, cause, command in (
        ({"type": "end", "reason": "all said"}, EndCause.BOT_CLOSED, Ended("all said", "{}")),
        (
            {"type": "error", "message": "no model", "fatal": True},
            EndCause.BOT_FAILED,
            Failed("", "no model", fatal=True),
        ),
    ):
        async with serving(Server()) as server:
            handle, _ = await open_stream(server.url, **RAW)
            await until(lambda server=server: server.texts("start"))
            await server.say(said)
            ended = await asyncio.wait_for(handle.ended, 10)
            await until(lambda server=server: server.closed_with is not None)
        assert ended.cause is cause
        assert ended.stats.bot_commands == 1
        assert handle.commands.get_nowait() == command
        assert server.texts("stop")
        assert server.closed_with == 1000


async def test_a_flood_of_commands_is_bounded_and_counted(engine: MediaEngine, open_stream: Any, until: Any) -> None:
    async with serving(Server()) as server:
        handle, _ = await open_stream(server.url, **RAW)
        await until(lambda: server.texts("start"))
        count = 3 * MAX_COMMANDS
        await server.say(*({"type": "event", "name": str(n)} for n in range(count)))
        await until(lambda: handle.stats.bot_commands == count)
        await until(lambda: engine.stats.counters[counters.BOT_COMMANDS_DROPPED] == count - MAX_COMMANDS)
    assert handle.commands.qsize() == MAX_COMMANDS
    assert handle.commands.get_nowait() == Event("0")


async def test_a_stream_is_open_once_the_handshake_of_its_protocol_is_done(
    engine: MediaEngine, request_for: Any, until: Any
) -> None:
    agreed = asyncio.Event()

    async def answer(message: Any) -> Any:
        if isinstance(message, dict) and message["type"] == "open":
            await agreed.wait()
            return OPENED
        if isinstance(message, dict) and message["type"] == "close":
            await asyncio.sleep(0.1)  # a server may think before it agrees to the end
            return {"version": "2", "type": "closed", "seq": 2, "parameters": {"outputVariables": {"intent": "pay"}}}
        return None

    async with serving(Server(answer)) as server:
        opening = asyncio.create_task(engine.open(request_for(server.url, **AUDIOHOOK)))
        await until(lambda: server.texts("open"))
        assert not opening.done()
        agreed.set()
        handle = await asyncio.wait_for(opening, 10)
        handle.close(EndCause.CALLER_HUNG_UP)
        assert (await asyncio.wait_for(handle.ended, 10)).cause is EndCause.CALLER_HUNG_UP
        assert server.texts("close")[0]["parameters"] == {"reason": "end"}
        assert handle.commands.get_nowait() == Event("closed", '{"intent":"pay"}')


async def test_a_handshake_that_fails_is_told_before_the_call_is_answered(
    engine: MediaEngine, request_for: Any, stream_failed: Any
) -> None:
    async with serving(Server()) as server:
        failure = await stream_failed(engine, request_for(server.url, connect_timeout_ms=300, **AUDIOHOOK))
        assert (failure.cause, "handshake" in failure.detail) == (EndCause.BOT_TIMEOUT, True)
    refusal = {"type": "disconnect", "parameters": {"reason": "unauthorized", "info": "no such key"}}
    async with serving(Server(lambda _: refusal)) as server:
        failure = await stream_failed(engine, request_for(server.url, **AUDIOHOOK))
        assert (failure.cause, "no such key" in failure.detail) == (EndCause.BOT_REJECTED, True)

    async def leave(_: Any) -> None:
        await server._socket.close(1008, "not today")

    async with serving(Server(leave)) as server:
        failure = await stream_failed(engine, request_for(server.url, **AUDIOHOOK))
        assert (failure.cause, "1008" in failure.detail) == (EndCause.BOT_REJECTED, True)


async def test_a_model_is_told_what_the_caller_did_not_hear(open_stream: Any, until: Any) -> None:
    def answer(message: Any) -> Any:
        return {"type": "session.updated"} if message["type"] == "session.update" else None

    async with serving(Server(answer)) as server:
        _, caller = await open_stream(server.url, dialect="openai-realtime")
        said = base64.b64encode(WORD * 4).decode()
        await server.say({"type": "response.output_audio.delta", "item_id": "item_1", "delta": said})
        await until(lambda: sum(map(len, caller.heard)) >= 3_200)
        await server.say({"type": "input_audio_buffer.speech_started"})
        await until(lambda: server.texts("conversation.item.truncate"))
        heard = sum(map(len, caller.heard))
    (cut,) = server.texts("conversation.item.truncate")
    assert cut["item_id"] == "item_1"
    assert 400 - 40 <= cut["audio_end_ms"] <= heard // 8


async def test_two_tracks_are_told_apart_on_one_stream(engine: MediaEngine, request_for: Any, until: Any) -> None:
    """Each comes from an address of its own; sequence numbers count over both."""
    tracks = (Track.CALLER, Track.AGENT)
    async with serving(Server()) as server:
        handle = await engine.open(request_for(server.url, dialect="twilio", tracks=tracks, two_way=False))
        callers = []
        for track in tracks:
            _, caller = await asyncio.get_running_loop().create_datagram_endpoint(Caller, local_addr=("127.0.0.1", 0))
            caller.worker = (handle.rtp.host, handle.rtp.port)
            handle.attach(caller.address, track)
            callers.append(caller)
        await until(lambda: all(caller.packets for caller in callers))
        frames = [bytes([n + 1]) * 160 for n in range(10)]
        await asyncio.gather(callers[0].speak(frames), callers[1].speak(frames[::-1]))

        def heard(track: str) -> list[bytes]:
            media = [each["media"] for each in server.heard if each.get("event") == "media"]
            audio = [base64.b64decode(each["payload"]) for each in media if each["track"] == track]
            return [each for each in audio if each != b"\xff" * 160]

        await until(lambda: (heard("inbound"), heard("outbound")) == (frames, frames[::-1]))
        assert not callers[1].heard
        handle.close(EndCause.CALLER_HUNG_UP)
        ended = await asyncio.wait_for(handle.ended, 10)
        assert ended.stats.packets_in == 2 * len(frames)
        for caller in callers:
            caller.transport.close()
    numbers = [int(each["sequenceNumber"]) for each in server.heard if "sequenceNumber" in each]
    assert numbers == list(range(1, len(numbers) + 1))
