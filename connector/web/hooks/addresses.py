"""Where a webhook may go: to the internet, and not into our own networks, unless that was allowed.

The address is checked where the connection is made, after the name was looked up, so that a name that changes its
address between check and use changes nothing (server-side request forgery by DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""NAT64 (RFC 6052, 8215): an IPv4 address in disguise."""


class Forbidden(OSError):
    """The address is private; the message says how to allow it."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, seen through IPv4 in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _TRANSLATED):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_unspecified


def check_literal(url: str) -> None:
    """Checks a URL whose host is an address, for which nothing is looked up.

    Raises:
        Forbidden: It is private.
    """
    host = urlsplit(url).hostname or ""
    try:
        public = is_public(host)
    except ValueError:
        return  # a name
    if not public:
        raise _forbidden(host, host)


class GuardedResolver(AbstractResolver):
    """Looks names up and refuses those that lead to a private address."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As aiohttp asks for it.

        Raises:
            Forbidden: Any of the addresses is private.
        """
        found = await self._inner.resolve(host, port, family)
        for each in found:
            if not is_public(each["host"]):
                raise _forbidden(host, each["host"])
        return found

    async def close(self) -> None:
        """Ends the resolver."""
        await self._inner.close()


def _forbidden(host: str, address: str) -> Forbidden:
    return Forbidden(f"{host} is at {address}, a private address; set allow_private if that is meant")
