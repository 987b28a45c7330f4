"""What happens arrives at a real NATS server, also what happened while it was away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import nats
import pytest
from pydantic import SecretStr, ValidationError

from connector.config_nats import NatsSettings
from connector.messaging.nats import NatsFeed
from connector.records import CallRecord, Direction
from connector.web.happenings import (
    CallerId,
    CallerJoinedHappening,
    CallHangupHappening,
    HangupData,
    JoinedData,
    Recipient,
)

DEADLINE_S = 20.0
TOKEN = "of-the-test"


class Server:
    """Debian's nats-server with JetStream, on a port that stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            pytest.fail("nats-server is missing: run scripts/setup unit")
        store = str(self._folder / "jetstream")
        with (self._folder / "nats.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", store, "--auth", TOKEN),
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def feeding(url: str, **settings: Any) -> AsyncIterator[NatsFeed]:
    made = NatsSettings.model_validate({"url": url, "token": TOKEN, **settings})
    feed = NatsFeed(made, random=Random(1), sleep=lambda _: asyncio.sleep(0.05))
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.wait({task})


def joined(number: int = 1) -> CallerJoinedHappening:
    return CallerJoinedHappening(
        id=f"id-{number}",
        at=1.0,
        pbx="main",
        queue="support",
        uniqueid="1.1",
        recipients=(Recipient(interface="PJSIP/agent1", agent="alice"),),
        data=JoinedData(queue="support", callerId=CallerId(id="100", name="Ada"), queuedCalls=number),
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_happens_arrives_under_its_subject(server: Server) -> None:
    listener = await nats.connect(server.url, token=TOKEN)
    heard = await listener.subscribe("pbx.events.>")
    async with feeding(server.url, subject="pbx.events") as feed:
        feed.on_happening(joined())
        hangup = CallHangupHappening(
            id="h",
            at=2.0,
            pbx="main",
            queue="support",
            uniqueid="1.1",
            recipients=(),
            data=HangupData(queue="support", roomId="1.1"),
        )
        feed.on_happening(hangup)
        call = {"direction": Direction.INBOUND, "number": "100", "name": "", "dialled": "700", "answered_at": None}
        record = CallRecord(
            pbx="main",
            at=9.0,
            linkedid="1.1",
            started_at=1.0,
            visits=(),
            timeline=(),
            legs=1,
            **call,  # type: ignore[arg-type]
        )
        feed.on_event(record)
        messages = [await heard.next_msg(DEADLINE_S) for _ in range(3)]
    assert [message.subject.removeprefix("pbx.events.main.") for message in messages] == [
        "caller-joined",
        "call-hangup",
        "record.call",
    ]
    first, _, last = (json.loads(message.data) for message in messages)
    assert (first["event"], first["data"]["callerId"]["id"]) == ("caller-joined", "100")
    assert last["linkedid"] == "1.1"
    assert messages[0].headers == {"Nats-Msg-Id": "id-1"}
    await listener.close()


async def test_what_happened_while_the_server_was_away_comes_once_and_in_order(server: Server) -> None:
    keeper = await nats.connect(server.url, token=TOKEN)
    await keeper.jetstream().add_stream(name="kept", subjects=["connector.>"])
    await keeper.close()
    async with feeding(server.url) as feed:
        feed.on_happening(joined(0))
        await until(lambda: feed.published == 1)
        await server.stop()
        for number in range(1, 1200):
            feed.on_happening(joined(number))
        await server.start()
        await until(lambda: not any(sample.value for sample in waiting(feed)))
        assert feed.dropped == 0
    reader = await nats.connect(server.url, token=TOKEN)
    subscription = await reader.jetstream().subscribe("connector.>", ordered_consumer=True)
    kept = [json.loads((await subscription.next_msg(DEADLINE_S)).data)["id"] for _ in range(1200)]
    assert kept == [f"id-{number}" for number in range(1200)]
    info = await reader.jetstream().stream_info("kept")
    assert info.state.messages == 1200
    await reader.close()


def waiting(feed: NatsFeed) -> list[Any]:
    return [sample for family in feed.collect() if family.name.endswith("_waiting") for sample in family.samples]


async def test_without_a_server_the_oldest_are_dropped_and_counted(tmp_path: Path) -> None:
    server = Server(tmp_path)
    async with feeding(server.url, max_waiting=100) as feed:
        for number in range(150):
            feed.on_happening(joined(number))
        assert (feed.dropped, waiting(feed)[0].value) == (50, 100)
        await server.start()
        listener = await nats.connect(server.url, token=TOKEN)
        heard = await listener.subscribe("connector.>")
        feed.on_happening(joined(150))
        await until(lambda: waiting(feed)[0].value == 0)
        assert heard is not None
        await listener.close()
    await server.stop()


async def test_a_wrong_token_is_told_once(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    async with feeding(server.url, token="wrong") as feed:
        feed.on_happening(joined())
        await asyncio.sleep(0.5)  # several tries
        assert feed.published == 0
    out = capsys.readouterr().out
    assert out.count("nats_down") == 1
    assert "Authorization" in out
    assert TOKEN not in out


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "http://127.0.0.1"}, "nats://"),
        ({"url": "nats://me:pw@127.0.0.1"}, "must not hold a user"),
        ({"subject": "a b"}, "words of letters"),
        ({"user": "me"}, "belong together"),
        ({"user": "me", "password": SecretStr("x"), "token": SecretStr("y")}, "not both"),
    ],
)
def test_wrong_settings_say_what_is_right(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        NatsSettings.model_validate(wrong)
