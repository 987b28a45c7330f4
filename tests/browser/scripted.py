"""A connector's outside as the page sees it, of any size and pace, with no PBX behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.web.server import HEADERS, STATIC

STATES = ("available", "ringing", "on_call", "on_hold", "wrap_up", "paused", "unavailable")


class Scripted:
    """Queues, agents and callers that change as often as wanted.

    Args:
        queues: How many.
        agents: How many; each is in two queues.
        seed: For what changes.
    """

    def __init__(self, *, queues: int, agents: int, seed: int = 1) -> None:
        self._random = Random(seed)
        self.began = time.time()
        self.sequence = 1
        self.sent = 0
        self.sockets: set[web.WebSocketResponse] = set()
        self.queues = [self._queue(n) for n in range(queues)]
        self.agents = [self._agent(n, queues) for n in range(agents)]
        self.callers = [self._caller(n, queue) for queue in self.queues for n in range(queue["waiting"])]

    def _queue(self, number: int) -> dict[str, Any]:
        waiting = (0, 2, 0, 5)[number % 4]
        return {
            "kind": "queue", "id": f"main/queue{number:02}", "pbx": "main", "queue": f"queue{number:02}",
            "waiting": waiting, "waiting_since": self.began - 12 * waiting if waiting else None,
            "members": 8, "members_free": number % 3, "members_paused": 1, "current": True,
        }  # fmt: skip

    def _agent(self, number: int, queues: int) -> dict[str, Any]:
        state = STATES[number % len(STATES)]
        return {
            "kind": "agent", "id": f"main/agent{number:03}", "pbx": "main", "agent": f"agent{number:03}",
            "name": f"Agent {number:03}", "teams": [f"team {number % 5}"], "state": state,
            "reason": "lunch" if state == "paused" else "", "since": self.began - 20 * number, "call": "",
            "queues": [f"queue{number % queues:02}", f"queue{(number + 1) % queues:02}"],
        }  # fmt: skip

    def _caller(self, number: int, queue: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": "caller", "id": f"{queue['id']}/{number}", "pbx": "main", "queue": queue["queue"],
            "uniqueid": str(number), "position": number + 1, "joined_at": self.began - 12 * (queue["waiting"] - number),
            "number": f"+4930123{number}", "name": "Erika Mustermann", "priority": 0,
        }  # fmt: skip

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves; gives the address."""
        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_static("/static", STATIC)
        application.router.add_get("/api/v1/live", self._live)
        application.router.add_get("/api/v1/{path:.*}", self._answer)
        application.on_shutdown.append(self._close)
        application.on_response_prepare.append(_with_headers)
        async with TestServer(application) as server:
            yield str(server.make_url("/"))

    async def change(self, seconds: float, per_second: int) -> None:
        """Changes items at a pace, one message a change."""
        for _ in range(int(seconds * per_second)):
            agent, queue = self._random.choice(self.agents), self._random.choice(self.queues)
            agent.update(state=self._random.choice(STATES), since=time.time(), reason="")
            queue.update(waiting=self._random.randrange(9), waiting_since=time.time())
            message = {"type": "delta", "after": self.sequence, "changed": [agent, queue], "removed": [], "events": []}
            self.sequence += 2
            for socket in list(self.sockets):
                await socket.send_json({**message, **self._now()})
            self.sent += 1
            await asyncio.sleep(1 / per_second)

    async def _close(self, _application: web.Application) -> None:
        for socket in list(self.sockets):
            await socket.close()  # else the server waits for them

    def _now(self) -> dict[str, Any]:
        return {"epoch": "a", "sequence": self.sequence, "at": time.time()}

    async def _page(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        link = {"kind": "link", "id": "main/ami", "pbx": "main", "link": "ami", "state": "up", "since": 0, "detail": ""}
        await socket.send_json(
            {"type": "snapshot", "items": [link, *self.queues, *self.agents, *self.callers], **self._now()}
        )
        self.sockets.add(socket)
        async for _ in socket:
            pass
        self.sockets.discard(socket)
        return socket

    async def _answer(self, request: web.Request) -> web.Response:
        now = {
            "agents": dict.fromkeys(STATES, 2), "open": True, "estimated_wait_s": 95.0, "target_s": 20,
            "target_share": 0.8,
        }  # fmt: skip
        today = {
            "offered": 120, "answered": 104, "abandoned": 11, "abandoned_share": 0.09, "service_level": 0.76,
            "answer_wait_mean_s": 17.2,
        }  # fmt: skip
        agent = {"talks": 31, "answered": 31, "rang_in_vain": 1, "occupancy": 0.7}
        answers: dict[str, Any] = {
            "session": {"name": "anna", "role": "supervisor", "phone": "", "csrf": "x", "sso": "", "rights": RIGHTS},
            "session/preferences": {"preferences": {"views": [{"name": "My queues", "hash": "#/queues"}]}},
            "figures/queues": {
                "queues": [_of(each, "queue", now=now, today=today) for each in self.queues],
                "next": "",
            },
            "figures/agents": {"agents": [_of(each, "agent", today=agent) for each in self.agents], "next": ""},
            "calls": {"calls": [], "next": ""},
            "history/calls": {"calls": [], "next": ""},
        }
        return web.json_response(answers[request.match_info["path"]])


RIGHTS = ["own", "see", "pause", "hang_up", "listen", "whisper", "barge", "take_over", "message", "force_logout"]


def _of(item: dict[str, Any], name: str, **figures: Any) -> dict[str, Any]:
    return {"pbx": item["pbx"], name: item[name], "figures": figures}


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
