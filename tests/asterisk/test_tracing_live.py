"""A call from the bot through the queue to an agent is one trace at the collector; the bot was told its place in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from aiohttp import web
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


async def test_the_way_of_a_call_is_one_trace(
    make_asterisk: Callable[..., LabAsterisk], make_connector: Callable[..., ConnectorProcess]
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
        connector = make_connector(
            beside=pbx,
            bots={"first": bot.url},
            profile={"first": {"dialect": {"name": "raw", "encoding": "pcmu"}, "handover": {"allow": ["queue:*"]}}},
            tracing={"url": f"http://{HOST}:{runner.addresses[0][1]}/v1/traces"},
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
