"""Where connections may go."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from connector.net.reach import ANYWHERE, Forbidden, GuardedResolver, Reach


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.0.0.0"],
)
def test_a_private_address_is_refused_unless_it_is_named(host: str) -> None:
    with pytest.raises(Forbidden, match=r"private address; set outgoing\.allow_private"):
        Reach().check_host(host)
    ANYWHERE.check_host(host)
    Reach(private=(host,)).check_host(host)


def test_networks_and_names_may_be_allowed() -> None:
    reach = Reach(private=("10.0.0.0/8", "bot.internal"))
    reach.check_host("10.200.0.1")
    reach.check_address("any.example.com", "::ffff:10.0.0.1")
    reach.check_address("Bot.Internal.", "192.168.0.7")
    with pytest.raises(Forbidden):
        reach.check_address("other.internal", "192.168.0.7")


def test_an_allow_list_lets_nothing_else_through() -> None:
    reach = Reach(hosts=("bot.example.com", "*.vendor.example"))
    reach.check_host("BOT.example.com")
    reach.check_host("eu.vendor.example")
    for host in ("example.com", "vendor.example", "bot.example.com.evil.example", "8.8.8.8"):
        with pytest.raises(Forbidden, match="allowed_hosts"):
            reach.check_host(host)


class Lookup(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    assert await GuardedResolver(Reach(), Lookup("8.8.8.8")).resolve("h")
    with pytest.raises(Forbidden):
        await GuardedResolver(Reach(), Lookup("8.8.8.8", "10.0.0.1")).resolve("h")
