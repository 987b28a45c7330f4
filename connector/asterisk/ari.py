"""ARI of one PBX: requests, and the events of our Stasis application, which it stays connected to."""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr
from yarl import URL

from connector.asterisk.ari_errors import (
    AriBadAnswer,
    AriConflict,
    AriError,
    AriNotFound,
    AriNotInStasis,
    AriNoTls,
    AriRejected,
    AriServerError,
    AriTimeout,
    AriUnauthorized,
    AriUnreachable,
    AriUnsafeSubscription,
    AriUntrusted,
)
from connector.asterisk.ari_http import untrusted
from connector.asterisk.ari_models import ApplicationReplaced, Event, decode_event
from connector.asterisk.ari_rest import AriRest, ExternalMedia
from connector.asterisk.backoff import backoff
from connector.asterisk.certificate import certificate_end
from connector.asterisk.ids import check_name
from connector.asterisk.inbox import Inbox
from connector.events import LinkState

__all__ = [
    "Ari",
    "AriBadAnswer",
    "AriConflict",
    "AriConnected",
    "AriCounter",
    "AriError",
    "AriEvent",
    "AriItem",
    "AriLimits",
    "AriLost",
    "AriNoTls",
    "AriNotFound",
    "AriNotInStasis",
    "AriOverflow",
    "AriRefused",
    "AriRejected",
    "AriServerError",
    "AriTimeout",
    "AriUnauthorized",
    "AriUnreachable",
    "AriUnsafeSubscription",
    "AriUntrusted",
    "ExternalMedia",
]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AriConnected:
    """The events connection is open. What happened before is unknown, so look."""


@dataclass(frozen=True, slots=True)
class AriLost:
    """The events connection is gone or could not be made; tried again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class AriRefused:
    """Wrong user or password, or another process took our application: somebody has to change the settings."""

    reason: str


@dataclass(frozen=True, slots=True)
class AriEvent:
    """One event.

    Attributes:
        event: As Asterisk sent it.
        received_at: Seconds since the epoch by our clock.
    """

    event: Event
    received_at: float


@dataclass(frozen=True, slots=True)
class AriOverflow:
    """The consumer was too slow: this many events are missing here, so look."""

    dropped: int


AriItem = AriConnected | AriLost | AriRefused | AriEvent | AriOverflow


class AriCounter(enum.StrEnum):
    """What is counted. A closed set: it is a metric label."""

    CONNECTED = "connected"
    LOST = "lost"
    REFUSED = "refused"
    EVENTS = "events"
    DROPPED = "dropped"
    """Events that the consumer was too slow for."""
    UNKNOWN_EVENT = "unknown_event"
    MALFORMED = "malformed"
    WATCHDOG = "watchdog"
    """Connections given up because ARI did not answer, or did not know our application, behind an open socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AriLimits:
    """Bounds of the events connection.

    Attributes:
        connect_s: Deadline of DNS, TCP, TLS and upgrade together.
        heartbeat_s: Between two WebSocket pings; a pong is awaited for half of it.
        watchdog_interval_s: Between two looks at our application.
        refused_retry_s: Between two tries after a refusal.
        stable_s: A connection that lived this long starts the backoff anew when it breaks.
        backoff_base_s: See `connector.asterisk.backoff`.
        backoff_cap_s: See `connector.asterisk.backoff`.
        max_waiting: Events for the consumer.
        max_message_bytes: Of one event; a longer one ends the connection, as WebSocket frames cannot be skipped.
    """

    connect_s: float = 5.0
    heartbeat_s: float = 10.0
    watchdog_interval_s: float = 5.0
    refused_retry_s: float = 60.0
    stable_s: float = 10.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    max_waiting: int = 10_000
    max_message_bytes: int = 1024 * 1024


