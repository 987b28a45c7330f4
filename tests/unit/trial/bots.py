"""Bots that speak Twilio Media Streams: a good one, and one for each way in which bots are wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.audio.g711 import ulaw_decode, ulaw_encode
from connector.audio.levels import look
from connector.audio.tone import sine


def tone(seconds: float) -> bytes:
    return ulaw_encode(sine(500, round(8000 * seconds), rate_hz=8000)).tobytes()


class Polite:
    """Greets, answers when the caller has finished, gives way when interrupted, marks the ends of what it says.

    Args:
        socket: Of one call.
        greeting: Seconds of it.
    """

    def __init__(self, socket: ServerConnection, greeting: float = 0.5) -> None:
        self._socket = socket
        self._greeting = greeting
        self._sid = ""
        self._marks = 0
        self._speaking = False  # the caller
        self._quiet = 0

    async def run(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            match message["event"]:
                case "start":
                    self._sid = message["streamSid"]
                    await self.started(message["start"])
                case "media":
                    await self.heard(base64.b64decode(message["media"]["payload"]))
                case "dtmf":
                    await self.pressed(message["dtmf"]["digit"])
                case "mark":
                    self._marks -= 1

    async def started(self, start: dict[str, Any]) -> None:
        if self._greeting:
            await self.play(tone(self._greeting))

    async def pressed(self, digit: str) -> None:
        await self.play(tone(0.2))

    async def heard(self, payload: bytes) -> None:
        if not look(ulaw_decode(payload)).silent:
            if not self._speaking and self._marks:
                await self.say("clear")
            self._speaking, self._quiet = True, 0
        elif self._speaking:
            self._quiet += 1
            if self._quiet > 20:
                self._speaking = False
                await self.play(tone(6.0))

    async def play(self, audio: bytes) -> None:
        await self.say("media", media={"payload": base64.b64encode(audio).decode()})
        self._marks += 1
        await self.say("mark", mark={"name": "end"})

    async def say(self, event: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"event": event, "streamSid": self._sid, **fields}))


def every(paced_s: float, piece: bytes) -> type[Polite]:
    """Sends a piece of audio so often, for as long as the call lasts."""

    class Paced(Polite):
        async def started(self, start: dict[str, Any]) -> None:
            self._sending = asyncio.create_task(self._send())

        async def _send(self) -> None:
            began_s, sent = asyncio.get_running_loop().time(), 0
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.say("media", media={"payload": base64.b64encode(piece).decode()})
                    sent += 1
                    await asyncio.sleep(max(0.0, began_s + sent * paced_s - asyncio.get_running_loop().time()))

        async def heard(self, payload: bytes) -> None:
            pass

        async def play(self, audio: bytes) -> None:
            pass

    return Paced


class Mute(Polite):
    async def play(self, audio: bytes) -> None:
        pass


class WrongWords(Polite):
    async def play(self, audio: bytes) -> None:
        await self._socket.send("hello")
        await self.say("medai", media={"payload": base64.b64encode(audio).decode()})
        await super().play(audio)


class Quitter(Polite):
    async def started(self, start: dict[str, Any]) -> None:
        await self._socket.close(1011, "no model")


class Silent(Polite):
    """Sends audio, and all of it is silence."""

    async def play(self, audio: bytes) -> None:
        await super().play(b"\xff" * len(audio))


class Deaf(Polite):
    """Stops reading after the last digit, so it never sees the close."""

    async def pressed(self, digit: str) -> None:
        if digit == "#":
            self._socket.transport.pause_reading()
            await self._socket.wait_closed()


class OneCallOnce(Polite):
    """Serves one call at a time and sends a second one away, as well as a call that it has had before."""

    busy = 0
    known: set[str] = set()  # noqa: RUF012

    async def run(self) -> None:
        type(self).busy += 1
        try:
            if self.busy > 1:
                await self._socket.close(1013, "busy")
            else:
                await super().run()
        finally:
            type(self).busy -= 1

    async def started(self, start: dict[str, Any]) -> None:
        if start["callSid"] in self.known:
            await self._socket.close(1008, "call known")
        self.known.add(start["callSid"])
        await super().started(start)


Kind = Callable[[ServerConnection], Polite] | Callable[[ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(kind: Kind, **options: Any) -> AsyncIterator[str]:
    """A bot; gives its address."""

    async def converse(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            made = kind(socket)
            await (made.run() if isinstance(made, Polite) else made)

    async with serve(converse, "127.0.0.1", 0, compression=None, **options) as server:
        scheme = "wss" if "ssl" in options else "ws"
        yield f"{scheme}://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
