"""Prometheus metrics: read from the live parts at each scrape, counted here where a happening leaves no state.

Labels are closed sets, and names from the settings or of the PBX's queues.
No label ever holds a call, channel or caller id; a test holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from connector import __version__
from connector.acd.model import Queue
from connector.asterisk.link import PbxLink
from connector.events import AgentCompleted, CallOutcome, DeviceState, LinkState, Outcome
from connector.media import counters as media
from connector.media.control import EndCause, outcome_of
from connector.media.engine import MediaEngine

WAIT_BUCKETS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
"""Around the usual service targets of 10, 15, 20 and 30 s."""

SETUP_BUCKETS_S = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""StasisStart to audio; 2 s is the promised bound."""


MOS_BUCKETS = (1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.3)
"""Where users are dissatisfied, by G.107 annex B: 2.6 nearly all, 3.1 many, 3.6 some, 4.0 satisfied, 4.3 very."""
JITTER_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
LEVEL_BUCKETS_DBFS = (-60, -50, -40, -35, -30, -25, -20, -15, -10, -5)
"""Speech on the phone is best around -20; above -10 it clips, below -35 recognition suffers."""
LOSS_BUCKETS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)


class StreamCounters:
    """Counts the lives of streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("pbx", "profile")
        self._ended = Counter(
            "connector_streams",
            "Streams that ended or could not be set up, by outcome and its cause.",
            (*labels, "dialect", "mode", "outcome", "cause"),
            registry=registry,
        )
        self._steps = Counter(
            "connector_steps",
            "Calls that came through a step without a stream (passthru, connect), by what came of it.",
            ("pbx", "profile", "result"),
            registry=registry,
        )
        self._refused = Counter(
            "connector_streams_refused",
            "Calls sent back to the dialplan before anything was created, by cause.",
            (*labels, "cause"),
            registry=registry,
        )
        self._dialled = Counter(
            "connector_bot_dials",
            "Attempts to reach a bot, by outcome: opened, or the cause of the failure.",
            ("profile", "outcome"),
            registry=registry,
        )
        self._setup = Histogram(
            "connector_stream_setup_seconds",
            "From StasisStart to audio in both directions.",
            labels,
            buckets=SETUP_BUCKETS_S,
            registry=registry,
        )
        self._faults = Counter(
            "connector_stream_faults",
            "Streams in which a fault of the audio was named, each fault once.",
            (*labels, "fault"),
            registry=registry,
        )
        self._mos = Histogram(
            "connector_stream_mos",
            "Estimated listening quality of the caller's audio at the end of a stream, 1.0 to 4.4 (ITU-T G.107).",
            labels,
            buckets=MOS_BUCKETS,
            registry=registry,
        )
        self._jitter = Histogram(
            "connector_stream_jitter_seconds",
            "Interarrival jitter of the caller's packets at the end of a stream (RFC 3550).",
            labels,
            buckets=JITTER_BUCKETS_S,
            registry=registry,
        )
        self._loss = Histogram(
            "connector_stream_loss_ratio",
            "Packets of the caller that never came, of those expected, over a stream.",
            labels,
            buckets=LOSS_BUCKETS,
            registry=registry,
        )
        self._level = Histogram(
            "connector_stream_level_dbfs",
            "Level of the caller's and the bot's sound over a stream, silence left out, in dB of full scale.",
            (*labels, "side"),
            buckets=LEVEL_BUCKETS_DBFS,
            registry=registry,
        )
        self._swept = Counter(
            "connector_orphans_removed",
            "Channels, bridges and callers that a dead process or a lost connection left.",
            ("pbx", "kind"),
            registry=registry,
        )

    def stepped(self, pbx: str, profile: str, result: str) -> None:
        """A call came through a step without a stream."""
        self._steps.labels(pbx, profile, result).inc()

    def refused(self, pbx: str, profile: str, cause: str) -> None:
        """A call went back to the dialplan before anything was created."""
        self._refused.labels(pbx, profile, cause).inc()

    def ended(self, pbx: str, profile: str, dialect: str, mode: str, cause: EndCause, setup_s: float | None) -> None:
        """A stream ended; `setup_s` is None where audio never flowed."""
        self._ended.labels(pbx, profile, dialect, mode, outcome_of(cause).value, cause.value).inc()
        if setup_s is not None:
            self._setup.labels(pbx, profile).observe(setup_s)

    def dialled(self, profile: str, outcome: str) -> None:
        """An attempt to reach a bot is over."""
        self._dialled.labels(profile, outcome).inc()

    def fault(self, pbx: str, profile: str, fault: str) -> None:
        """A fault of the audio was named in a stream for the first time."""
        self._faults.labels(pbx, profile, fault).inc()

    def heard(self, pbx: str, profile: str, *, mos: float, jitter_s: float, loss: float) -> None:
        """How a stream sounded; `mos` is 0 where nothing came."""
        if mos:
            self._mos.labels(pbx, profile).observe(mos)
            self._jitter.labels(pbx, profile).observe(jitter_s)
            self._loss.labels(pbx, profile).observe(loss)

    def loud(self, pbx: str, profile: str, side: str, level_dbfs: float) -> None:
        """How loud one side of a stream was; `side` is caller or bot."""
        self._level.labels(pbx, profile, side).observe(level_dbfs)

    def swept(self, pbx: str, kind: str) -> None:
        """Something left behind was removed."""
        self._swept.labels(pbx, kind).inc()


TALK_BUCKETS_S = (5, 15, 30, 60, 120, 180, 300, 450, 600, 900, 1800, 3600)
"""Asterisk tells whole seconds; most conversations last minutes."""


class QueueWaits:
    """Observes how long callers waited, and how long they talked then.

    Attributes:
        takes: What of the bus matters to it.
    """

    takes = (CallOutcome, AgentCompleted)

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waits = Histogram(
            "connector_queue_wait_seconds",
            "Time in the queue until the caller was answered, or left unanswered.",
            ("pbx", "queue", "answered"),
            buckets=WAIT_BUCKETS_S,
            registry=registry,
        )
        self._talks = Histogram(
            "connector_queue_talk_seconds",
            "Conversations with the agent who answered, until one of them hung up or passed the other on.",
            ("pbx", "queue"),
            buckets=TALK_BUCKETS_S,
            registry=registry,
        )

    def on_event(self, event: object) -> None:
        """Takes an item of the bus."""
        if isinstance(event, CallOutcome):
            answered = "yes" if event.outcome is Outcome.ANSWERED else "no"
            self._waits.labels(event.pbx, event.queue, answered).observe(event.wait_s)
        elif isinstance(event, AgentCompleted):
            self._talks.labels(event.pbx, event.queue).observe(event.talk_s)


class LiveCollector(Collector):
    """Reads the live parts at each scrape, so there is no second copy of the truth.

    Args:
        links: The PBXs.
        engine: The media side.
        streams: Active streams by PBX, profile, dialect and mode.
        limits: How many streams a PBX may have, by PBX; without one whose RTP range is not known.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        links: Sequence[PbxLink],
        engine: MediaEngine,
        streams: Callable[[], Mapping[tuple[str, str, str, str], int]],
        limits: Callable[[], Mapping[str, int]],
        clock: Callable[[], float],
    ) -> None:
        self._links = links
        self._engine = engine
        self._streams = streams
        self._limits = limits
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        info = InfoMetricFamily("connector_build", "Version of the connector.")
        info.add_metric((), {"version": __version__})
        yield info
        yield from self._collect_links()
        yield from self._collect_queues()
        yield from self._collect_streams()
        yield from self._collect_media()

    def _collect_links(self) -> Iterable[Metric]:
        up = _gauge("connector_link_up", "Whether a connection to the PBX stands.", "pbx", "link")
        refused = _gauge("connector_link_refused", "Whether the PBX refuses the login.", "pbx", "link")
        gaps = _counter("connector_link_gaps", "Times a connection was lost and came back.", "pbx", "link")
        gap_s = _counter("connector_link_gap_seconds", "How long events were missing.", "pbx", "link")
        lag = _gauge("connector_ami_event_lag_seconds", "Age of the last AMI event when it came.", "pbx")
        last = _gauge("connector_ami_last_event_timestamp_seconds", "When the last AMI event came.", "pbx")
        events = _counter("connector_asterisk_events", "Events received.", "pbx", "link")
        connected = _counter("connector_link_connections", "Times a connection was made.", "pbx", "link")
        incidents = _counter("connector_asterisk_incidents", "What went wrong on a connection.", "pbx", "link", "cause")
        malformed = _counter("connector_ami_malformed", "AMI messages that could not be read.", "pbx", "cause")
        resyncs = _counter("connector_resyncs", "Snapshots asked for.", "pbx", "cause")
        drift = _counter("connector_state_drift", "Own state proved wrong by a snapshot.", "pbx", "kind")
        unannounced = _counter(
            "connector_state_unannounced", "Changes that only a snapshot showed, for want of an event.", "pbx", "kind"
        )
        calls = _gauge("connector_calls", "Calls on the PBX.", "pbx")
        channels = _gauge("connector_channels", "Channels on the PBX.", "pbx")
        for pbx in self._links:
            for name, link in pbx.state.links.items():
                up.add_metric((pbx.pbx, name), link.state is LinkState.UP)
                refused.add_metric((pbx.pbx, name), link.state is LinkState.REFUSED)
                gaps.add_metric((pbx.pbx, name), link.gaps)
                gap_s.add_metric((pbx.pbx, name), link.gap_s)
            lag.add_metric((pbx.pbx,), pbx.event_lag_s)
            if pbx.last_event_at is not None:
                last.add_metric((pbx.pbx,), pbx.last_event_at)
            for name, counted in (("ami", pbx.ami.counters), ("ari", pbx.ari.counters)):
                for cause, count in counted.items():
                    if cause == "events":
                        events.add_metric((pbx.pbx, name), count)
                    elif cause == "connected":
                        connected.add_metric((pbx.pbx, name), count)
                    elif cause != "unknown_event":  # of ARI: most of them, and none the worse for it
                        incidents.add_metric((pbx.pbx, name, str(cause)), count)
            _add_all(malformed, pbx.pbx, pbx.malformed)
            _add_all(resyncs, pbx.pbx, pbx.resyncs)
            _add_all(drift, pbx.pbx, pbx.state.drift)
            _add_all(unannounced, pbx.pbx, pbx.state.unannounced)
            calls.add_metric((pbx.pbx,), len(pbx.state.calls))
            channels.add_metric((pbx.pbx,), len(pbx.state.legs))
        yield from (
            up,
            refused,
            gaps,
            gap_s,
            lag,
            last,
            events,
            connected,
            incidents,
            malformed,
            resyncs,
            drift,
            unannounced,
            calls,
            channels,
        )

    def _collect_queues(self) -> Iterable[Metric]:
        now = self._clock()
        waiting = _gauge("connector_queue_callers_waiting", "Callers who wait.", "pbx", "queue")
        longest = _gauge("connector_queue_longest_wait_seconds", "Of those who wait now; 0 if none.", "pbx", "queue")
        members = _gauge("connector_queue_members", "Members by state of their device.", "pbx", "queue", "state")
        paused = _gauge("connector_queue_members_paused", "Members whom the queue skips.", "pbx", "queue")
        outcomes = _counter("connector_queue_calls", "Callers by how their stay ended.", "pbx", "queue", "outcome")
        for pbx in self._links:
            for name, queue in pbx.state.queues.items():
                key = (pbx.pbx, name)
                waiting.add_metric(key, len(queue.waiting))
                longest.add_metric(key, _longest_wait_s(queue, now))
                states = dict.fromkeys(DeviceState, 0)
                for member in queue.members.values():
                    states[member.device] += 1
                for state, count in states.items():
                    members.add_metric((*key, state.value), count)
                paused.add_metric(key, sum(member.paused for member in queue.members.values()))
            # Of queues that are gone too: a counter never goes back.
            for name in dict.fromkeys((*pbx.state.queues, *pbx.state.outcomes)):
                counts = pbx.state.outcomes.get(name, {})
                for outcome in Outcome:
                    outcomes.add_metric((pbx.pbx, name, outcome.value), counts.get(outcome, 0))
        yield from (waiting, longest, members, paused, outcomes)

    def _collect_streams(self) -> Iterable[Metric]:
        labels = ("pbx", "profile", "dialect", "mode")
        active = _gauge("connector_streams_active", "Streams that are set up or running.", *labels)
        for key, count in self._streams().items():
            active.add_metric(key, count)
        limit = _gauge("connector_stream_limit", "Streams the PBX's RTP ports and the settings allow.", "pbx")
        for pbx, count in self._limits().items():
            limit.add_metric((pbx,), count)
        yield from (active, limit)

    def _collect_media(self) -> Iterable[Metric]:
        stats = self._engine.stats
        ready = _gauge("connector_media_worker_up", "Whether the media worker serves.", "worker")
        streams = _gauge("connector_media_worker_streams", "Streams that the worker has.", "worker")
        busy = _gauge("connector_media_worker_busy", "Share of a core in the last second, 0 to 1.", "worker")
        late = _gauge("connector_media_tick_late_seconds", "Largest lateness of a tick in the last second.", "worker")
        fast = _gauge("connector_media_fast_path", "Whether the worker has its compiled helper.", "worker")
        restarts = _counter("connector_media_worker_restarts", "Times it died and was started again.", "worker")
        for worker in self._engine.workers:
            key = (str(worker.number),)
            ready.add_metric(key, worker.up)
            streams.add_metric(key, worker.streams)
            busy.add_metric(key, worker.busy)
            late.add_metric(key, worker.tick_late_ms / 1000)
            fast.add_metric(key, worker.fast_path)
            restarts.add_metric(key, worker.restarts)
        yield from (ready, streams, busy, late, fast, restarts)
        for name, help_text, value in (
            ("connector_media_streams_reopened", "Streams that outlived their worker.", stats.reopened),
            ("connector_media_gap_seconds", "Audio that these streams missed.", stats.gap_ms / 1000),
            ("connector_media_streams_refused", "Streams for which no worker had room.", stats.refused),
        ):
            total = _counter(name, help_text)
            total.add_metric((), value)
            yield total
        rtp = _counter("connector_media_rtp_rejected", "Datagrams not used.", "cause")
        bot = _counter("connector_media_bot_messages_rejected", "Messages of bots not used.", "cause")
        for name, count in stats.counters.items():
            if name.startswith("rtp_rejected_"):
                rtp.add_metric((name.removeprefix("rtp_rejected_"),), count)
            elif name.startswith("bot_rejected_"):
                bot.add_metric((name.removeprefix("bot_rejected_"),), count)
            elif not name.startswith("streams_"):  # those stand with pbx and profile already
                family = _counter(f"connector_media_{name}", MEDIA_HELP[name])
                family.add_metric((), count)
                yield family
        yield from (rtp, bot)


