"""Sends traces: what `traces` makes of calls and streams goes to a collector by OTLP over HTTP.

The SDK of OpenTelemetry sends from a thread of its own, in batches; it keeps at most 2,048 spans that could not be sent
yet and drops what comes then. It is imported only where traces are wanted (extra `tracing`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from connector import __version__
from connector.config_tracing import TracingSettings
from connector.media.control import OpenStream
from connector.records import CallRecord, StreamRecord
from connector.telemetry.traces import Span, Trace, span_id_of, span_of_stream, spans_of_call, trace_of, traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = structlog.get_logger()

STREAMS_MAX = 10_000
"""Streams whose trace is remembered until they end; beyond it the oldest is looked up again at its end."""


class TracingMissing(Exception):
    """Traces are wanted and OpenTelemetry is not installed; the message says what to install."""


class Untraced:
    """In place of `Tracing` where no traces are wanted."""

    def join(self, request: OpenStream) -> Mapping[str, str]:
        """Nothing to tell a bot."""
        return {}

    async def close(self) -> None:
        """Nothing waits."""


class SpanCounts:
    """What became of spans: made, exported, failed."""

    def __init__(self) -> None:
        self.made = 0
        self.exported = 0
        self.failed = 0


class Tracing(Collector):
    """Takes finished calls and streams from the bus and sends them as spans; tells bots their parent.

    Args:
        settings: With a `url`.
        node: Name of this process.
        linkedid_of: The call that a channel belongs to now, by PBX and uniqueid; None if it is unknown.
        exporter: In place of one by OTLP over HTTP.

    Raises:
        TracingMissing: The extra `tracing` is not installed.

    Attributes:
        takes: What of the bus matters to it.
    """

    takes = (CallRecord, StreamRecord)

    def __init__(
        self,
        settings: TracingSettings,
        *,
        node: str,
        linkedid_of: Callable[[str, str], str | None],
        exporter: SpanExporter | None = None,
    ) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise TracingMissing(
                "tracing.url is set and OpenTelemetry is not installed: pip install asterisk-connector[tracing]"
            ) from None
        self._settings = settings
        self._linkedid_of = linkedid_of
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._counts = SpanCounts()
        self._resource = Resource.create(
            {"service.name": "asterisk-connector", "service.version": __version__, "service.instance.id": node}
        )
        self._sender = BatchSpanProcessor(_counting(exporter or _otlp(settings), self._counts))

    # -- who joins in ---------------------------------------------------------------------------------------------

    def join(self, request: OpenStream) -> Mapping[str, str]:
        """Headers for the handshake with a bot; none where it is not to join."""
        trace = self._trace_of_channel(request.pbx, request.call_id.partition(":")[2])
        self._traces[request.stream_id] = trace
        if len(self._traces) > STREAMS_MAX:
            self._traces.popitem(last=False)
        if not self._settings.to_bots:
            return {}
        return {"traceparent": traceparent(trace, span_id_of(request.pbx, request.stream_id))}

    # -- what is sent ---------------------------------------------------------------------------------------------

    def on_event(self, event: object) -> None:
        """Takes an item of the bus."""
        if isinstance(event, CallRecord):
            trace = trace_of(event.pbx, event.linkedid, self._settings.sample_ratio)
            if trace.sampled:
                self._send(trace, spans_of_call(event, trace))
        elif isinstance(event, StreamRecord):
            known = event.stream_id in self._traces
            trace = self._traces.pop(event.stream_id) if known else self._trace_of_channel(event.pbx, event.uniqueid)
            if trace.sampled:
                self._send(trace, [span_of_stream(event, trace)])

    async def close(self) -> None:
        """Sends what waits; once."""
        await asyncio.to_thread(self._sender.shutdown)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One family."""
        spans = CounterMetricFamily(
            "connector_trace_spans", "Spans of traces, by what became of them.", labels=("result",)
        )
        for result in ("made", "exported", "failed"):
            spans.add_metric((result,), getattr(self._counts, result))
        yield spans

    def _trace_of_channel(self, pbx: str, uniqueid: str) -> Trace:
        return trace_of(pbx, self._linkedid_of(pbx, uniqueid) or uniqueid, self._settings.sample_ratio)

    def _send(self, trace: Trace, spans: Sequence[Span]) -> None:
        for span in spans:
            self._counts.made += 1
            self._sender.on_end(self._finished(trace, span))

    def _finished(self, trace: Trace, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: int) -> SpanContext:
            return SpanContext(trace.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

        return ReadableSpan(
            name=span.name,
            context=context(span.span_id),
            parent=None if span.parent_id is None else context(span.parent_id),
            resource=self._resource,
            attributes=span.attributes,
            events=[
                Event(each.name, {"detail": each.detail} if each.detail else {}, _ns(each.at)) for each in span.moments
            ],
            kind=SpanKind.CLIENT if span.outgoing else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=_ns(span.started_at),
            end_time=_ns(max(span.started_at, span.ended_at)),
        )


def _ns(unix_s: float) -> int:
    return int(unix_s * 1e9)


def _otlp(settings: TracingSettings) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise TracingMissing(
            "tracing.url is set and its exporter is not installed: pip install asterisk-connector[tracing]"
        ) from None
    return OTLPSpanExporter(
        endpoint=settings.url,
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
        timeout=5,
    )


def _counting(exporter: SpanExporter, counts: SpanCounts) -> SpanExporter:
    """The exporter with its results counted, and a change between sent and not sent logged once."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        well = True

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = exporter.export(spans)
            except Exception as error:
                self._tell(False, str(error))
                counts.failed += len(spans)
                return SpanExportResult.FAILURE
            sent = result is SpanExportResult.SUCCESS
            counts.exported += len(spans) if sent else 0
            counts.failed += 0 if sent else len(spans)
            self._tell(sent, "" if sent else "the collector did not take them")
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def _tell(self, well: bool, why: str) -> None:
            if well is not self.well:
                self.well = well
                if well:
                    log.info("traces_sent_again")
                else:
                    log.warning("traces_not_sent", error=why)

    return Counting()
