"""One AMI connection: panoramisk behind a fence, the only module that imports it.

From panoramisk come the messages, the actions with their ids and the matching of answers to actions. What it does with
the connection is replaced: it decodes each TCP segment by itself, reconnects and replays unanswered actions on its own,
runs callbacks inside the protocol, has no deadlines and writes any value as it is. A client here lives for one
connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

import structlog
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiBusy,
    AmiConnectionLost,
    AmiCounter,
    AmiEvent,
    AmiItem,
    AmiLimits,
    AmiList,
    AmiListTooLong,
    AmiNotConnected,
    AmiTimeout,
    Fields,
    PermissionDenied,
    Response,
)
from connector.asterisk.ami_wire import Framer, NotAmi, Value
from connector.asterisk.certificate import certificate_end
from connector.asterisk.inbox import Inbox

_MAX_ABANDONED = 16
"""Lists given up whose items may still come."""

log = structlog.get_logger()


class AmiClient(Manager):  # type: ignore[misc]
    """A fresh panoramisk manager for each connection, so nothing of the last one is left in it.

    Args:
        inbox: Where events and lists go, in the order of the byte stream.
        counters: Counted by cause.
        limits: Bounds.
        clock: Seconds since the epoch.
        capture: Gets each segment as it came, for fixtures.
    """

    def __init__(
        self,
        *,
        inbox: Inbox[AmiItem],
        counters: dict[AmiCounter, int],
        limits: AmiLimits,
        clock: Callable[[], float],
        capture: Callable[[bytes], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(loop=self._loop, log=_Silent())
        self._inbox = inbox
        self._counters = counters
        self._limits = limits
        self._clock = clock
        self._capture = capture
        self._framer = Framer(counters, limits)
        self._abandoned: deque[_ListCall] = deque()
        self._banner: asyncio.Future[str] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._live = False
        self._defect_logged = False
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done with the reason once the connection is of no more use."""
        self.certificate_expires_at: float | None = None
        """End of the PBX's certificate, seconds since the epoch; None without TLS."""

    # -- the life of the connection ---------------------------------------------------------------------------

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> str:
        """Connects and returns the banner.

        Raises:
            OSError: TCP or TLS failed, or the peer is no AMI.
        """
        transport, _ = await self._loop.create_connection(lambda: _Protocol(self), host, port, ssl=tls)
        self.certificate_expires_at = certificate_end(transport)
        await asyncio.wait({self._banner, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            raise ConnectionError(self.lost.result())
        return self._banner.result()

    async def login(self, headers: Mapping[str, Value], on_success: Callable[[], None]) -> None:
        """Logs in.

        Args:
            headers: Action, Username, Secret and Events.
            on_success: Called where the response stands in the stream, before the first event.

        Raises:
            AmiActionRejected: Wrong user or password, or the account is not allowed from here.
            AmiOutcomeUnknown: No answer.
        """

        def opened() -> None:
            self._live = True
            on_success()

        await self._ask(_Call(headers, opened), self._limits.login_s)

    async def request(self, headers: Mapping[str, Value], deadline_s: float) -> Response:
        """Sends an action and waits for its response.

        Args:
            headers: From `connector.asterisk.ami_wire.check_action`.
            deadline_s: For the response.

        Raises:
            AmiError: See `connector.asterisk.ami_model`.
        """
        return Response(await self._ask(_Call(headers), deadline_s))

    async def request_list(self, headers: Mapping[str, Value], deadline_s: float) -> None:
        """Sends a list action and waits until its list is in the inbox. As `request`."""

        def complete(items: tuple[Fields, ...]) -> None:
            self._put(AmiList(call.name, items, self._clock()))

        call = _ListCall(headers, complete, self._limits.max_list_items)
        try:
            await self._ask(call, deadline_s)
        except (AmiTimeout, AmiListTooLong, asyncio.CancelledError):
            self._abandon(call)
            raise

    def fail(self, reason: str) -> None:
        """Gives the connection up; every action that waits learns that its outcome is unknown."""
        if not self.lost.done():
            self.lost.set_result(reason)
        if self.protocol is not None:
            for call in list(self.protocol.responses.values()):
                call.fail(AmiConnectionLost(call.name, f"the connection broke before the answer ({reason})"))
            self.protocol.responses.clear()
            self.protocol.close()

    async def close(self) -> None:
        """Gives the connection up and waits until its socket is closed."""
        self.fail("closed by the connector")
        if self.protocol is not None:
            await self._closed.wait()

    # -- actions ----------------------------------------------------------------------------------------------

    async def _ask(self, call: _Call | _ListCall, deadline_s: float) -> Fields:
        if self.lost.done():
            raise AmiNotConnected(call.name, f"there is no connection ({self.lost.result()}); nothing was sent")
        if len(self.protocol.responses) >= self._limits.max_pending:
            raise AmiBusy(call.name, f"{self._limits.max_pending} actions wait for an answer already; nothing was sent")
        self.send_action(call)
        try:
            async with asyncio.timeout(deadline_s):
                fields: Fields = await call.future
        except TimeoutError:
            self._counters[AmiCounter.ACTION_TIMEOUT] += 1
            raise AmiTimeout(call.name, f"no answer within {deadline_s:g} s; it may have happened") from None
        finally:
            self.protocol.responses.pop(call.id, None)
        if fields.get("Response") != "Success":
            message = str(fields.get("Message", "")) or "no reason"
            if message == "Permission denied":
                raise PermissionDenied(call.name, message)
            raise AmiActionRejected(call.name, message)
        return fields

    def _abandon(self, call: _ListCall) -> None:
        """Keeps a list registered, empty, so that what still comes of it is not taken for live events."""
        if self.lost.done():
            return
        responses = self.protocol.responses
        call.abandon()
        responses[call.id] = call
        self._abandoned.append(call)
        if len(self._abandoned) > _MAX_ABANDONED:
            responses.pop(self._abandoned.popleft().id, None)

    # -- what arrives -----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Takes a segment of the peer. Nothing that it holds raises through."""
        if self._capture is not None:
            try:
                self._capture(data)
            except Exception as error:
                self._capture = None  # a full disk must not cost the link
                self._counters[AmiCounter.CAPTURE_FAILED] += 1
                log.error("ami_capture_failed", error=repr(error))
        try:
            messages = self._framer.feed(data)
        except NotAmi as error:
            self.fail(f"the peer is no Asterisk manager: {error}; check host, port and TLS")
            return
        if self._framer.banner and not self._banner.done():
            self._banner.set_result(self._framer.banner)
        for lines in messages:
            try:
                self._take(lines)
            except Exception:
                self._counters[AmiCounter.NOT_HANDLED] += 1
                if not self._defect_logged:
                    self._defect_logged = True
                    log.exception("ami_message_not_handled")

    def _take(self, lines: list[str]) -> None:
        message = _Message.read(lines)
        if message is None:
            self._counters[AmiCounter.NO_TYPE] += 1
            return
        headers = message.headers
        call = self.protocol.responses.get(headers.get("ActionID"))
        if call is not None and (isinstance(call, _ListCall) or "Response" in headers):
            self.protocol.handle_message(message)  # panoramisk's matching: add_message, then forget what is complete
        elif "Event" in headers:
            self.dispatch(message)  # also Shutdown, which panoramisk takes for the end of the connection
        else:
            self._counters[AmiCounter.UNEXPECTED_RESPONSE] += 1

    def dispatch(self, event: Any) -> None:
        """Takes an event; panoramisk would run callbacks here."""
        if self._live:
            self._counters[AmiCounter.EVENTS] += 1
            self._put(AmiEvent(event.headers, self._clock()))

    def _put(self, item: AmiItem) -> None:
        if not self._inbox.put(item):
            self._counters[AmiCounter.DROPPED] += 1

    def connection_lost(self, exc: object) -> None:
        """The socket is closed; panoramisk would reconnect here."""
        self._closed.set()
        self.fail(f"the connection broke: {exc}" if exc else "Asterisk closed the connection")


class _Protocol(AMIProtocol):  # type: ignore[misc]
    """Hands bytes to the client as they are, and ends without keeping unanswered actions for a replay."""

    def __init__(self, client: AmiClient) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.factory = self._client
        self.encoding = "utf-8"
        self.log = _Silent()
        self._client.protocol = self

    def data_received(self, data: bytes) -> None:
        self._client.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.connection_lost(exc)

    def close(self) -> None:
        self.transport.abort()


_cut = methodcaller("split", ": ", 1)


class _Message(Message):  # type: ignore[misc]
    """A message as panoramisk reads it, but for its case-insensitive dict.

    Nobody here needs that one, for Asterisk's spelling is known. To build it, and to take the headers out again, would
    be two fifths of the event path.
    """

    def __init__(self, headers: dict[str, str | list[str]], content: str = "") -> None:
        self.headers = headers

    @classmethod
    def read(cls, lines: list[str]) -> _Message | None:
        """The same as `from_line` of the lines together; None where they are no message.

        Nearly all are events whose headers stand once each. Those need no more than to be cut at the colon, and read so
        cost a quarter.

        Args:
            lines: Each with a colon and a blank in it.
        """
        headers: dict[str, Any] = dict(map(_cut, lines))
        if len(headers) == len(lines) and "Event" in headers and "Result" not in headers:
            return cls(headers)
        message: _Message | None = cls.from_line("\r\n".join(lines))
        return message

    @property
    def id(self) -> Any:
        """By which panoramisk finds the action."""
        return self.headers.get("ActionID")

    @property
    def action_id(self) -> Any:
        """The same: there are no other ids than ours."""
        return self.headers.get("ActionID")


class _Call(Action):  # type: ignore[misc]
    """An action that its first response completes; panoramisk guesses from the words of the message."""

    def __init__(self, headers: Mapping[str, Value], on_success: Callable[[], None] | None = None) -> None:
        super().__init__(headers)
        self.name = str(headers["Action"])
        self._on_success = on_success

    def add_message(self, message: _Message) -> bool:
        if self._on_success is not None and message.headers.get("Response") == "Success":
            self._on_success()
        if not self.future.done():
            self.future.set_result(message.headers)
        return True

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _ListCall(_Call):
    """An action answered by a response, list events and a Complete event, all with its ActionID."""

    def __init__(
        self, headers: Mapping[str, Value], on_complete: Callable[[tuple[Fields, ...]], None], limit: int
    ) -> None:
        super().__init__(headers)
        self._on_complete = on_complete
        self._limit = limit
        self._items: list[Fields] = []
        self._response: Fields | None = None

    def abandon(self) -> None:
        self._items.clear()
        if not self.future.done():
            self.future.cancel()

    def add_message(self, message: _Message) -> bool:
        ended = False
        headers = message.headers
        if "Response" in headers:
            self._response = headers
            ended = str(headers.get("EventList", "")).lower() != "start"
        elif str(headers.get("EventList", "")).lower() == "complete":
            ended = True
            if not self.future.done():
                self._on_complete(tuple(self._items))
        elif not self.future.done():
            self._items.append(headers)
            if len(self._items) > self._limit:
                self._items.clear()
                self.fail(AmiListTooLong(self.name, f"the list has more than {self._limit} items; ask for less"))
        if ended and not self.future.done():
            self.future.set_result(self._response or {})
        return ended


class _Silent:
    """The log for panoramisk: what it would write may hold a password, and what matters is logged here."""

    def debug(self, *_: object) -> None:
        """Says nothing."""

    info = warning = error = exception = debug
