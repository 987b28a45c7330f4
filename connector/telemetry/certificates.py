"""When the certificates that callers' audio and supervisors' pages depend on come to their end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = structlog.get_logger()


class Connection(Protocol):
    """A connection to a PBX that may stand on TLS."""

    certificate_expires_at: float | None
    """End of the PBX's certificate as shown at the last handshake, seconds since the epoch; None without TLS."""


class PbxConnections(Protocol):
    """The two connections to a PBX."""

    @property
    def pbx(self) -> str:
        """Name in the settings."""
        ...

    @property
    def ami(self) -> Connection:
        """Its manager interface."""
        ...

    @property
    def ari(self) -> Connection:
        """Its REST interface."""
        ...


def expiry_of(pem: bytes) -> float:
    """When the chain in a PEM file ends: the first of its certificates to expire, seconds since the epoch.

    Raises:
        ValueError: There is no certificate in it.
    """
    return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(pem))


class CertificatesCollector(Collector):
    """Tells the end of each certificate at each scrape.

    Our own is read from its file each time: what is told is what the next start would serve, and a file that was
    renewed under a process that still serves the old one is seen in its page, not here.

    Args:
        links: The PBXs.
        own: `http.tls_certificate`, None without TLS.
    """

    def __init__(self, links: Sequence[PbxConnections], own: Path | None) -> None:
        self._links = links
        self._own = own
        self._unreadable = False

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One family."""
        ends = GaugeMetricFamily(
            "connector_certificate_expires_timestamp_seconds",
            "When a TLS certificate expires: of our page (http), or the PBX's as last shown (ami, ari).",
            labels=("pbx", "link"),
        )
        if self._own is not None and (own := self._own_end(self._own)) is not None:
            ends.add_metric(("", "http"), own)
        for pbx in self._links:
            for name, link in (("ami", pbx.ami), ("ari", pbx.ari)):
                if link.certificate_expires_at is not None:
                    ends.add_metric((pbx.pbx, name), link.certificate_expires_at)
        yield ends

    def _own_end(self, path: Path) -> float | None:
        try:
            end = expiry_of(path.read_bytes())
        except (OSError, ValueError) as error:
            if not self._unreadable:
                log.warning("certificate_unreadable", file=str(path), error=str(error))
            self._unreadable = True
            return None
        self._unreadable = False
        return end
