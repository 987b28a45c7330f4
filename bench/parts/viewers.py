"""Other ends of the benchmark of the event path, in a process of their own: viewers, and a taker of webhooks."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from connector.web.push.socket import PATH


class _Seen(msgspec.Struct):
    kind: str
    id: str
    joined_at: float = 0.0


class _Message(msgspec.Struct):
    type: str
    items: tuple[_Seen, ...] = ()
    changed: tuple[_Seen, ...] = ()


async def watch(port: int, hook_port: int, viewers: int) -> dict[str, Any]:
    """Connects the viewers, says so on standard output, and looks on until standard input ends.

    Returns:
        `latencies`: seconds, each of one caller at one viewer; `webhooks`: requests taken.
    """
    decode = msgspec.json.Decoder(_Message).decode
    latencies: list[float] = []
    connected = asyncio.Semaphore(0)

    async def one(http: aiohttp.ClientSession) -> None:
        async with http.ws_connect(f"ws://127.0.0.1:{port}{PATH}", max_msg_size=0) as live:
            await live.send_str('{"type": "subscribe"}')
            snapshot = decode((await live.receive()).data)
            seen = {item.id for item in snapshot.items}
            connected.release()
            async for message in live:
                now = time.time()
                for item in decode(message.data).changed:
                    if item.kind == "caller" and item.id not in seen:
                        seen.add(item.id)
                        latencies.append(now - item.joined_at)

    taken = 0

    async def hook(request: web.Request) -> web.Response:
        nonlocal taken
        await request.read()
        taken += 1
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", hook)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", hook_port).start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = [asyncio.create_task(one(http)) for _ in range(viewers)]
            for _ in tasks:
                await connected.acquire()
            print("connected", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await runner.cleanup()
    return {"latencies": latencies, "webhooks": taken}


def main() -> None:
    """`python -m bench.parts.viewers PORT HOOK_PORT VIEWERS`."""
    port, hook_port, viewers = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(watch(port, hook_port, viewers))))


if __name__ == "__main__":
    main()
