"""A call by way of a bot and a queue, as others are told of it: one trace, the bot's place in it; messages of NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from aiohttp import web
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard
from connector.lab.raw_bot import RawBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

AGENT_HZ, CALLER_HZ = 450, 1000


class Collector:
    """Takes OTLP over HTTP and keeps the spans by name."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}

    async def take(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        self.spans |= {
            span.name: span for each in told.resource_spans for scope in each.scope_spans for span in scope.spans
        }
        return web.Response(content_type="application/x-protobuf")


@contextlib.asynccontextmanager
async def broker(port: int, log: Path) -> AsyncIterator[str]:
    """A nats-server; yields its address."""
    program = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.fail("nats-server is missing: run scripts/setup unit")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, "-a", HOST, "-p", str(port), stdout=output, stderr=output
        )
        try:
            yield f"nats://{HOST}:{port}"
        finally:
            process.terminate()
            await process.wait()


async def listening(url: str) -> Client:
    """A client of the broker, once that answers."""
    async with asyncio.timeout(20):
        while True:
            client = Client()
            with contextlib.suppress(OSError, nats.errors.Error):
                await client.connect(url, allow_reconnect=False)
                return client
            await client.close()
            await asyncio.sleep(0.1)


async def test_the_way_of_a_call_is_told(
    tmp_path: Path, make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
) -> None:
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        pbx = await stack.enter_async_context(make_asterisk(phones=1))
        server = (HOST, pbx.sip_port)
        source = tone_source(AGENT_HZ)
        agent = Phone(pbx.ports.phones[0], "agent1", server, source=source, on_invite=Answer())
        await stack.enter_async_context(agent)
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        bot = await stack.enter_async_context(RawBot())
        url = await stack.enter_async_context(broker(pbx.ports.spare[5], tmp_path / "nats.log"))
        client = await listening(url)
        stack.push_async_callback(client.close)
        messages = await client.subscribe("connector.main.>")
        connector = make_connector(
            beside=pbx,
            bots={"first": bot.url},
            profile={"first": {"dialect": {"name": "raw", "encoding": "pcmu"}, "handover": {"allow": ["queue:*"]}}},
            tracing={"url": f"http://{HOST}:{runner.addresses[0][1]}/v1/traces"},
            nats={"url": url},
        )
        async with connector:
            call = await caller.call("bot_first")
            stream = await bot.next_stream(after=0)
            await stream.wait_for("start")
            await stream.say("transfer", target="queue:support")
            await agent.next_call()
            await until_heard(call, AGENT_HZ)
            await call.hang_up()
            async with asyncio.timeout(20):
                while not (await connector.get("/api/v1/history/calls"))["calls"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        told = [await messages.next_msg(10) for _ in range(messages.pending_msgs)]
        subjects = [message.subject.removeprefix("connector.main.") for message in told]
        for subject in ("call-handed-over", "caller-joined", "agent-connected", "record.stream", "record.call"):
            assert subjects.count(subject) == 1, subjects
        record = json.loads(told[subjects.index("record.call")].data)
        assert [visit["queue"] for visit in record["visits"]] == ["support"]
        # What waits is sent at the end.
        spans = collector.spans
        assert set(spans) == {"call", "stream first", "queue support", "talk support"}
        assert len({span.trace_id for span in spans.values()}) == 1
        assert not spans["call"].parent_span_id
        assert {spans[name].parent_span_id for name in spans if name != "call"} == {spans["call"].span_id}
        order = [spans[name].start_time_unix_nano for name in ("call", "stream first", "queue support", "talk support")]
        assert order == sorted(order)
        _, trace_id, span_id, _ = stream.headers["traceparent"].split("-")
        assert bytes.fromhex(trace_id) == spans["call"].trace_id
        assert bytes.fromhex(span_id) == spans["stream first"].span_id
