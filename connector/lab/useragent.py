"""The lower half of a laboratory phone: its socket, and SIP transactions over UDP (RFC 3261 section 17)."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Coroutine
from typing import Any

import structlog

from connector.lab import sip

log = structlog.get_logger()

HOST = "127.0.0.1"
_T1_S = 0.5  # RFC 3261 section 17.1.1.1


class UserAgent(asyncio.DatagramProtocol):
    """Sends requests until something answers, and hands over what comes.

    Attributes:
        user: Its name.
        server: SIP address of the PBX, the only one it talks to.
        host: Its own address: the one from which the PBX is reached, so 127.0.0.1 on the PBX's machine.
        port: Its UDP port.
        malformed: Datagrams that were no SIP.
    """

    def __init__(self, port: int, user: str, server: tuple[str, int], *, seed: int | None = None) -> None:
        """Describes it; `open` takes the port, 0 for any."""
        self.user, self.server, self.port = user, server, port
        self.host = _address_towards(server)
        self.malformed = 0
        self.dice = random.Random(seed)
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[str, asyncio.Future[sip.Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def contact(self) -> str:
        """Its own address as a SIP URI."""
        return f"sip:{self.user}@{self.host}:{self.port}"

    async def open(self) -> None:
        """Opens its port.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, (self.host, self.port))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    async def close(self) -> None:
        """Ends its tasks and closes its port."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def on_request(self, request: sip.Message) -> None:
        """A request came; to be overridden."""
        raise NotImplementedError

    def on_response(self, response: sip.Message) -> None:
        """A response came that ends no transaction: provisional, or a repeated 200; to be overridden."""
        raise NotImplementedError

    def provisional(self, request: sip.Message) -> bool:
        """Whether a provisional response to the request was seen; to be overridden."""
        raise NotImplementedError

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Takes a datagram."""
        message = sip.decode(data)
        if message is None:
            self.malformed += 1
        elif message.method:
            self.on_request(message)
        else:
            waiting = self._waiting.get(_key(message))
            if message.status >= 200 and waiting is not None and not waiting.done():
                waiting.set_result(message)
            else:
                self.on_response(message)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens at the PBX's port: to a phone that is silence, and its retransmissions go on."""

    async def transact(self, request: sip.Message, *, sendings: int = 6) -> sip.Message | None:
        """Sends a request, again while nothing answers, and waits for the final response.

        Args:
            request: What to send.
            sendings: How often at most; 6 are 31.5 s, 2 are 1.5 s.

        Returns:
            The response, or None where none came.
        """
        future: asyncio.Future[sip.Message] = asyncio.get_running_loop().create_future()
        self._waiting[_key(request)] = future
        try:
            for attempt in range(sendings):
                self.send(request)
                try:
                    return await asyncio.wait_for(asyncio.shield(future), _T1_S * 2**attempt)
                except TimeoutError:
                    # A provisional response ends the repeating; then the other side may take its time.
                    if self.provisional(request):
                        return await future
            return None
        finally:
            del self._waiting[_key(request)]

    def send(self, message: sip.Message) -> None:
        """Sends a message once; nothing after `close`."""
        if self._transport is not None:
            self._transport.sendto(message.encode(), self.server)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task that `close` ends; should it fail, that is logged."""
        task = asyncio.create_task(work, name=f"lab-phone-{self.user}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def token(self) -> str:
        """A random word for tags, branches and Call-IDs."""
        return f"{self.dice.getrandbits(64):016x}"

    def via(self) -> str:
        """A Via header value of a new transaction."""
        return f"SIP/2.0/UDP {self.host}:{self.port};branch={sip.MAGIC_COOKIE}{self.token()}"

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("lab_phone_failed", user=self.user, error=repr(task.exception()))


def _address_towards(server: tuple[str, int]) -> str:
    """Our address as the PBX sees it. Connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(server)
        return str(probe.getsockname()[0])


def _key(message: sip.Message) -> str:
    number, method = message.cseq
    return f"{message.get('Call-ID')} {number} {method}"
