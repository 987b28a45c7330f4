"""`/api/v1/listen`: a supervisor hears a conversation in the browser, and may speak in it, with no phone.

The first message says what follows; each binary message is one byte for the track and 20 ms of its mu-law.
What the page sends is checked by `connector.web.voice`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiohttp
import msgspec
import structlog
from aiohttp import web

from connector.access.rights import Right
from connector.calls.outcome import NotPossible
from connector.dialects.base import Track
from connector.streams.listening import TRACKS, Listening, Voice
from connector.streams.taps import TapRefused, Taps
from connector.web.audit import Audit
from connector.web.auth.identity import Who, who
from connector.web.push.socket import ACCESS_CHANGED
from connector.web.rest.actions import ActionsApi
from connector.web.rest.fields import Name, Text
from connector.web.rest.problems import Refused, invalid
from connector.web.voice import FRAME_MS, RATE_HZ, BadVoice, Mouth

log = structlog.get_logger()

PATH = "/api/v1/listen"
FRAMES_MAX = 50
"""That wait for a slow browser: half a second of both tracks; beyond it the oldest is dropped."""
LOOK_S = 1.0
LOOKS = 2
"""In which a call is out of scope before its listener is: between two queues it is nobody's for a moment."""
SEND_S = 5.0
OPEN_S = 10.0
"""For Asterisk to make the tap; each step of it has its own, shorter deadline."""

Mode = Literal["listen", "whisper", "barge"]
_MODES: dict[str, tuple[Right, Voice]] = {
    "listen": (Right.LISTEN, Voice.NOBODY),
    "whisper": (Right.WHISPER, Voice.TAPPED),
    "barge": (Right.BARGE, Voice.BOTH),
}


class ListenQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be heard: an agent's conversation, or a call by its linkedid; one of both."""

    pbx: Name
    agent: Text = ""
    call: Text = ""
    mode: Mode = "listen"


class Microphone(msgspec.Struct, frozen=True, kw_only=True):
    """What the page may send: one channel, little-endian, a frame a binary message."""

    encoding: str = "pcm16"
    rate_hz: int = RATE_HZ
    frame_ms: int = FRAME_MS


class ListenStarted(msgspec.Struct, frozen=True, kw_only=True, tag="listening"):
    """What follows: `tracks[n]` is whose audio a binary message beginning with byte n has."""

    tracks: tuple[str, ...]
    encoding: str = "ulaw"
    rate_hz: int = 8000
    frame_ms: int = 20
    mode: Mode
    microphone: Microphone | None
    """None where nobody hears the listener."""


