"""Streams in the shapes of the API: those that run, from the live parts, and those that ended, from what is kept."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connector.acd.model import PbxState
from connector.media.control import EndCause, StreamOutcome, StreamStats, outcome_of
from connector.media.diagnosis import Diagnosis, Fault
from connector.media.quality import Quality
from connector.records import StreamRecord
from connector.streams.phone_rtp import PhoneRtp
from connector.streams.seen import LiveStream, Stage
from connector.web.rest.shapes import Shape

Dbfs = Annotated[float, Meta(description="Mean power against full scale; -96 is silence.")]


class StreamFault(Shape, frozen=True):
    """A fault of the audio that was found, with what was measured and what to do, see docs/quality.md."""

    fault: Fault
    evidence: str
    remedy: str


class StreamMeters(Shape, frozen=True):
    """How a stream sounds and flows now, at most a second old.

    Attributes:
        caller_dbfs: Level of what the caller says now, 100 ms of it.
        bot_dbfs: The same of the bot.
        mos: Estimated listening quality of the caller's audio, 1.0 to 4.4; 0 before the first packet.
        loss_percent: Of the caller's packets.
        jitter_ms: Of the caller's packets.
        in_delay_ms: Added between the caller and the bot.
        out_delay_ms: Added between the bot and the caller.
        bot_backlog_ms: Audio of the bot that waits to be played.
        counters: Since the stream opened.
        phone: What Asterisk counted of the RTP of the caller's phone; it is asked of one stream a second, in turn. Null
            before that, and where the caller has none.
    """

    caller_dbfs: Dbfs
    bot_dbfs: Dbfs
    mos: float
    loss_percent: float
    jitter_ms: float
    in_delay_ms: float
    out_delay_ms: float
    bot_backlog_ms: int
    counters: StreamStats
    phone: PhoneRtp | None


class StreamView(Shape, frozen=True):
    """A stream that runs or is being set up.

    Attributes:
        stream: Its id.
        linkedid: Of the call, empty if the live state does not know it.
        uniqueid: Of the channel whose audio it is.
        profile: Name of its profile.
        dialect: The wire protocol.
        mode: How it stands to its call: voicebot, assist.
        peer: Scheme, host and port of the bot.
        state: connecting, live or held.
        started_at: When it began.
        queues: Of the call, those in scope: the one it is answered from, else those that it came to.
        agent: Id of the agent whose channel it is; empty if it is none's.
        teams: Of the agent.
        number: Of the other party.
        name: Of the other party.
        faults: Found so far.
        meters: Null before audio, and where nobody asked for them.
    """

    pbx: str
    stream: str
    linkedid: str
    uniqueid: str
    profile: str
    dialect: str
    mode: str
    peer: str
    state: Stage
    started_at: float
    queues: tuple[str, ...]
    agent: str
    teams: tuple[str, ...]
    number: str
    name: str
    faults: tuple[StreamFault, ...]
    meters: StreamMeters | None


class StreamList(Shape, frozen=True):
    """Streams. `next` is empty on the last page."""

    at: float
    streams: tuple[StreamView, ...]
    next: str


class FinishedStream(Shape, frozen=True):
    """A stream that ended, or could not be set up.

    Attributes:
        outcome: What the cause means.
        setup_s: From the call's arrival to audio; null where it never came to that.
        quality: How it sounded as a whole, with its faults, see docs/quality.md; empty where audio never began.
    """

    pbx: str
    stream: str
    uniqueid: str
    profile: str
    dialect: str
    mode: str
    peer: str
    queue: str
    started_at: float
    ended_at: float
    outcome: StreamOutcome
    cause: str
    detail: str
    setup_s: float | None
    counters: dict[str, int]
    quality: dict[str, Any]


class StreamPage(Shape, frozen=True):
    """Streams that ended. `next` is empty on the last page."""

    streams: tuple[FinishedStream, ...]
    next: str


def stream_fields(state: PbxState, stream: LiveStream, *, meters: bool = True) -> dict[str, Any]:
    """A stream that runs, as fields of `StreamView`."""
    track = state.legs.get(stream.uniqueid)
    call = state.calls.get(track.leg.linkedid) if track is not None else None
    agent = track.agent if track is not None else ""
    person = state.directory.people.get(agent)
    # The queue that a conversation is answered from says whose it is; else those do that the call came to.
    queues = {stream.queue} if stream.queue else {visit.queue for visit in call.visits} if call is not None else set()
    return {
        "pbx": stream.pbx,
        "stream": stream.stream_id,
        "linkedid": call.linkedid if call is not None else "",
        "uniqueid": stream.uniqueid,
        "profile": stream.profile,
        "dialect": stream.dialect,
        "mode": stream.mode,
        "peer": stream.peer,
        "state": stream.stage,
        "started_at": stream.started_at,
        "queues": tuple(sorted(queues)),
        "agent": agent,
        "teams": person.teams if person is not None else (),
        "number": call.number if call is not None else "",
        "name": call.name if call is not None else "",
        "faults": tuple(_fault(each) for each in stream.faults),
        "meters": _meters(stream, stream.quality) if meters and stream.quality is not None else None,
    }


def stream_view(state: PbxState, stream: LiveStream) -> StreamView:
    """A stream that runs."""
    return StreamView(**stream_fields(state, stream))


def finished_stream(record: StreamRecord) -> FinishedStream:
    """A kept stream."""
    return FinishedStream(
        pbx=record.pbx,
        stream=record.stream_id,
        uniqueid=record.uniqueid,
        profile=record.profile,
        dialect=record.dialect,
        mode=record.mode,
        peer=record.peer,
        queue=record.queue,
        started_at=record.started_at,
        ended_at=record.at,
        outcome=outcome_of(EndCause(record.cause)) if record.cause in _CAUSES else StreamOutcome.FAILED,
        cause=record.cause,
        detail=record.detail,
        setup_s=record.setup_s,
        counters=record.stats,
        quality=record.quality,
    )


_CAUSES = frozenset(each.value for each in EndCause)


def _fault(found: Diagnosis) -> StreamFault:
    return StreamFault(fault=found.fault, evidence=found.evidence, remedy=found.remedy)


def _meters(stream: LiveStream, quality: Quality) -> StreamMeters:
    return StreamMeters(
        caller_dbfs=round(quality.caller.now_dbfs, 1),
        bot_dbfs=round(quality.bot.now_dbfs, 1),
        mos=quality.mos,
        loss_percent=round(quality.loss_percent, 2),
        jitter_ms=round(quality.jitter_ms, 1),
        in_delay_ms=round(quality.in_delay_ms, 1),
        out_delay_ms=round(quality.out_delay_ms, 1),
        bot_backlog_ms=quality.bot_backlog_ms,
        counters=msgspec.structs.replace(stream.stats),  # the worker's next report must not change what was shown
        phone=stream.phone,
    )
