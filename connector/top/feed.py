"""Keeps a copy of the live state current over the push connection, through breaks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import aiohttp
import msgspec

from connector.asterisk.backoff import backoff
from connector.web.push.messages import Subscribe
from connector.web.push.socket import PATH
from connector.web.push.viewer import Copy, Lost

SILENCE_S = 12.0
"""The connector says something every five seconds; after this the connection is taken for dead."""


class Feed:
    """The copy, and how far it can be trusted.

    Args:
        url: Base of the connector's pages, for example http://127.0.0.1:8089.
        token: Empty if none is needed.
        subscribe: What to show.
        random: Jitter of reconnects.
        clock: Seconds since the epoch.

    Attributes:
        copy: What is known.
        broken: Why there is no connection; empty while there is one.
        ahead_s: How far the connector's clock is before ours.
    """

    def __init__(
        self, url: str, token: str, subscribe: Subscribe, *, random: Random, clock: Callable[[], float]
    ) -> None:
        self.copy = Copy()
        self.broken = "not connected yet"
        self._broken_at = clock()
        self.ahead_s = 0.0
        self._url = url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._subscribe = subscribe
        self._random = random
        self._clock = clock

    @property
    def now(self) -> float:
        """Time by the connector's clock."""
        return self._clock() + self.ahead_s

    @property
    def broken_s(self) -> float:
        """For how long there is no connection; 0 while there is one."""
        return self._clock() - self._broken_at if self.broken else 0.0

    async def run(self, changed: Callable[[], None]) -> None:
        """Follows until cancelled.

        Args:
            changed: Called after each message and whenever the connection comes or goes.
        """
        delays = self._delays()
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                try:
                    async with session.ws_connect(self._url, max_msg_size=0, heartbeat=20.0) as socket:
                        delays = self._delays()
                        await self._follow(socket, changed)
                    reason = f"the connector closed the connection ({socket.close_code})"
                except aiohttp.WSServerHandshakeError as error:
                    reason = _refusal(error)
                except (Lost, msgspec.ValidationError) as error:
                    reason = str(error)
                except TimeoutError:
                    reason = f"nothing was heard for {SILENCE_S:g} s"
                except (aiohttp.ClientError, OSError) as error:
                    reason = str(error)
                self._break(reason)
                changed()
                await asyncio.sleep(next(delays))

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse, changed: Callable[[], None]) -> None:
        wanted = msgspec.structs.replace(self._subscribe, resume=self.copy.resume)
        await socket.send_str(msgspec.json.encode(wanted).decode())
        while True:
            async with asyncio.timeout(SILENCE_S):
                message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return
            self.copy.feed(message.data)
            self.ahead_s = self.copy.at - self._clock()
            self.broken = ""
            changed()

    def _break(self, reason: str) -> None:
        if not self.broken:
            self._broken_at = self._clock()
        self.broken = reason

    def _delays(self) -> Iterator[float]:
        return backoff(self._random, base_s=0.5, cap_s=5.0)


def _refusal(error: aiohttp.WSServerHandshakeError) -> str:
    remedies = {
        401: "give a token by CONNECTOR_TOKEN, made by: connector user token NAME --scope read",
        403: "ask it by localhost or its IP",
    }
    remedy = remedies.get(error.status, "")
    return f"the connector answered {error.status}{': ' if remedy else ''}{remedy}"