class ListenSocket:
    """Serves those who listen.

    Args:
        actions: Knows which conversations somebody may be in.
        taps: By PBX.
        audit: Keeps who listened to whom.
        still: Whether somebody may still do what they could when they came.
        monotonic: Seconds that never go back.
        max_listeners: At once.
    """

    def __init__(
        self,
        actions: ActionsApi,
        taps: Mapping[str, Taps],
        audit: Audit,
        still: Callable[[Who], bool],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        max_listeners: int = 20,
    ) -> None:
        self._actions = actions
        self._taps = taps
        self._audit = audit
        self._still = still
        self._monotonic = monotonic
        self._max = max_listeners
        self._sockets: set[web.WebSocketResponse] = set()

    def add_to(self, application: web.Application) -> None:
        """Makes it reachable."""
        application.router.add_get(PATH, self.serve)
        application.on_shutdown.append(self._close)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serves one until the conversation ends or they leave."""
        listener, query = who(request), _query(request)
        target, deed = query.agent or query.call, f"act.{query.mode}-live"
        result = "failed"
        try:
            socket, heard, listening = await self._begin(request, listener, query)
            result = "ok"
        except Refused as refused:
            result = refused.kind
            raise
        finally:
            if result != "upgrade-required":  # a page that asks why it was refused; nothing was begun
                self._audit.write(listener, deed, target, result=result, pbx=query.pbx)
        self._sockets.add(socket)
        mouth = Mouth(listening.say, monotonic=self._monotonic)
        try:
            await self._serve(socket, heard, listening, mouth, listener, query)
        finally:
            listening.stop()
            self._sockets.discard(socket)
            detail = listening.over.result() if listening.over.done() else ""
            self._audit.write(listener, f"{deed}-end", target, pbx=query.pbx, detail=detail)
            if heard.dropped or mouth.dropped:
                log.info("listener_slow", frames_dropped=heard.dropped, voice_frames_dropped=mouth.dropped)
        return socket

    async def _begin(
        self, request: web.Request, listener: Who, query: ListenQuery
    ) -> tuple[web.WebSocketResponse, _Heard, Listening]:
        right, voice = _MODES[query.mode]
        sight = listener.need(right).sight
        try:
            if query.agent:
                _, uniqueid, _ = self._actions.conversation(sight, query.pbx, query.agent)
            else:
                uniqueid = self._actions.caller(sight, query.pbx, query.call)
        except NotPossible as error:
            raise Refused(409, "not-possible", str(error), remedy=error.remedy) from None
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=4_096, compress=False, protocols=("connector.v1",))
        if not socket.can_prepare(request).ok:
            raise Refused(426, "upgrade-required", "This address speaks WebSocket.", headers={"Upgrade": "websocket"})
        if len(self._sockets) >= self._max:
            raise Refused(503, "too-many-listeners", f"{self._max} listen already.", remedy="Close one.")
        heard = _Heard()
        speaker = Track.AGENT if query.agent else Track.CALLER
        try:
            listening = self._taps[query.pbx].listen(uniqueid, heard.hear, speaker=speaker, voice=voice)
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

    async def _serve(
        self,
        socket: web.WebSocketResponse,
        heard: _Heard,
        listening: Listening,
        mouth: Mouth,
        listener: Who,
        query: ListenQuery,
    ) -> None:
        reading = asyncio.create_task(_read(socket, mouth if query.mode != "listen" else None))
        try:
            await _until(listening.started, reading, listening.over, timeout_s=OPEN_S)
            if listening.started.is_set():
                await socket.send_frame(msgspec.json.encode(_started(query.mode)), aiohttp.WSMsgType.TEXT)
            elif not reading.done():
                why = listening.over.result() if listening.over.done() else "Asterisk is too slow"
                await socket.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR, message=why.encode()[:120])
                return
            foreign, look_at = 0, self._monotonic()
            while not (reading.done() or listening.over.done()):
                if self._monotonic() >= look_at:
                    look_at += LOOK_S
                    if not self._still(listener):
                        await socket.close(code=ACCESS_CHANGED, message=b"log in again")
                        return
                    reaches = query.agent or self._actions.reaches(
                        listener.known.sight, query.pbx, listening.order.channel_id
                    )
                    foreign = 0 if reaches else foreign + 1
                    if foreign >= LOOKS:
                        await socket.close(
                            code=aiohttp.WSCloseCode.POLICY_VIOLATION, message=b"the call is in another's queue now"
                        )
                        return
                await _until(heard.wake, reading, listening.over, timeout_s=LOOK_S)
                async with asyncio.timeout(SEND_S):
                    for frame in heard.take():
                        await socket.send_frame(frame, aiohttp.WSMsgType.BINARY)
            if reading.done() and (bad := reading.result()):
                await socket.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA, message=bad.encode())
            else:
                await socket.close(message=b"the conversation has ended")
        except (TimeoutError, ConnectionError, aiohttp.ClientError):
            await socket.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER, drain=False)
        finally:
            reading.cancel()
            await asyncio.wait({reading})

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


def _query(request: web.Request) -> ListenQuery:
    values = dict(request.query)
    if len(values) != len(request.query):
        raise invalid("A parameter is given more than once.")
    try:
        query = msgspec.convert(values, ListenQuery, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"A parameter is not as described: {error}.") from None
    if bool(query.agent) is bool(query.call):
        raise invalid("What is heard is an agent or a call: name one of both.")
    if query.call and query.mode != "listen":
        raise invalid("Who speaks, speaks to an agent: name one.")
    return query


def _started(mode: Mode) -> ListenStarted:
    microphone = None if mode == "listen" else Microphone()
    return ListenStarted(tracks=tuple(track.value for track in TRACKS), mode=mode, microphone=microphone)


async def _until(event: asyncio.Event, *ends: asyncio.Future[str], timeout_s: float) -> None:
    """Waits for the event, or for one of the ends."""
    waking = asyncio.create_task(event.wait())
    waits: set[asyncio.Future[Any]] = {waking, *ends}
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waking.cancel()


async def _read(socket: web.WebSocketResponse, mouth: Mouth | None) -> str:
    """Takes what the page sends until it leaves; says what was wrong with it, if anything was."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            if mouth is None:
                return "who listens sends no audio"
            try:
                mouth.take(message.data)
            except BadVoice as error:
                return str(error)
        elif message.type is not aiohttp.WSMsgType.TEXT:
            return ""
