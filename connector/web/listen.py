"""`/api/v1/listen`: a supervisor hears an agent's conversation in the browser, with no phone.

The first message says what follows; each binary message is one byte for the track and 20 ms of its mu-law.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import web

from connector.access.rights import Right
from connector.calls.outcome import NotPossible
from connector.dialects.base import Track
from connector.streams.listening import TRACKS, Listening
from connector.streams.taps import TapRefused, Taps
from connector.web.audit import Audit
from connector.web.auth.identity import Who, who
from connector.web.push.socket import ACCESS_CHANGED
from connector.web.rest.actions import ActionsApi
from connector.web.rest.problems import Refused, invalid

log = structlog.get_logger()

PATH = "/api/v1/listen"
FRAMES_MAX = 50
"""That wait for a slow browser: half a second of both tracks; beyond it the oldest is dropped."""
LOOK_S = 1.0
SEND_S = 5.0


class ListenStarted(msgspec.Struct, frozen=True, kw_only=True, tag="listening"):
    """What follows: `tracks[n]` is whose audio a binary message beginning with byte n has."""

    tracks: tuple[str, ...]
    encoding: str = "ulaw"
    rate_hz: int = 8000
    frame_ms: int = 20


class ListenSocket:
    """Serves those who listen.

    Args:
        actions: Knows which conversations somebody may be in.
        taps: By PBX.
        audit: Keeps who listened to whom.
        still: Whether somebody may still do what they could when they came.
        max_listeners: At once.
    """

    def __init__(
        self,
        actions: ActionsApi,
        taps: Mapping[str, Taps],
        audit: Audit,
        still: Callable[[Who], bool],
        *,
        max_listeners: int = 20,
    ) -> None:
        self._actions = actions
        self._taps = taps
        self._audit = audit
        self._still = still
        self._max = max_listeners
        self._sockets: set[web.WebSocketResponse] = set()

    def add_to(self, application: web.Application) -> None:
        """Makes it reachable."""
        application.router.add_get(PATH, self.serve)
        application.on_shutdown.append(self._close)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves one until the conversation ends or they leave."""
        listener = who(request)
        pbx, agent = request.query.get("pbx", ""), request.query.get("agent", "")
        result = "failed"
        try:
            socket, heard, listening = await self._begin(request, listener, pbx, agent)
            result = "ok"
        except Refused as refused:
            result = refused.kind
            raise
        finally:
            self._audit.write(listener, "act.listen-live", agent[:128], result=result, pbx=pbx[:128])
        self._sockets.add(socket)
        try:
            await self._serve(socket, heard, listening, listener)
        finally:
            listening.stop()
            self._sockets.discard(socket)
            self._audit.write(listener, "act.listen-live-end", agent, pbx=pbx)
        return socket

    async def _begin(
        self, request: web.Request, listener: Who, pbx: str, agent: str
    ) -> tuple[web.WebSocketResponse, _Heard, Listening]:
        sight = listener.need(Right.LISTEN).sight
        if not pbx or not agent or len(request.query) != 2:
            raise invalid("The parameters are pbx and agent, once each.")
        try:
            _, uniqueid, _ = self._actions.conversation(sight, pbx, agent)
        except NotPossible as error:
            raise Refused(409, "not-possible", str(error), remedy=error.remedy) from None
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=4_096, compress=False, protocols=("connector.v1",))
        if not socket.can_prepare(request).ok:
            raise Refused(426, "upgrade-required", "This address speaks WebSocket.", headers={"Upgrade": "websocket"})
        if len(self._sockets) >= self._max:
            raise Refused(503, "too-many-listeners", f"{self._max} listen already.", remedy="Close one.")
        heard = _Heard()
        try:
            listening = self._taps[pbx].listen(uniqueid, heard.hear)
        except TapRefused as refused:
            raise Refused(
                503, "no-room", f"There is no room for another listener: {refused}.", remedy="Try again later."
            ) from None
        try:
            await socket.prepare(request)
        except BaseException:
            listening.stop()
            raise
        return socket, heard, listening

    async def _serve(self, socket: web.WebSocketResponse, heard: _Heard, listening: Listening, listener: Who) -> None:
        reading = asyncio.create_task(_until_closed(socket))
        try:
            started = ListenStarted(tracks=tuple(track.value for track in TRACKS))
            await socket.send_frame(msgspec.json.encode(started), aiohttp.WSMsgType.TEXT)
            while not (reading.done() or listening.over.done()):
                if not self._still(listener):
                    await socket.close(code=ACCESS_CHANGED, message=b"log in again")
                    return
                waking = asyncio.create_task(heard.wake.wait())
                ends: set[asyncio.Future[Any]] = {waking, reading, listening.over}
                await asyncio.wait(ends, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                async with asyncio.timeout(SEND_S):
                    for frame in heard.take():
                        await socket.send_frame(frame, aiohttp.WSMsgType.BINARY)
            await socket.close(message=b"the conversation has ended")
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            await socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER, drain=False)
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if heard.dropped:
                log.info("listener_slow", frames_dropped=heard.dropped)

    async def _close(self, _application: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY, message=b"the connector stops")


class _Heard:
    """What waits for one browser."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.dropped = 0
        self._frames: deque[bytes] = deque()

    def hear(self, track: Track, audio: bytes) -> None:
        if len(self._frames) >= FRAMES_MAX:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(bytes((TRACKS.index(track),)) + audio)
        self.wake.set()

    def take(self) -> list[bytes]:
        frames = list(self._frames)
        self._frames.clear()
        self.wake.clear()
        return frames


async def _until_closed(socket: web.WebSocketResponse) -> None:
    while (await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        pass
