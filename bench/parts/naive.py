"""What most bridges are: asyncio, `websockets`, `json`, a task and a timer for each call.

python -m bench.parts.naive WS_PORT    with the callers' UDP ports on standard input, in one line
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

HOST = "127.0.0.1"
SILENCE = b"\xff" * 160


class Call(asyncio.DatagramProtocol):
    """One call."""

    def __init__(self, rtp: Rtp, caller: tuple[str, int]) -> None:
        self.rtp = rtp
        self.caller = caller
        self.to_bot: asyncio.Queue[bytes] = asyncio.Queue(maxsize=50)
        self.to_caller: asyncio.Queue[bytes] = asyncio.Queue(maxsize=500)
        self.numbered = 0

    async def run(self, bot: ClientConnection) -> None:
        """Until the bot leaves."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.send(bot))
            tasks.create_task(self.receive(bot))
            tasks.create_task(self.pace())

    async def send(self, bot: ClientConnection) -> None:
        """Caller to bot."""
        while True:
            payload = await self.to_bot.get()
            self.numbered += 1
            media = {
                "track": "inbound",
                "chunk": str(self.numbered),
                "timestamp": str(self.numbered * 20),
                "payload": base64.b64encode(payload).decode(),
            }
            text = {"event": "media", "sequenceNumber": str(self.numbered), "media": media, "streamSid": "MZ1"}
            await bot.send(json.dumps(text))

    async def receive(self, bot: ClientConnection) -> None:
        """Bot to the playout queue."""
        try:
            async for text in bot:
                message = json.loads(text)
                if message["event"] == "media" and not self.to_caller.full():
                    self.to_caller.put_nowait(base64.b64decode(message["media"]["payload"]))
        except ConnectionClosed:
            pass

    async def pace(self) -> None:
        """A frame each 20 ms to the caller."""
        due_s = time.monotonic()
        sequence = timestamp = 0
        while True:
            due_s += 0.020
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            payload = SILENCE if self.to_caller.empty() else self.to_caller.get_nowait()
            header = struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
            sequence, timestamp = sequence + 1, timestamp + 160
            self.rtp.transport.sendto(header + payload, self.caller)


class Rtp(asyncio.DatagramProtocol):
    """The socket."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, int], Call] = {}
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        """Keeps the transport."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Caller to the call's queue."""
        call = self.calls.get(addr)
        if call is not None and len(data) == 172 and not call.to_bot.full():
            call.to_bot.put_nowait(data[12:])


async def main() -> None:
    """Runs until killed."""
    loop = asyncio.get_running_loop()
    transport, rtp = await loop.create_datagram_endpoint(Rtp, local_addr=(HOST, 0))
    line = await loop.run_in_executor(None, sys.stdin.readline)
    async with asyncio.TaskGroup() as tasks:
        for port in map(int, line.split()):
            bot = await connect(f"ws://{HOST}:{sys.argv[1]}/", compression=None, proxy=None)
            call = rtp.calls[HOST, port] = Call(rtp, (HOST, port))
            tasks.create_task(call.run(bot))
        print(json.dumps({"port": transport.get_extra_info("sockname")[1]}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
