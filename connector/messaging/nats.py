"""Tells a NATS server what happens: each happening and each finished call and stream is a message.

A message that was made is sent until the server has it: it leaves the queue when the server has answered a flush
that came after it. After a lost connection some come twice, with the same `Nats-Msg-Id`, by which JetStream drops the
second. The client library (extra `nats`) is imported only where there is a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.asterisk.backoff import backoff
from connector.config_nats import NatsSettings
from connector.records import CallRecord, StreamRecord
from connector.web.happenings import AnyHappening

if TYPE_CHECKING:
    from nats.aio.client import Client

log = structlog.get_logger()

BATCH = 500
"""Messages between two flushes."""
CONNECT_S = 5
FLUSH_S = 5
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.5, 15.0


class NatsMissing(Exception):
    """Messages are wanted and the client library is not installed; the message says what to install."""


class NatsFeed(Collector):
    """Sends to one server, or waits for it.

    Args:
        settings: With a `url`.
        random: Jitter of reconnects.
        sleep: Waits between tries.

    Raises:
        NatsMissing: The extra `nats` is not installed.

    Attributes:
        takes: What of the bus matters to it.
    """

    takes = (CallRecord, StreamRecord)

    def __init__(
        self,
        settings: NatsSettings,
        *,
        random: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        try:
            import nats.aio.client  # noqa: F401
        except ImportError:
            raise NatsMissing(
                "nats.url is set and its client is not installed: pip install asterisk-connector[nats]"
            ) from None
        self._settings = settings
        self._random = random
        self._sleep = sleep
        self._waiting: deque[tuple[str, str, bytes]] = deque()
        self._arrived = asyncio.Event()
        self._sent = asyncio.Event()
        """Nothing waits."""
        self._sent.set()
        self._down: bool | None = None
        self.published = 0
        self.dropped = 0

    def on_happening(self, happening: AnyHappening) -> None:
        """Takes what happened; quick, for it is called within the event path."""
        event = str(happening.__struct_config__.tag).replace(".", "-")
        self._put(f"{happening.pbx}.{event}", happening.id, msgspec.json.encode(happening))

    def on_event(self, event: object) -> None:
        """Takes an item of the bus."""
        if isinstance(event, CallRecord):
            self._put(f"{event.pbx}.record.call", event.key, msgspec.json.encode(event))
        elif isinstance(event, StreamRecord):
            self._put(f"{event.pbx}.record.stream", event.key, msgspec.json.encode(event))

    async def run(self) -> None:
        """Connects, sends, and connects again, until cancelled."""
        delays = backoff(self._random, base_s=BACKOFF_BASE_S, cap_s=BACKOFF_CAP_S)
        while True:
            try:
                async with self._connected() as client:
                    self._tell("")
                    delays = backoff(self._random, base_s=BACKOFF_BASE_S, cap_s=BACKOFF_CAP_S)
                    await self._send(client)
            except (OSError, TimeoutError, _errors()) as error:
                self._tell(str(error) or type(error).__name__)
            await self._sleep(next(delays))

    async def close(self, timeout_s: float) -> None:
        """Waits until everything has been sent, at most so long; `run` must still go on."""
        try:
            async with asyncio.timeout(timeout_s if self._down is False else 0):
                await self._sent.wait()
        except TimeoutError:
            pass
        if self._waiting:
            log.warning("nats_messages_lost", count=len(self._waiting))

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        yield GaugeMetricFamily("connector_nats_up", "Whether the NATS server is connected.", value=self._down is False)
        yield GaugeMetricFamily(
            "connector_nats_messages_waiting",
            "Messages that the NATS server does not have yet.",
            value=len(self._waiting),
        )
        messages = CounterMetricFamily(
            "connector_nats_messages", "Messages for NATS, by what became of them.", labels=("result",)
        )
        messages.add_metric(("published",), self.published)
        messages.add_metric(("dropped",), self.dropped)
        yield messages

    def _put(self, subject: str, message_id: str, body: bytes) -> None:
        if len(self._waiting) >= self._settings.max_waiting:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((f"{self._settings.subject}.{subject}", message_id, body))
        self._arrived.set()
        self._sent.clear()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        """A client of its own for each connection, so nothing of the last one is left in it."""
        from nats.aio.client import Client

        async def failed(_: Exception) -> None:
            """What it means is seen where something is sent."""

        settings = self._settings
        client = Client()
        options: dict[str, Any] = {}
        if token := settings.token.get_secret_value():
            options["token"] = token
        if settings.user:
            options |= {"user": settings.user, "password": settings.password.get_secret_value()}
        if settings.url.startswith("tls:"):
            options["tls"] = ssl.create_default_context(cafile=settings.tls_ca_file)
        try:
            await client.connect(
                settings.url,
                name="asterisk-connector",
                allow_reconnect=False,
                connect_timeout=CONNECT_S,
                error_cb=failed,
                **options,
            )
            yield client
        finally:
            with contextlib.suppress(OSError, _errors()):
                await client.close()

    async def _send(self, client: Client) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = list(islice(self._waiting, BATCH))
                for subject, message_id, body in batch:
                    await client.publish(subject, body, headers={"Nats-Msg-Id": message_id})
                await client.flush(FLUSH_S)
                self._forget(batch)

    def _forget(self, sent: list[tuple[str, str, bytes]]) -> None:
        """Takes out what the server has; some of it may have been dropped meanwhile."""
        self.published += len(sent)
        had = {id(message) for message in sent}
        while self._waiting and id(self._waiting[0]) in had:
            self._waiting.popleft()
        if not self._waiting:
            self._sent.set()

    def _tell(self, error: str) -> None:
        """Logs a change of state once."""
        if self._down is bool(error):
            return
        self._down = bool(error)
        self._arrived.set()  # what waited since the last connection
        if error:
            log.warning("nats_down", url=self._settings.url, error=error)
        else:
            log.info("nats_up", url=self._settings.url)


def _errors() -> type[Exception]:
    from nats.errors import Error

    return Error
