"""Counts what goes between us and bots in the words of their vendors, beside the streams."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class VendorCounters:
    """Requests to the vendors' REST interfaces."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._asked = Counter(
            "connector_vendor_requests",
            "Requests to the vendors' REST interfaces, by vendor and result.",
            ("vendor", "result"),
            registry=registry,
        )

    def asked(self, vendor: str, result: str) -> None:
        """A request was answered: `ok`, or what was wrong."""
        self._asked.labels(vendor, result).inc()
