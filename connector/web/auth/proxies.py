"""Where a request came from: the headers of a proxy count only if that proxy is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Came:
    """Attributes: `remote` is the client's address, `secure` that it used TLS, `host` what it asked for."""

    remote: str
    secure: bool
    host: str


class Proxies:
    """Reads X-Forwarded-For, -Proto and -Host of trusted proxies.

    Args:
        trusted: Addresses and networks.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(each) for each in trusted)

    def came(self, request: web.Request) -> Came:
        """Where a request came from."""
        remote = request.remote or ""
        if not self._is_trusted(remote):
            return Came(remote, request.secure, request.host)
        proto = request.headers.get(hdrs.X_FORWARDED_PROTO, "")
        host = request.headers.get(hdrs.X_FORWARDED_HOST, "")
        hops = [hop.strip() for hop in ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, [])).split(",")]
        # From the right: each hop was added by who is right of it, so the first one that is not ours is the client.
        for hop in reversed([hop for hop in hops if hop]):
            remote = hop
            if not self._is_trusted(hop):
                break
        return Came(
            remote[:64],
            proto.rpartition(",")[2].strip().lower() == "https" if proto else request.secure,
            host.rpartition(",")[2].strip() if host else request.host,
        )

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)
