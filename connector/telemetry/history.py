"""Metrics of the history: what is written, what waits, what was lost, read from the writer at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.store.recovery import Recovery
from connector.store.writer import WriterStats


class HistoryCollector(Collector):
    """Reads the store's own figures.

    Args:
        writer: Of the writer.
        recoveries: By name of the PBX.
    """

    def __init__(self, writer: WriterStats, recoveries: Mapping[str, Recovery]) -> None:
        self._writer = writer
        self._recoveries = recoveries

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        writer = self._writer
        yield GaugeMetricFamily("connector_history_up", "Whether the database takes records.", value=writer.up)
        yield CounterMetricFamily(
            "connector_history_failures", "Times the database became unusable.", value=writer.failures
        )
        yield GaugeMetricFamily(
            "connector_history_records_waiting", "Records in memory, to be written.", value=writer.waiting
        )
        yield GaugeMetricFamily(
            "connector_history_records_spooled",
            "Records on disk, to be written when the database is back.",
            value=writer.spooled,
        )
        yield GaugeMetricFamily("connector_history_spool_bytes", "Size of those on disk.", value=writer.spool_bytes)
        for name, text, label, counted in (
            ("connector_history_records_written", "Records kept.", "table", writer.written),
            ("connector_history_records_dropped", "Records lost.", "cause", writer.dropped),
            ("connector_history_rows_pruned", "Rows removed by their age.", "table", writer.pruned),
        ):
            family = CounterMetricFamily(name, text, labels=(label,))
            for value, count in counted.items():
                family.add_metric((value,), count)
            yield family
        calls = CounterMetricFamily(
            "connector_history_calls_recovered", "Calls of gaps that were read from queue_log.", labels=("pbx",)
        )
        failed = CounterMetricFamily(
            "connector_history_recovery_failures", "Times queue_log could not be read.", labels=("pbx",)
        )
        for pbx, recovery in self._recoveries.items():
            calls.add_metric((pbx,), recovery.calls_read_total)
            failed.add_metric((pbx,), recovery.failures)
        yield from (calls, failed)
