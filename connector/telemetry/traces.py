"""A call's life as spans: the call, in it each stay in a queue, each conversation, each stream.

Ids are made from the names of the call and the stream, so a bot can be told its parent before anything has ended, and
what is sent twice is the same span. No span holds a caller's number or name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from connector.records import CallRecord, QueueVisit, StreamRecord

SAMPLE_SPACE = 1 << 64

WITHOUT_NUMBERS = frozenset(
    {"joined", "left", "rang", "rang_in_vain", "answered", "completed", "hold", "unhold", "merged"}
)
"""What of a timeline has a queue, an agent or a call's id as its detail. Others may have a caller's number there."""

WELL = frozenset({"bot_closed", "bot_hung_up"})
"""Causes of a bot's that are no failure."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Which trace a call is, and whether it is sent.

    Attributes:
        trace_id: 128 bits (W3C Trace Context).
        root_id: 64 bits: the span of the call.
        sampled: Chosen to be sent.
    """

    trace_id: int
    root_id: int
    sampled: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """Something within a span. `at` is seconds since the epoch."""

    at: float
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a call. Times are seconds since the epoch.

    Attributes:
        name: A closed word, with the queue's or profile's name after it.
        span_id: 64 bits.
        parent_id: Of the span around it; None for the call itself.
        attributes: Names begin with `connector.`.
        moments: In order.
        error: Why it went wrong; empty if it did not.
        outgoing: We asked somebody else: a bot.
    """

    name: str
    span_id: int
    parent_id: int | None
    started_at: float
    ended_at: float
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    error: str = ""
    outgoing: bool = False


def trace_of(pbx: str, linkedid: str, sample_ratio: float) -> Trace:
    """The trace of a call; the same for everybody who knows the call's name."""
    digest = hashlib.sha256(f"{pbx}/{linkedid}".encode()).digest()
    chosen = int.from_bytes(digest[24:32]) < sample_ratio * SAMPLE_SPACE
    return Trace(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1, chosen)


def span_id_of(*names: str) -> int:
    """The id of a span that has these names and no others."""
    return int.from_bytes(hashlib.sha256("/".join(names).encode()).digest()[:8]) or 1


def traceparent(trace: Trace, span_id: int) -> str:
    """The header by which another joins in (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    return f"00-{trace.trace_id:032x}-{span_id:016x}-{'01' if trace.sampled else '00'}"


def spans_of_call(record: CallRecord, trace: Trace) -> list[Span]:
    """The call and what it did in queues."""
    call = Span(
        name="call",
        span_id=trace.root_id,
        parent_id=None,
        started_at=record.started_at,
        ended_at=record.at,
        attributes={
            "connector.pbx": record.pbx,
            "connector.linkedid": record.linkedid,
            "connector.direction": record.direction.value,
            "connector.legs": record.legs,
            "connector.answered": record.answered_at is not None,
            "connector.recovered": record.recovered,
        },
        moments=tuple(
            Moment(entry.at, entry.what, entry.detail if entry.what in WITHOUT_NUMBERS else "")
            for entry in record.timeline
        ),
    )
    spans = [call]
    for visit in record.visits:
        spans += _spans_of_visit(record, visit, trace)
    return spans


def _spans_of_visit(record: CallRecord, visit: QueueVisit, trace: Trace) -> list[Span]:
    names = (record.pbx, record.linkedid, visit.queue, visit.uniqueid, f"{visit.joined_at:.6f}")
    waited = Span(
        name=f"queue {visit.queue}",
        span_id=span_id_of(*names),
        parent_id=trace.root_id,
        started_at=visit.joined_at,
        ended_at=visit.ended_at,
        attributes={
            "connector.queue": visit.queue,
            "connector.outcome": visit.outcome.value,
            "connector.position": visit.position,
            "connector.rang_in_vain": visit.rang_in_vain,
            **({"connector.agent": visit.agent} if visit.agent else {}),
        },
    )
    if not visit.talk_s:
        return [waited]
    talked = Span(
        name=f"talk {visit.queue}",
        span_id=span_id_of(*names, "talk"),
        parent_id=trace.root_id,
        started_at=visit.ended_at,
        ended_at=visit.ended_at + visit.talk_s,
        attributes={
            "connector.queue": visit.queue,
            "connector.agent": visit.agent,
            "connector.hold_s": visit.hold_s,
            "connector.transferred": visit.transferred,
        },
    )
    return [waited, talked]


def span_of_stream(record: StreamRecord, trace: Trace) -> Span:
    """A stream, from the decision to have one to its end."""
    failed = record.cause.startswith(("bot_", "worker_", "asterisk_")) and record.cause not in WELL
    moments = () if record.setup_s is None else (Moment(record.started_at + record.setup_s, "audio"),)
    return Span(
        name=f"stream {record.profile}",
        span_id=span_id_of(record.pbx, record.stream_id),
        parent_id=trace.root_id,
        started_at=record.started_at,
        ended_at=record.at,
        attributes={
            "connector.pbx": record.pbx,
            "connector.profile": record.profile,
            "connector.stream_id": record.stream_id,
            "connector.cause": record.cause,
            **{f"connector.{name}": count for name, count in sorted(record.stats.items())},
            **{f"connector.fault.{fault['fault']}": True for fault in record.quality.get("faults", ())},
        },
        moments=moments,
        error=f"{record.cause}: {record.detail}" if failed else "",
        outgoing=True,
    )
