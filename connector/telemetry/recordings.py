"""Metrics of the recordings: how many, how much of them, and what became of the files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class _Closed(Protocol):
    """A recording that is over; `media.recorder.Recorded` is one."""

    @property
    def duration_ms(self) -> int: ...
    @property
    def dropped_ms(self) -> int: ...
    @property
    def paused_ms(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def error(self) -> str: ...


@dataclass(slots=True)
class RecordingStats:
    """Counted since the start.

    Attributes:
        active: Recordings that go on.
        started: Begun.
        impossible: Not begun: the folder, or the library for its kind of file, was not there.
        closed: Whole files.
        failed: Recordings without a whole file.
        recovered: Files that a dead worker left.
        recorded_ms: Sound in whole files, pauses included.
        paused_ms: Of it, left out as asked for.
        dropped_ms: Of it, lost because the disk was too slow.
        size_bytes: Of whole files.
        uploaded: Files uploaded.
        upload_failed: Tries to upload that failed.
        deleted: Recordings deleted because their time was over.
    """

    active: int = 0
    started: int = 0
    impossible: int = 0
    closed: int = 0
    failed: int = 0
    recovered: int = 0
    recorded_ms: int = 0
    paused_ms: int = 0
    dropped_ms: int = 0
    size_bytes: int = 0
    uploaded: int = 0
    upload_failed: int = 0
    deleted: int = 0

    def count(self, closed: _Closed, active: int) -> None:
        """Counts a recording that is over; `active` are left."""
        self.active = active
        if closed.error:
            self.failed += 1
            return
        self.closed += 1
        self.recorded_ms += closed.duration_ms
        self.paused_ms += closed.paused_ms
        self.dropped_ms += closed.dropped_ms
        self.size_bytes += closed.size_bytes


class RecordingCollector(Collector):
    """Reads them at each scrape."""

    def __init__(self, stats: RecordingStats) -> None:
        self._stats = stats

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        stats = self._stats
        yield GaugeMetricFamily("connector_recordings_active", "Recordings that go on.", value=stats.active)
        yield CounterMetricFamily("connector_recordings_started", "Recordings begun.", value=stats.started)
        ended = CounterMetricFamily(
            "connector_recordings",
            "Recordings that are over, or could not begin: closed, failed, recovered (left by a dead worker), "
            "impossible (no folder, or no library for its kind of file).",
            labels=("outcome",),
        )
        for outcome in ("closed", "failed", "recovered", "impossible"):
            ended.add_metric((outcome,), getattr(stats, outcome))
        yield ended
        seconds = CounterMetricFamily(
            "connector_recording_seconds",
            "Sound of closed recordings: all of it, and of that what was paused and what the disk was too slow for.",
            labels=("part",),
        )
        for part, value_ms in (
            ("all", stats.recorded_ms),
            ("paused", stats.paused_ms),
            ("dropped", stats.dropped_ms),
        ):
            seconds.add_metric((part,), value_ms / 1000)
        yield seconds
        yield CounterMetricFamily("connector_recording_bytes", "Size of closed recordings.", value=stats.size_bytes)
        uploads = CounterMetricFamily(
            "connector_recording_uploads", "Tries to upload a recording, by what came of them.", labels=("outcome",)
        )
        uploads.add_metric(("done",), stats.uploaded)
        uploads.add_metric(("failed",), stats.upload_failed)
        yield uploads
        yield CounterMetricFamily(
            "connector_recordings_deleted", "Recordings deleted because their time was over.", value=stats.deleted
        )
