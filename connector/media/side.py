"""One more track of a stream: heard from an address of its own, told to the same bot, with nothing said back."""

from __future__ import annotations

import secrets
from typing import Protocol

from connector.audio.formats import AudioFormat
from connector.audio.wire import Wire
from connector.dialects.base import Track
from connector.media.control import EndCause, StreamStats
from connector.media.frames import FRAME_BYTES
from connector.media.gauge import Gauge
from connector.media.playout import Playout
from connector.media.rtp import RtpReject, RtpSender
from connector.media.timeline import Timeline


class Owner(Protocol):
    """What a side asks of its stream."""

    stream_id: str
    wire: Wire
    bot_hears: AudioFormat

    def attach(self, now_s: float) -> object:
        """Tells the bot that audio follows, if it has not been told."""
        ...

    def hear(self, payload: bytes, timestamp_ms: int, track: Track | None = None) -> None:
        """Takes a frame for the bot."""
        ...

    def rejected_rtp(self, cause: RtpReject, payload_type: int = -1) -> None:
        """Takes the cause of a datagram that is not used."""
        ...

    def close(self, cause: EndCause) -> None:
        """Ends the stream."""
        ...


class Side:
    """What the audio loop needs of a track. Asterisk hears silence from it, and a recording's beep.

    Args:
        stream: Which it belongs to.
        track: Whose audio.
    """

    line = -1
    """It has none in the fast path, which writes for streams of one track."""
    sends_silence = True
    carrier = None
    """Its audio comes by RTP."""
    lends = False
    """It has no audio for a caller."""

    def __init__(self, stream: Owner, track: Track) -> None:
        self.stream_id = stream.stream_id
        self.track = track
        self.wire = stream.wire
        self.bot_hears = self.bot_says = stream.bot_hears
        self.row: int | None = None
        self.packets_out = 0
        self.rtp = RtpSender(ssrc=secrets.randbits(32), sequence=secrets.randbits(16), timestamp=secrets.randbits(32))
        self.gauge = Gauge(self.bot_hears, self.bot_says, StreamStats(), Playout(max_ms=20, prebuffer_ms=0))
        """Of no use but to the audio loop: the first track tells how a stream sounds."""
        self._stream = stream
        self._timeline: Timeline | None = None

    def attach(self, now_s: float) -> Timeline:
        """Its audio begins."""
        self._stream.attach(now_s)
        if self._timeline is None:
            self._timeline = Timeline(now_s, self.wire)
        return self._timeline

    def hear(self, payload: bytes, timestamp_ms: int) -> None:
        """A frame for the bot."""
        self._stream.hear(payload, timestamp_ms, self.track)

    def step(self) -> bytes | None:
        """Nothing is said but a recording's beep."""
        return self.gauge.say(None)

    def rejected_rtp(self, cause: RtpReject, payload_type: int = -1) -> None:
        """A datagram that is not used."""
        self._stream.rejected_rtp(cause, payload_type)

    def close(self, cause: EndCause) -> None:
        """Ends the stream that it belongs to."""
        self._stream.close(cause)

    def add_to(self, stats: StreamStats) -> None:
        """Adds what came and went to the stream's counters."""
        stats.packets_out += self.packets_out
        if self._timeline is not None:
            add_counts(stats, self._timeline)


def add_counts(stats: StreamStats, timeline: Timeline) -> None:
    """Adds what a timeline has counted."""
    stats.packets_in += timeline.counts.received
    stats.packets_lost += timeline.counts.lost
    stats.packets_late += timeline.counts.late
    stats.silence_filled += timeline.counts.filled_samples // FRAME_BYTES
