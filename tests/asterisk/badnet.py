"""A bad network between Asterisk and the connector's worker: packets of the caller are lost, late, or out of order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from connector.asterisk.ari import Ari
from connector.audio.wire import Wire
from connector.lab.useragent import HOST
from connector.media.control import Address, Remote
from connector.streams import mediachannel, voicebot

Weather = Callable[[int], float | None]
"""What becomes of the packet of this number, from 0: seconds of delay, or None where it is lost."""

WARM_UP = 50
"""The first packets, which nothing befalls: calls begin with other troubles."""


class _Face(asyncio.DatagramProtocol):
    """One side of the network: a port, and who is beyond it."""

    def __init__(self, passes: Callable[[bytes], None]) -> None:
        self.beyond: tuple[str, int] | None = None
        self._passes = passes
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> int:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, self.beyond)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._passes(data)


class BadNet:
    """Between one ExternalMedia channel and the worker.

    Attributes:
        passed: Datagrams of the caller that came.
        lost: Of these, lost.
        from_asterisk: All that Asterisk has sent.
    """

    def __init__(self, weather: Weather) -> None:
        self.passed = self.lost = 0
        self.from_asterisk: list[bytes] = []
        self._weather = weather
        self._to_worker = _Face(self._said)
        self._to_asterisk = _Face(self._heard)

    def _heard(self, data: bytes) -> None:
        number = self.passed
        self.passed += 1
        self.from_asterisk.append(data)
        delay_s = 0.0 if number < WARM_UP else self._weather(number)
        if delay_s is None:
            self.lost += 1
        elif delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._to_worker.send, data)
        else:
            self._to_worker.send(data)

    def _said(self, data: bytes) -> None:
        if self._to_asterisk.beyond is not None:
            self._to_asterisk.send(data)


@contextlib.asynccontextmanager
async def bad_net(monkeypatch: pytest.MonkeyPatch, weather: Weather) -> AsyncIterator[BadNet]:
    """The next call's ExternalMedia goes through such a network."""
    net = BadNet(weather)
    asterisk_side, worker_side = await net._to_asterisk.open(), await net._to_worker.open()
    opened = mediachannel.open_media_channel

    async def through(ari: Ari, wire: Wire, *, ours: str, **options: Any) -> Remote:
        host, _, port = ours.rpartition(":")
        net._to_worker.beyond = host, int(port)
        remote = await opened(ari, wire, ours=f"{HOST}:{asterisk_side}", **options)
        assert isinstance(remote, Address)
        net._to_asterisk.beyond = remote.host, remote.port
        return Address(HOST, worker_side)

    with monkeypatch.context() as patch:
        patch.setattr(voicebot, "open_media_channel", through)
        try:
            yield net
        finally:
            net._to_asterisk.close()
            net._to_worker.close()
