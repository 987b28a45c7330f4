"""What one stream in the worker measures of itself: fed by the audio loop, read once a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from connector.audio.formats import AudioFormat
from connector.media.beep import Beeper
from connector.media.control import StreamStats
from connector.media.playout import Playout
from connector.media.quality import Allowance, PaceMeter, Quality, SoundMeter, estimate_mos, loss_percent
from connector.media.recorder import Recording
from connector.media.rtp import RtpReject
from connector.media.timeline import Timeline

FRAME_MS = 20
FRAME_SAMPLES = 160
_SECOND_S = 0.9
"""Looks come each second, sooner or later by a little; what comes sooner than this is the last of a stream."""


class Gauge:
    """Of one stream.

    Args:
        heard: The caller's audio as the bot gets it.
        said: The bot's audio as it sends it.
        stats: The stream's counters.
        playout: What waits for the caller.

    Attributes:
        caller: Keeps the frames of the caller that are to be looked at.
        bot: The same of the bot.
        quality: As of the last look.
        jitter_s: Interarrival jitter (RFC 3550 section 6.4.1), as the audio loop tells it.
        recording: The stream is recorded.
    """

    def __init__(self, heard: AudioFormat, said: AudioFormat, stats: StreamStats, playout: Playout) -> None:
        self.caller = SoundMeter(heard)
        self.bot = SoundMeter(said)
        self._turns = deque((self.caller, self.bot))  # where one alone may look at the nature, each has it in turn
        self.quality = Quality(caller=self.caller.sound, bot=self.bot.sound)
        self.jitter_s = 0.0
        self._said = said
        self._beeper: Beeper | None = None
        self.recording: Recording | None = None
        self._record_heard: Callable[[bytes], None] | None = None
        self._record_said: Callable[[bytes], None] | None = None
        self._stats = stats
        self._playout = playout
        self._timeline: Timeline | None = None
        self._pace = PaceMeter()
        self._started_s = 0.0
        self._looked_s = 0.0
        self._offered_ms = 0
        self._messages = 0
        self._underruns = 0
        self._backlogs: deque[int] = deque(maxlen=3)

    # -- called for each frame ---------------------------------------------------------------------------------

    @property
    def watches(self) -> bool:
        """Whether frames that go to the bot are to be shown to `see`."""
        return self._record_heard is not None or self.caller.wanted > 0

    def see(self, payload: bytes) -> bool:
        """A frame that goes to the bot, empty for silence; returns whether more are wanted."""
        if self._record_heard is not None:
            self._record_heard(payload)
        if self.caller.wanted > 0:
            self.caller.take(payload)
        return self.watches

    def say(self, frame: bytes | None) -> bytes | None:
        """A frame of the bot for the caller, None where it says nothing; returns it with the recording's beep."""
        if frame and self.bot.wanted > 0:
            self.bot.take(frame)
        if self._beeper is not None:
            frame = self._beeper.mix(frame)
        if self._record_said is not None:
            self._record_said(frame or b"")
        return frame

    def add(self, sums: list[list[int]]) -> None:
        """Sums of frames that were not shown, of what goes to the bot and of what it says; see `Look.of_sums`."""
        for meter, of_frames in zip((self.caller, self.bot), sums, strict=True):
            meter.add(*of_frames)

    def record(
        self,
        recording: Recording,
        *,
        heard: Callable[[bytes], None] | None,
        said: Callable[[bytes], None] | None,
        beeps: bool,
    ) -> None:
        """The stream is recorded from now on.

        Args:
            recording: Its recording.
            heard: Takes each frame that goes to the bot.
            said: Takes each frame of the bot.
            beeps: The recording's beep is said by this stream.
        """
        self.recording, self._record_heard, self._record_said = recording, heard, said
        self._playout.take_back()  # what the bot says is to come by here
        every_s = recording.to.beep_every_s
        self._beeper = Beeper(self._said, every_s) if beeps and every_s else None

    def stop_recording(self) -> None:
        """The stream is recorded no more."""
        self.recording = self._record_heard = self._record_said = self._beeper = None

    def pause_recording(self, paused: bool) -> None:
        """Leaves what is said out of the recording, or no longer."""
        if self.recording is not None:
            self.recording.pause(paused)

    # -- called now and then -----------------------------------------------------------------------------------

    def rejected(self, cause: RtpReject, payload_type: int) -> None:
        """A packet that is not used."""
        if cause is RtpReject.WRONG_PAYLOAD_TYPE:
            self.quality.wrong_type += 1
            self.quality.wrong_type_last = payload_type

    def begin(self, now_s: float, timeline: Timeline) -> None:
        """Audio begins.

        Args:
            now_s: Monotonic time.
            timeline: The receive side.
        """
        self._timeline = timeline
        self._started_s = self._looked_s = now_s

    def count(self) -> None:
        """Brings the stream's counters up to date; those of the receive side as they were last synced."""
        stats = self._stats
        if self._timeline is not None:
            counts = self._timeline.counts
            stats.packets_in = counts.received
            stats.packets_lost = counts.lost
            stats.packets_late = counts.late
            stats.silence_filled = counts.filled_samples // FRAME_SAMPLES
        stats.playout_dropped_bytes = self._playout.dropped_bytes
        stats.underruns = self._playout.underruns

    def look(self, now_s: float, natures: Allowance) -> Quality | None:
        """Brings everything up to date, once a second after counters and timeline; None before audio."""
        quality, stats, timeline, playout = self.quality, self._stats, self._timeline, self._playout
        if timeline is None:
            return None
        quality.age_s = now_s - self._started_s
        quality.since_packet_s = now_s - timeline.heard_s
        quality.jitter_ms = round(self.jitter_s * 1000, 2)
        quality.jitter_max_ms = max(quality.jitter_max_ms, quality.jitter_ms)
        quality.loss_percent = round(loss_percent(stats.packets_in, stats.packets_lost), 3)
        quality.concealed_ms = timeline.counts.concealed_samples * FRAME_MS // FRAME_SAMPLES
        quality.in_delay_ms = round(max(0.0, timeline.behind_ms(now_s)), 1)
        quality.mos = estimate_mos(
            stats.packets_in,
            stats.packets_lost,
            quality.in_delay_ms,
            quality.jitter_ms,
            conceals=timeline.conceals,
        )
        quality.bot_backlog_ms = playout.queued_ms
        quality.bot_share = round(min(1.0, playout.played_ms / 1000 / max(quality.age_s, 0.001)), 3)
        if now_s - self._looked_s >= _SECOND_S:
            self._second(now_s, natures)
        return quality

    def _second(self, now_s: float, natures: Allowance) -> None:
        quality, stats, playout = self.quality, self._stats, self._playout
        elapsed_s = now_s - self._looked_s
        self._looked_s = now_s
        audio_ms = (playout.offered_ms - self._offered_ms) / elapsed_s
        messages = round((stats.bot_messages - self._messages) / elapsed_s)
        self._pace.add(audio_ms, messages, playout.underruns - self._underruns)
        self._offered_ms, self._messages = playout.offered_ms, stats.bot_messages
        self._underruns = playout.underruns
        quality.bot_pace, quality.bot_regular = round(self._pace.pace, 3), self._pace.regular
        quality.bot_dry = self._pace.dry
        if playout.queued_ms:
            self._backlogs.append(playout.queued_ms)
            quality.out_delay_ms = float(min(self._backlogs))
        self._turns.rotate()
        for meter in self._turns:
            meter.measure(natures)
