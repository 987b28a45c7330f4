"""Where the connector may connect to: to the internet, and not into private networks unless that was allowed.

An address is checked where the connection is made, after the name was looked up, so that a name that changes its
address between check and use changes nothing (server-side request forgery by DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""NAT64 (RFC 6052, 8215): an IPv4 address in disguise."""


class Forbidden(OSError):
    """The address may not be used; the message says how to allow it."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What may be reached.

    Attributes:
        trusted: Everything: the address comes from the operator.
        hosts: Names that are allowed, `*.example.com` for any below; empty for any.
        private: Names, addresses or networks that are allowed though they are private.
        remedy: How to allow what is refused, for the message.
    """

    trusted: bool = False
    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    remedy: str = "set outgoing.allow_private if that is meant"

    def check_host(self, host: str) -> None:
        """Checks a name before it is looked up.

        Raises:
            Forbidden: It is not among those allowed, or is a private address.
        """
        host = host.lower().rstrip(".")
        if self.trusted or self._is_named(host):
            return
        if self.hosts and not any(fnmatchcase(host, pattern.lower()) for pattern in self.hosts):
            raise Forbidden(f"{host} is not among the hosts that may be reached; see outgoing.allowed_hosts")
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return  # a name; its address is checked when it is known
        self.check_address(host, host)

    def check_address(self, host: str, address: str) -> None:
        """Checks an address that a name led to.

        Raises:
            Forbidden: It is private, and not allowed.
        """
        if self.trusted or self._is_named(host.lower().rstrip(".")) or is_public(address) or self._is_in(address):
            return
        raise Forbidden(f"{host} is at {address}, a private address; {self.remedy}")

    def check_url(self, url: str) -> None:
        """`check_host` of a URL."""
        self.check_host(urlsplit(url).hostname or "")

    def _is_named(self, host: str) -> bool:
        return any(host == each.lower() for each in self.private)

    def _is_in(self, address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for each in self.private if (network := _network(each)) is not None)


ANYWHERE = Reach(trusted=True)


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


class GuardedResolver(AbstractResolver):
    """Looks names up and refuses those that lead where nobody may go.

    Args:
        reach: What may be reached.
        inner: Looks up; by default the system.
    """

    def __init__(self, reach: Reach, inner: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As aiohttp asks for it.

        Raises:
            Forbidden: Any of the addresses may not be used.
        """
        found = await self._inner.resolve(host, port, family)
        for each in found:
            self._reach.check_address(host, each["host"])
        return found

    async def close(self) -> None:
        """Ends the resolver."""
        await self._inner.close()


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, as it may be shown: user, path and query may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None  # a name
