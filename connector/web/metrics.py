"""Metrics of those who are told: viewers of the push connection and endpoints of webhooks."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.web.hooks.webhooks import Webhooks
from connector.web.push.hub import Hub


class PushCollector(Collector):
    """Reads the figures of the push hub and of the webhooks at each scrape.

    Args:
        hub: The push side.
        hooks: The webhooks; their names come from the settings, so they may be labels.
    """

    def __init__(self, hub: Hub, hooks: Webhooks) -> None:
        self._hub = hub
        self._hooks = hooks

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        hub, hooks = self._hub, self._hooks
        yield GaugeMetricFamily("connector_push_viewers", "Viewers of the push connection.", value=hub.viewers)
        yield CounterMetricFamily(
            "connector_push_snapshots_forced",
            "Times a viewer was too slow and got a snapshot in place of changes.",
            value=hub.snapshots_forced,
        )
        yield CounterMetricFamily(
            "connector_push_resumed", "Times a viewer came back and missed nothing.", value=hub.resumed
        )
        yield CounterMetricFamily(
            "connector_push_events_dropped", "Events that a slow viewer did not get.", value=hub.events_dropped
        )
        attempts = CounterMetricFamily(
            "connector_webhook_attempts", "Deliveries tried, by what became of them.", labels=("webhook", "verdict")
        )
        dropped = CounterMetricFamily(
            "connector_webhook_deliveries_dropped", "Deliveries that did not fit.", labels=("webhook",)
        )
        for name, stats in hooks.stats.items():
            for verdict, count in stats.attempts.items():
                attempts.add_metric((name, verdict.value), count)
            dropped.add_metric((name,), stats.dropped)
        yield from (attempts, dropped)
        yield CounterMetricFamily(
            "connector_webhook_outbox_failures", "Times the outbox could not be used.", value=hooks.outbox_failures
        )
