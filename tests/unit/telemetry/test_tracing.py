"""A call's life becomes one trace, and a bot is told its place in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import SecretStr

from connector.config_tracing import TracingSettings
from connector.events import Outcome
from connector.media.control import OpenStream
from connector.records import CallRecord, Direction, QueueVisit, StreamRecord, TimelineEntry
from connector.telemetry.traces import span_id_of, trace_of
from connector.telemetry.tracing import Tracing

CALLER = "+49301234567"


def call(linkedid: str = "1.1") -> CallRecord:
    visit = QueueVisit(
        queue="support",
        uniqueid="1.1",
        joined_at=102.0,
        ended_at=110.0,
        outcome=Outcome.ANSWERED,
        wait_s=8.0,
        agent="alice",
        talk_s=30.0,
    )
    return CallRecord(
        pbx="main",
        at=140.0,
        linkedid=linkedid,
        started_at=100.0,
        direction=Direction.INBOUND,
        number=CALLER,
        name="Ada Secret",
        dialled="4711",
        answered_at=101.0,
        visits=(visit,),
        timeline=(
            TimelineEntry(at=102.0, what="joined", detail="support"),
            TimelineEntry(at=110.0, what="answered", detail="alice"),
            TimelineEntry(at=120.0, what="transfer_blind", detail=CALLER),
        ),
        legs=2,
    )


def stream(stream_id: str = "s1", uniqueid: str = "1.1", cause: str = "handed_over") -> StreamRecord:
    return StreamRecord(
        pbx="main",
        at=102.0,
        stream_id=stream_id,
        uniqueid=uniqueid,
        profile="helper",
        cause=cause,
        detail="as it was",
        started_at=100.5,
        setup_s=0.25,
        stats={"packets_in": 75},
        quality={"faults": [{"fault": "one_way_in", "evidence": "", "remedy": ""}]},
    )


def opening(stream_id: str = "s1", uniqueid: str = "1.1") -> OpenStream:
    options: dict[str, Any] = {"dialect": "raw", "dialect_options": {}, "parameters": {}, "headers": {}}
    return OpenStream(
        stream_id=stream_id,
        pbx="main",
        call_id=f"main:{uniqueid}",
        url="ws://127.0.0.1:1/",
        tracks=(),
        two_way=True,
        connect_timeout_ms=1,
        playout_max_ms=1,
        prebuffer_ms=1,
        max_message_bytes=1,
        **options,
    )


def tracing(exporter: SpanExporter, linkedids: dict[str, str] | None = None, **settings: Any) -> Tracing:
    known = linkedids or {}
    return Tracing(
        TracingSettings.model_validate({"url": "http://127.0.0.1:1/v1/traces", **settings}),
        node="node1",
        linkedid_of=lambda _, uniqueid: known.get(uniqueid),
        exporter=exporter,
    )


async def spans(*events: object, **settings: Any) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    traces = tracing(exporter, **settings)
    for event in events:
        traces.on_event(event)
    await traces.close()
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_call_is_one_trace() -> None:
    found = await spans(stream(), call())
    assert set(found) == {"call", "queue support", "talk support", "stream helper"}
    contexts = [span.get_span_context() for span in found.values()]
    assert len({context.trace_id for context in contexts if context}) == 1
    assert len({context.span_id for context in contexts if context}) == 4
    root = found["call"]
    assert root.parent is None
    for name in ("queue support", "talk support", "stream helper"):
        parent = found[name].parent
        assert parent is not None
        assert parent.span_id == root.context.span_id
    assert (root.start_time, root.end_time) == (100_000_000_000, 140_000_000_000)
    assert (found["talk support"].start_time, found["talk support"].end_time) == (110_000_000_000, 140_000_000_000)
    heard = found["stream helper"]
    assert [(event.name, event.timestamp) for event in heard.events] == [("audio", 100_750_000_000)]
    assert heard.attributes is not None
    assert heard.attributes["connector.fault.one_way_in"] is True
    assert heard.attributes["connector.packets_in"] == 75


async def test_no_span_tells_who_called() -> None:
    for span in (await spans(stream(), call())).values():
        told = span.to_json()
        assert CALLER not in told
        assert "Secret" not in told
        assert "4711" not in told
    assert [event.name for event in (await spans(call()))["call"].events] == ["joined", "answered", "transfer_blind"]


@pytest.mark.parametrize(
    ("cause", "failed"),
    [
        ("bot_refused", True),
        ("worker_lost", True),
        ("bot_closed", False),
        ("bot_hung_up", False),
        ("handed_over", False),
    ],
)
async def test_what_went_wrong_is_an_error(cause: str, failed: bool) -> None:
    status = (await spans(stream(cause=cause)))["stream helper"].status
    assert (status.status_code is StatusCode.ERROR) is failed
    assert (status.description or "") == (f"{cause}: as it was" if failed else "")


async def test_a_bot_is_told_its_span() -> None:
    exporter = InMemorySpanExporter()
    traces = tracing(exporter, {"2.2": "1.1"})
    told = traces.join(opening(uniqueid="2.2"))["traceparent"]
    traces.on_event(stream(uniqueid="2.2"))
    traces.on_event(call())
    await traces.close()
    found = {span.name: span.context for span in exporter.get_finished_spans()}
    version, trace_id, span_id, flags = told.split("-")
    assert (version, flags) == ("00", "01")
    assert int(trace_id, 16) == found["stream helper"].trace_id == found["call"].trace_id
    assert int(span_id, 16) == found["stream helper"].span_id == span_id_of("main", "s1")


async def test_a_channel_that_left_its_call_stays_in_the_trace_that_the_bot_was_told() -> None:
    exporter = InMemorySpanExporter()
    linkedids = {"2.2": "1.1"}
    traces = tracing(exporter, linkedids)
    traces.join(opening(uniqueid="2.2"))
    linkedids.clear()
    traces.on_event(stream(uniqueid="2.2"))
    await traces.close()
    assert exporter.get_finished_spans()[0].context.trace_id == trace_of("main", "1.1", 1.0).trace_id


async def test_bots_need_not_be_told() -> None:
    assert tracing(InMemorySpanExporter(), to_bots=False).join(opening()) == {}


async def test_all_of_a_call_is_sent_or_nothing() -> None:
    exporter = InMemorySpanExporter()
    traces = tracing(exporter, sample_ratio=0.5)
    for number in range(400):
        flags = traces.join(opening(f"s{number}", f"{number}"))["traceparent"][-2:]
        assert (flags == "01") is trace_of("main", f"{number}", 0.5).sampled
        traces.on_event(stream(f"s{number}", f"{number}"))
        traces.on_event(call(f"{number}"))
    await traces.close()
    by_trace: dict[int, set[str]] = {}
    for span in exporter.get_finished_spans():
        by_trace.setdefault(span.context.trace_id, set()).add(span.name)
    assert 120 < len(by_trace) < 280
    assert {len(names) for names in by_trace.values()} == {4}


class Refusing(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.FAILURE


async def test_what_is_not_taken_is_counted() -> None:
    traces = tracing(Refusing())
    traces.on_event(stream())
    await traces.close()
    (family,) = traces.collect()
    assert {sample.labels["result"]: sample.value for sample in family.samples} == {
        "made": 1,
        "exported": 0,
        "failed": 1,
    }


@pytest.fixture
async def collector() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[dict[str, str], bytes]]]]:
    """Takes OTLP over HTTP."""
    taken: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        taken.put_nowait((dict(request.headers), await request.read()))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces", taken
    await runner.cleanup()


async def test_spans_arrive_at_a_collector(collector: tuple[str, asyncio.Queue[tuple[dict[str, str], bytes]]]) -> None:
    url, taken = collector
    settings = TracingSettings(url=url, headers={"Authorization": SecretStr("Bearer of-the-test")})
    traces = Tracing(settings, node="node1", linkedid_of=lambda *_: None)
    traces.on_event(call())
    await traces.close()
    headers, body = await asyncio.wait_for(taken.get(), 10)
    assert headers["Authorization"] == "Bearer of-the-test"
    request = ExportTraceServiceRequest.FromString(body)
    resource = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "asterisk-connector"
    assert resource["service.instance.id"] == "node1"
    names = [span.name for scope in request.resource_spans[0].scope_spans for span in scope.spans]
    assert names == ["call", "queue support", "talk support"]
