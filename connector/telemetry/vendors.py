"""Counts what goes between us and bots in the words of their vendors, beside the streams."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class VendorCounters:
    """Requests to the vendors' REST interfaces, and status callbacks of streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._asked = Counter(
            "connector_vendor_requests",
            "Requests to the vendors' REST interfaces, by vendor and result.",
            ("vendor", "result"),
            registry=registry,
        )
        self._told = Counter(
            "connector_status_callbacks",
            "Status callbacks of streams, by outcome: delivered, failed, dropped.",
            ("outcome",),
            registry=registry,
        )

    def told(self, outcome: str) -> None:
        """A server was told of a stream, or could not be."""
        self._told.labels(outcome).inc()

    def asked(self, vendor: str, result: str) -> None:
        """A request was answered: `ok`, or what was wrong."""
        self._asked.labels(vendor, result).inc()
