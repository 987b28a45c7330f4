"""Names of a worker's running totals, as `WorkerStats.counters` carries them. Stable: dashboards use them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from connector.dialects.base import RejectCause
from connector.media.control import EndCause, StreamStats
from connector.media.rtp import RtpReject

RTP_RECEIVED = "rtp_received"
"""Datagrams that came in, good or bad."""
RTP_DRAINED = "rtp_drained"
"""Late packets of a stream that has just been closed: normal."""
RTP_SEND_FAILED = "rtp_send_failed"
RTP_SOURCE_TAKEN_OVER = "rtp_source_taken_over"
"""Asterisk gave an address to a new channel while its old stream was still open."""
LATE_TICKS = "late_ticks"
"""Steps of the 20 ms clock that were skipped because the worker stood still."""
STREAMS_OPENED = "streams_opened"
BOT_MARKS_DROPPED = "bot_marks_dropped"
BOT_COMMANDS_DROPPED = "bot_commands_dropped"
"""What bots asked for and the control process, behind with its work, was not told."""
STATS_SKIPPED = "stats_skipped"
"""Reports not sent because the control process did not read."""


def rtp_rejected(cause: RtpReject) -> str:
    """Datagrams not used, by cause."""
    return f"rtp_rejected_{cause.value}"


def bot_rejected(cause: RejectCause) -> str:
    """Messages of bots not used, by cause."""
    return f"bot_rejected_{cause.value}"


def streams_ended(cause: EndCause) -> str:
    """Streams that ended or never opened, by cause."""
    return f"streams_ended_{cause.value}"


STREAM_TOTALS = tuple(field.name for field in msgspec.structs.fields(StreamStats))
"""The counters of `StreamStats`, added up over all streams that a worker has had."""

NAMES: tuple[str, ...] = (
    RTP_RECEIVED,
    RTP_DRAINED,
    RTP_SEND_FAILED,
    RTP_SOURCE_TAKEN_OVER,
    LATE_TICKS,
    STREAMS_OPENED,
    BOT_MARKS_DROPPED,
    BOT_COMMANDS_DROPPED,
    STATS_SKIPPED,
    *map(rtp_rejected, RtpReject),
    *map(bot_rejected, RejectCause),
    *map(streams_ended, EndCause),
    *STREAM_TOTALS,
)
"""Every name there is; each is present, at 0, from the first report on."""


class Counters:
    """Running totals, all at 0 at first."""

    def __init__(self) -> None:
        self.values = dict.fromkeys(NAMES, 0)

    def add(self, name: str, count: int = 1) -> None:
        """Counts; the name is one of `NAMES`."""
        self.values[name] += count

    def add_stream(self, stats: StreamStats) -> None:
        """Adds what a stream carried."""
        add_streams(self.values, (stats,))


def add_streams(totals: dict[str, int], stats: Iterable[StreamStats]) -> None:
    """Adds what streams carried to totals by name."""
    columns = zip(*map(msgspec.structs.astuple, stats), strict=True)
    for name, values in zip(STREAM_TOTALS, columns, strict=False):
        totals[name] += sum(values)