class Ari(AriRest):
    """The Stasis application of one PBX.

    `run` owns the events connection. What comes out of it stands in `items`, in order, for one consumer. The requests
    of `AriRest` need no events connection, but Asterisk knows our application only while there is, or was, one.

    Args:
        pbx: Name of the PBX in the settings, for logs.
        url: `http://host:8088/ari`.
        username: Section of ari.conf.
        password: Its password.
        app: Our Stasis application, which nobody else may use.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
        random: Source of the jitter between tries.
        deadline_s: For each request.
        tls: How to check an https address.
        limits: Bounds and intervals.
        sleep: Waits between tries.

    Raises:
        ValueError: `app` is no name for an application of ours.
    """

    def __init__(
        self,
        *,
        pbx: str,
        url: str,
        username: str,
        password: SecretStr,
        app: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Random,
        deadline_s: float = 2.0,
        tls: ssl.SSLContext | None = None,
        limits: AriLimits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            url=url,
            username=username,
            password=password,
            app=check_name("app", app),
            deadline_s=deadline_s,
            tls=tls,
        )
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._limits = limits or AriLimits()
        self._sleep = sleep
        self._reported: LinkState | None = None
        self._log = log.bind(pbx=pbx, url=self._url, app=app)
        self.counters: dict[AriCounter, int] = dict.fromkeys(AriCounter, 0)
        """Totals since the start, by cause."""
        self.certificate_expires_at: float | None = None
        """End of the PBX's certificate as shown at the last connection, seconds since the epoch; None without TLS."""
        self.items: Inbox[AriItem] = Inbox(self._limits.max_waiting, AriOverflow)
        """Everything that happens, in order, for one consumer."""

    @property
    def state(self) -> LinkState:
        """How the events connection stands now; the consumer of `items` may be behind."""
        return self._reported or LinkState.DOWN

    async def run(self) -> None:
        """Keeps the events connection until cancelled: faults are tried again with backoff, a refusal slowly.

        Once another process took the application it stays refused: two that take it from each other in turn would both
        be deaf.
        """
        limits = self._limits
        delays = backoff(self._random, base_s=limits.backoff_base_s, cap_s=limits.backoff_cap_s)
        while True:
            started = self._monotonic()
            try:
                reason = await self._connect_once()
            except _Refused as refusal:
                self.counters[AriCounter.REFUSED] += 1
                self._report(LinkState.REFUSED, AriRefused(str(refusal)), str(refusal))
                if refusal.final:
                    await asyncio.Event().wait()
                await self._sleep(limits.refused_retry_s)
                continue
            self.counters[AriCounter.LOST] += 1
            self._report(LinkState.DOWN, AriLost(reason), reason)
            if self._monotonic() - started >= limits.stable_s:
                delays = backoff(self._random, base_s=limits.backoff_base_s, cap_s=limits.backoff_cap_s)
            await self._sleep(next(delays))

    async def _connect_once(self) -> str:
        """One events connection from TCP to its end; returns why it ended."""
        try:
            async with asyncio.timeout(self._limits.connect_s):
                socket = await self._session.ws_connect(
                    URL(self._url + "/events", encoded=True),
                    params={"app": self.app, "subscribeAll": "false"},
                    heartbeat=self._limits.heartbeat_s,
                    max_msg_size=self._limits.max_message_bytes,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except TimeoutError:
            return f"no events connection within {self._limits.connect_s:g} s; ARI of Asterisk may hang"
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise _Refused(
                    f"Asterisk refused the ARI user {self._username!r} ({error.status}): "
                    "check user and password in ari.conf"
                ) from None
            return (
                f"the answer to the events request is {error.status}: check that the address ends in /ari and that "
                "res_ari_events.so and res_http_websocket.so are loaded"
            )
        except aiohttp.ClientConnectorCertificateError as error:
            raise _Refused(f"{untrusted(error)}. {AriUntrusted.remedy}") from None
        except aiohttp.ClientError as error:
            return f"cannot connect: {error}"
        self.certificate_expires_at = certificate_end(socket)
        try:
            self.counters[AriCounter.CONNECTED] += 1
            self._report(LinkState.UP, AriConnected(), "events connection open")
            return await self._first_end(socket)
        finally:
            await socket.close()

    async def _first_end(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Reads and watches, each in its own task, until one of them finds the connection of no more use."""
        tasks = [asyncio.create_task(self._read(socket)), asyncio.create_task(self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task for task in tasks if task in done).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Takes every message at once: Asterisk closes a connection whose client is slow to read."""
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.counters[AriCounter.MALFORMED] += 1
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"the events connection broke: {message.data or socket.exception()}"
            else:
                broke = socket.exception()
                return f"the events connection broke: {broke}" if broke else "Asterisk closed the events connection"

    def _take(self, raw: str) -> None:
        try:
            event = decode_event(raw)
        except (msgspec.DecodeError, RecursionError):
            self.counters[AriCounter.MALFORMED] += 1
            return
        if event is None:
            self.counters[AriCounter.UNKNOWN_EVENT] += 1
            return
        if isinstance(event, ApplicationReplaced):
            raise _Refused(
                f"another process uses the ARI application {self.app!r} and took it over: give each connector its own "
                "`app`, end the other one, then restart this one",
                final=True,
            )
        self.counters[AriCounter.EVENTS] += 1
        if not self.items.put(AriEvent(event, self._clock())):
            self.counters[AriCounter.DROPPED] += 1

    async def _watch(self) -> str:
        """Asks for our application: ARI of Asterisk 22 can deadlock behind sockets that stay open."""
        while True:
            await asyncio.sleep(self._limits.watchdog_interval_s)
            try:
                await self.application()
            except AriError as error:
                self.counters[AriCounter.WATCHDOG] += 1
                return str(error)

    def _report(self, state: LinkState, item: AriItem, detail: str) -> None:
        """Tells a change of state once, not each try."""
        if state is self._reported:
            return
        self._reported = state
        self.items.put_state(item)
        tell = self._log.info if state is LinkState.UP else self._log.warning
        tell(f"ari_{state}", detail=detail)


class _Refused(Exception):
    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final
