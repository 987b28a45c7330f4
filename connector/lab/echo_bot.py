"""A voicebot to try things with: speaks Twilio Media Streams, echoes the caller, and can misbehave on request.

`python -m connector.lab.echo_bot --port 8765`. Digits of the caller: 1 clears what is queued, 2 plays one second of
a tone sent at once and then a mark, 3 closes the stream, 4 sends a mark alone, 5 drops the connection. The modes
other than `echo` are for tests of what a connector must survive.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.audio import g711
from connector.audio.tone import sine

MODES = ("echo", "silent", "refuse", "hang", "hangup", "never_read", "garbage")
"""`silent` takes audio and sends none; `refuse` answers the upgrade with 503; `hang` takes the TCP connection and
never answers; `hangup` takes it and closes; `never_read` completes the handshake and reads nothing; `garbage` sends
what is no message of the protocol, then echoes."""

TONE_HZ = 1_000
TONE_MARK = "tone-end"
ALONE_MARK = "alone"
GARBAGE_EXTRA_BYTES = 70_000
"""Longer than the 65,536 bytes that tests allow, shorter than what ends the connection."""


def tone(hz: float, seconds: float) -> bytes:
    """A sine in mu-law, 8 kHz."""
    count = round(seconds * g711.SAMPLE_RATE_HZ)
    return g711.ulaw_encode(sine(hz, count, rate_hz=g711.SAMPLE_RATE_HZ)).tobytes()


class Conversation:
    """One stream with one caller."""

    def __init__(self, socket: ServerConnection, *, echoes: bool) -> None:
        self._socket = socket
        self._echoes = echoes
        self._stream_sid = ""

    async def run(self) -> None:
        """Answers until the stream ends."""
        async for text in self._socket:
            message = json.loads(text)
            match message["event"]:
                case "start":
                    self._stream_sid = message["streamSid"]
                case "media" if self._echoes:
                    await self._media(message["media"]["payload"])
                case "dtmf":
                    await self._digit(message["dtmf"]["digit"])
                case "stop":
                    return

    async def _digit(self, digit: str) -> None:
        match digit:
            case "1":
                await self._say({"event": "clear"})
            case "2":
                await self._media(base64.b64encode(tone(TONE_HZ, 1.0)).decode())
                await self._say({"event": "mark", "mark": {"name": TONE_MARK}})
            case "3":
                await self._socket.close(1000, "the caller pressed 3")
            case "4":
                await self._say({"event": "mark", "mark": {"name": ALONE_MARK}})
            case "5":
                self._socket.transport.abort()

    async def _media(self, payload: str) -> None:
        await self._say({"event": "media", "media": {"payload": payload}})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._socket.send(json.dumps({"streamSid": self._stream_sid, **message}))


async def send_garbage(socket: ServerConnection) -> None:
    """One of each kind of message that has to be refused."""
    for text in (
        "this is not JSON",
        "[]",
        json.dumps({"event": "no-such-event"}),
        json.dumps({"event": "media"}),
        json.dumps({"event": "media", "media": {"payload": "***"}}),
        json.dumps({"event": "media", "streamSid": "MZ0", "media": {"payload": ""}}),
        json.dumps({"event": "clear", "padding": "x" * GARBAGE_EXTRA_BYTES}),
    ):
        await socket.send(text)
    await socket.send(b"\x00\x01binary")


@contextlib.asynccontextmanager
async def bot(host: str, port: int, mode: str) -> AsyncIterator[int]:
    """Runs the bot; gives the port that it listens on."""

    async def converse(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            if mode == "never_read":
                await socket.wait_closed()
                return
            if mode == "garbage":
                await send_garbage(socket)
            await Conversation(socket, echoes=mode != "silent").run()

    def refuse(socket: ServerConnection, _request: Request) -> Response | None:
        return socket.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "no\n") if mode == "refuse" else None

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mode == "hang":
            with contextlib.suppress(ConnectionError):
                while await _reader.read(4096):
                    pass
        writer.close()

    if mode in ("hang", "hangup"):
        plain = await asyncio.start_server(take, host, port)
        async with plain:
            yield plain.sockets[0].getsockname()[1]
        return
    queue = 1 if mode == "never_read" else 16
    async with serve(converse, host, port, compression=None, process_request=refuse, max_queue=queue) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def main() -> None:
    """Runs until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 lets the system choose")
    parser.add_argument("--mode", choices=MODES, default="echo")
    options = parser.parse_args()
    async with bot(options.host, options.port, options.mode) as port:
        print(json.dumps({"event": "ready", "host": options.host, "port": port, "mode": options.mode}), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
