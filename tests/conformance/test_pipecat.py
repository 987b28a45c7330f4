"""pipecat's own serializers and transport detection, unmodified, in a running pipeline, over a real call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard
from tests.conformance.conftest import MakeConnector, PipecatBot, until

CALLER_HZ, BOT_HZ = 1_000, 600
QUIET = 100
CARRIERS = ("twilio", "telnyx", "plivo", "exotel")
"""Those that pipecat tells apart by itself."""
MARK = {
    "twilio": ("event", "mark"),
    "telnyx": ("event", "mark"),
    "plivo": ("event", "playedStream"),
    "exotel": ("event", "mark"),
    "vonage": ("event", "websocket:notify"),
    "audiohook": ("type", "playback_completed"),
}
"""What the bot gets when what it said has been played."""
STOP = {"audiohook": ("type", "close"), "vonage": None}
DIALECTS = tuple(MARK)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: MakeConnector, pipecat: PipecatBot) -> AsyncIterator[ConnectorProcess]:
    paths = {name: "auto" if name in CARRIERS else name for name in DIALECTS}
    profiles = {
        name: {"url": f"ws://127.0.0.1:{pipecat.port}/{path}", "dialect": name, "parameters": {"plan": "gold"}}
        for name, path in paths.items()
    }
    async with make_connector(profiles) as process:
        yield process


def has(call: dict[str, Any], member: str, value: str) -> list[Any]:
    return [message for message in call["messages"] if message.get(member) == value]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_pipecat_bot_talks_with_a_caller(
    connector: ConnectorProcess, pipecat: PipecatBot, caller: Phone, dialect: str
) -> None:
    before = len(await pipecat.calls())
    call = await caller.call(f"bot_{dialect}")
    await call.wait_answered()

    async def seen() -> dict[str, Any]:
        calls = await pipecat.calls()
        return calls[before] if len(calls) > before else {}

    async def when(condition: Any, what: str) -> dict[str, Any]:
        async def check() -> dict[str, Any] | None:
            now = await seen()
            return now if now and condition(now) else None

        found: dict[str, Any] = await until(check, f"{dialect}: {what}")
        return found

    # Tone both ways.
    await until_heard(call, BOT_HZ, window_ms=500, share=0.95)
    at_bot = await when(lambda now: now["share"] > 0.95, "the bot hears the caller's tone alone")
    assert at_bot["hz"] == pytest.approx(CALLER_HZ, abs=5)
    assert at_bot["kind"] == dialect
    # Interruption: the caller hears silence while the bot's tone still had half a minute to go.
    await call.send_digits("1")
    await when(lambda now: now["digits"] == "1", "the digit")
    await until(lambda: np.abs(call.rtp.audio(200).astype(np.int32)).max() < QUIET, f"{dialect}: silence")
    # What was said has been played, or the mark says so at once.
    if dialect != "audiohook":
        await call.send_digits("2")
    await when(lambda now: has(now, *MARK[dialect]), "the mark")
    await call.hang_up()
    stop = STOP.get(dialect, ("event", "stop"))
    if stop is not None:
        await when(lambda now: has(now, *stop), "the goodbye")
    await when(lambda now: now["over"], "the end of the pipeline")


@pytest.mark.parametrize("dialect", ["twilio", "audiohook"])
async def test_the_call_goes_on_when_the_pipeline_ends(
    connector: ConnectorProcess, pipecat: PipecatBot, caller: Phone, dialect: str
) -> None:
    call = await caller.call(f"bot_{dialect}")
    await call.wait_answered()
    await until_heard(call, BOT_HZ)
    await call.send_digits("13")  # interrupted, or the pipeline would end after its half a minute of tone
    await connector.until_metric(
        "connector_streams_total", lambda value: value >= 1, pbx="main", profile=dialect, cause="bot_closed"
    )
    await call.hang_up()
