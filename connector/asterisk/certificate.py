"""When the certificate expires that a peer has shown."""

from __future__ import annotations

import ssl
from typing import Any, Protocol


class Secured(Protocol):
    """What knows of its TLS: an asyncio transport, an aiohttp WebSocket."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Something of the connection."""
        ...


def certificate_end(connection: Secured) -> float | None:
    """End of the peer's certificate, seconds since the epoch; None without TLS, or where it was not checked."""
    secured = connection.get_extra_info("ssl_object")
    shown = secured.getpeercert() if secured is not None else None
    return float(ssl.cert_time_to_seconds(shown["notAfter"])) if shown else None