MEDIA_HELP = {
    media.RTP_RECEIVED: "Datagrams received, good or bad.",
    media.RTP_DRAINED: "Late datagrams of streams that had just been closed.",
    media.RTP_SEND_FAILED: "Datagrams that the system did not take.",
    media.RTP_SOURCE_TAKEN_OVER: "Times Asterisk gave an address to a new channel while its old stream was open.",
    media.LATE_TICKS: "Steps of the 20 ms clock that were skipped because the worker stood still.",
    media.BOT_MARKS_DROPPED: "Marks beyond the bound of those that may wait.",
    media.BOT_COMMANDS_DROPPED: "What bots asked for beyond audio and was not passed on, because too much waited.",
    media.STATS_SKIPPED: "Reports of the worker that the control process did not read in time.",
    "packets_in": "RTP packets of callers.",
    "packets_out": "RTP packets to callers.",
    "packets_lost": "RTP packets of callers that never came.",
    "packets_late": "RTP packets of callers that came after their place had been passed on, or twice.",
    "silence_filled": "Frames of silence given to bots where the caller sent nothing.",
    "bot_messages": "Messages of bots, good or bad.",
    "bot_rejected": "Messages of bots not used, whatever the cause.",
    "bot_audio_bytes": "Audio of bots taken into playout buffers.",
    "send_dropped": "Messages to bots dropped because they did not read.",
    "playout_dropped_bytes": "Audio of bots beyond the bound of the playout buffer.",
    "underruns": "Times the playout buffer ran dry inside a bot's speech.",
    "marks": "Marks of bots.",
    "clears": "Times a bot cleared its playout buffer.",
    "bot_commands": "What bots asked for beyond audio, marks and clear: hang-up, transfer, digits and so on.",
}
"""Of every counter of a worker that has no labels; a test holds that none is missing."""


def new_registry() -> CollectorRegistry:
    """A registry with the metrics of the process itself."""
    # A second series for each counter, which no dashboard reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)


def _counter(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, labels=labels)


def _add_all(family: CounterMetricFamily, pbx: str, counted: Mapping[str, int]) -> None:
    for name, count in counted.items():
        family.add_metric((pbx, name), count)


def _longest_wait_s(queue: Queue, now: float) -> float:
    return max((max(0.0, now - stay.caller.joined_at) for stay in queue.waiting.values()), default=0.0)
