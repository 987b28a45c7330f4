"""The WebSocket of one viewer."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

import aiohttp
import msgspec
import structlog
from aiohttp import web

from connector.access.rights import Right
from connector.web.auth.guard import BEARER_SUBPROTOCOL
from connector.web.auth.identity import Who, who
from connector.web.push.filters import Filter
from connector.web.push.hub import Feed, Hub, encode
from connector.web.push.messages import Fault, Subscribe
from connector.web.rest.problems import Refused

log = structlog.get_logger()

PATH = "/api/v1/live"
SUBPROTOCOL = "connector.v1"
ACCESS_CHANGED = 4401
"""Close code: the session ended, or the account has other rights now."""

_subscribe = msgspec.json.Decoder(Subscribe)


class LiveSocket:
    """Serves viewers.

    Args:
        hub: What they see.
        still: Whether somebody may still do what they could when they came.
        max_viewers: More are turned away.
        heartbeat_s: How often something is said when nothing changes.
        subscribe_s: How long a viewer may take to say what it wants to see.
        send_s: How long one message may take; a viewer that takes nothing for so long is gone.
    """

    def __init__(
        self,
        hub: Hub,
        still: Callable[[Who], bool],
        *,
        max_viewers: int = 200,
        heartbeat_s: float = 5.0,
        subscribe_s: float = 10.0,
        send_s: float = 30.0,
    ) -> None:
        self._hub = hub
        self._still = still
        self._max_viewers = max_viewers
        self._heartbeat_s = heartbeat_s
        self._subscribe_s = subscribe_s
        self._send_s = send_s
        self._sockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()

    def add_to(self, application: web.Application) -> None:
        """Makes it reachable, and ends it in order with the application."""
        application.router.add_get(PATH, self.serve)
        application.on_shutdown.append(self._close)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves one viewer until it leaves, or may no longer see what it could."""
        viewer = who(request)
        viewer.need(Right.SEE)
        if not web.WebSocketResponse().can_prepare(request).ok:
            raise Refused(
                426,
                "upgrade-required",
                "This address speaks WebSocket.",
                remedy="Open it as ws:// or wss://.",
                headers={"Upgrade": "websocket"},
            )
        if len(self._sockets) >= self._max_viewers:
            raise Refused(
                503,
                "too-many-viewers",
                f"There are {self._max_viewers} viewers already.",
                remedy="Close one, or try again later.",
            )
        socket = web.WebSocketResponse(
            heartbeat=20.0, max_msg_size=65_536, compress=False, protocols=(SUBPROTOCOL, *_bearer(request))
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await self._serve(socket, viewer)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _serve(self, socket: web.WebSocketResponse, viewer: Who) -> None:
        feed: Feed | None = None
        writer: asyncio.Task[None] | None = None
        try:
            while True:
                async with asyncio.timeout(self._subscribe_s if feed is None else None):
                    message = await socket.receive()
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    return
                wanted = _subscribe.decode(message.data)
                if feed is not None:
                    self._hub.detach(feed)
                if writer is not None:
                    await _end(writer)
                feed = self._hub.attach(Filter.of(wanted, viewer.known.sight), wanted.resume)
                writer = asyncio.create_task(self._write(socket, feed, viewer), name="viewer-writer")
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            await self._refuse(socket, f"The message is not as described: {error}.")
        except TimeoutError:
            await self._refuse(socket, f"No message came within {self._subscribe_s:g} s.")
        finally:
            if feed is not None:
                self._hub.detach(feed)
            if writer is not None:
                await _end(writer)

    async def _write(self, socket: web.WebSocketResponse, feed: Feed, viewer: Who) -> None:
        try:
            while not socket.closed:
                message = feed.take()
                if message is None:
                    try:
                        async with asyncio.timeout(self._heartbeat_s):
                            await feed.wake.wait()
                        continue
                    except TimeoutError:
                        # A heartbeat has the number of what was offered last, so nothing may wait behind it.
                        message = feed.take() or feed.group.heartbeat()
                if not self._still(viewer):
                    await socket.close(code=ACCESS_CHANGED, message=b"log in again")
                    return
                async with asyncio.timeout(self._send_s):
                    await socket.send_frame(message, aiohttp.WSMsgType.TEXT)
        except TimeoutError:
            log.warning("viewer_gone", reason=f"it took nothing for {self._send_s:g} s")
            await socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER, drain=False)
        except (ConnectionError, aiohttp.ClientError):
            pass  # it left; the reader ends by itself

    async def _refuse(self, socket: web.WebSocketResponse, detail: str) -> None:
        fault = Fault(detail=detail, remedy='Send {"type": "subscribe"} first; see docs/push.md.')
        try:
            await socket.send_frame(encode(fault), aiohttp.WSMsgType.TEXT)
            await socket.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION, message=b"not a subscription")
        except ConnectionError:
            pass  # it left

    async def _close(self, _application: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY, message=b"the connector stops")


def _bearer(request: web.Request) -> list[str]:
    """The offered token, to be confirmed as the subprotocol where the viewer offers nothing else."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return [each.strip() for each in offered if each.strip().startswith(BEARER_SUBPROTOCOL)]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        log.error("viewer_writer_failed", error=repr(task.exception()))
