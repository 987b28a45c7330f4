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

HEARTBEAT_S = 2.0
"""A page that hears nothing for 12 s takes the connection for dead."""
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
        self._came = 1_000
        self.sockets: set[web.WebSocketResponse] = set()
        self.queues = [self._queue(n) for n in range(queues)]
        self.agents = [self._agent(n, queues) for n in range(agents)]
        self.members = [self._member(agent, queue) for agent in self.agents for queue in agent["queues"]]
        self.streams = [self._stream(n) for n in range(min(agents, 6))]
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

    def _member(self, agent: dict[str, Any], queue: str) -> dict[str, Any]:
        interface = f"PJSIP/{agent['agent']}"
        return {
            "kind": "member", "id": f"main/{queue}/{interface}", "pbx": "main", "queue": queue, "interface": interface,
            "name": agent["name"], "agent": agent["agent"], "penalty": 0, "calls_taken": 3, "device": "not_in_use",
            "paused": False, "pause_reason": "",
        }  # fmt: skip

    def _stream(self, number: int) -> dict[str, Any]:
        fault = {
            "fault": "bot_clips", "evidence": "12 % of the samples are at the end of the range",
            "remedy": "let the bot speak softer",
        }  # fmt: skip
        meters = {
            "caller_dbfs": -18.0 - 7 * number, "bot_dbfs": -96.0 if number % 2 else -21.0, "mos": 4.3 - 0.4 * number,
            "loss_percent": 0.6 * number, "jitter_ms": 2.0 + 6 * number,
        }  # fmt: skip
        return {
            "kind": "stream", "id": f"main/s{number}", "pbx": "main", "stream": f"s{number}", "profile": "support-bot",
            "dialect": "twilio", "mode": ("voicebot", "assist")[number % 2], "peer": "wss://bot.example.com",
            "state": ("live", "live", "held", "connecting")[number % 4], "started_at": self.began - 40 * number,
            "queues": [f"queue{number % len(self.queues):02}"], "agent": "", "teams": [],
            "number": f"+493012345{number}", "name": "Max Mustermann", "faults": [fault] if number == 2 else [],
            "meters": meters if number % 4 != 3 else None,
        }  # fmt: skip

    @property
    def items(self) -> list[dict[str, Any]]:
        """All that is shown."""
        link = {"kind": "link", "id": "main/ami", "pbx": "main", "link": "ami", "state": "up", "since": 0, "detail": ""}
        return [link, *self.queues, *self.agents, *self.members, *self.callers, *self.streams]

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
        """Changes items at a pace, one message a change: an agent and a queue, a caller who comes and one who goes.

        The meters of all streams change once a second beside that.
        """
        began = asyncio.get_running_loop().time()
        for number in range(int(seconds * per_second)):
            agent, queue = self._random.choice(self.agents), self._random.choice(self.queues)
            agent.update(state=self._random.choice(STATES), since=time.time(), reason="")
            queue.update(waiting=self._random.randrange(9), waiting_since=time.time())
            changed, removed = [agent, queue], []
            if number % 2 and self.callers:
                gone = self.callers.pop(0)
                removed.append({"kind": "caller", "id": gone["id"]})
                self._came += 1
                self.callers.append(self._caller(self._came, queue))
                changed.append(self.callers[-1])
            if number % per_second == 0:
                changed += self._metered()
            message = {"type": "delta", "after": self.sequence, "changed": changed, "removed": removed, "events": []}
            self.sequence += 2
            for socket in list(self.sockets):
                await socket.send_json({**message, **self._now()})
            self.sent += 1
            await asyncio.sleep(max(0.0, began + (number + 1) / per_second - asyncio.get_running_loop().time()))

    def _metered(self) -> list[dict[str, Any]]:
        """All streams with a level of now."""
        for stream in self.streams:
            if stream["meters"]:
                stream["meters"] |= {
                    "caller_dbfs": -60 * self._random.random(),
                    "bot_dbfs": -60 * self._random.random(),
                }
        return self.streams

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
        beating = asyncio.create_task(self._beat(socket))
        async for _ in socket:  # each subscription gets a snapshot
            await socket.send_json({"type": "snapshot", "items": self.items, **self._now()})
            self.sockets.add(socket)
        self.sockets.discard(socket)
        beating.cancel()
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if socket in self.sockets and not socket.closed:
                await socket.send_json({"type": "heartbeat", **self._now()})

    async def _answer(self, request: web.Request) -> web.Response:
        now = {
            "agents": dict.fromkeys(STATES, 2), "open": True, "estimated_wait_s": 95.0, "target_s": 20,
            "target_share": 0.8, "time_zone": "America/New_York",
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
            "figures/trends": {"queues": [_trend(n, each) for n, each in enumerate(self.queues)], "next": ""},
            "calls": {"calls": [self._call(n) for n in range(3)], "next": ""},
            "history/calls": {"calls": [self._finished(n) for n in range(5)], "next": ""},
        }
        return web.json_response(answers[request.match_info["path"]])

    def _call(self, number: int) -> dict[str, Any]:
        legs = [
            {"uniqueid": f"{number}.{leg}", "channel": f"PJSIP/{who}-0000{number}", "state": "Up", "number": "",
             "name": "", "context": "in", "exten": "1", "started_at": self.began - 60}
            for leg, who in enumerate(("carrier", "agent1"))
        ]  # fmt: skip
        return {
            "pbx": "main", "linkedid": f"{number}.0", "started_at": self.began - 60, "direction": "inbound",
            "number": f"+49301234{number}", "name": "Erika Mustermann", "dialled": "100", "answered_at": None,
            "queue": "queue00", "legs": legs,
        }  # fmt: skip

    def _finished(self, number: int) -> dict[str, Any]:
        visit = {"queue": "queue00", "outcome": ("answered", "abandoned")[number % 2], "wait_s": 12.0}
        return {
            "pbx": "main", "linkedid": f"f{number}", "started_at": self.began - 300,
            "ended_at": self.began - 20 * number, "direction": "inbound",
            "number": f"+49309876{number}", "name": "", "dialled": "100", "visits": [visit],
        }  # fmt: skip


RIGHTS = [
    "own", "see", "pause", "members", "hang_up", "transfer", "priority", "withdraw", "listen", "whisper", "barge",
    "take_over", "message", "force_logout",
]  # fmt: skip


def _trend(number: int, queue: dict[str, Any]) -> dict[str, Any]:
    random = Random(number)
    offered = [random.choice((0, 0, 1, 2, 4)) for _ in range(60)]
    abandoned = [each // 4 for each in offered]
    return {"pbx": "main", "queue": queue["queue"], "offered": offered, "answered": offered, "abandoned": abandoned}


def _of(item: dict[str, Any], name: str, **figures: Any) -> dict[str, Any]:
    return {"pbx": item["pbx"], name: item[name], "figures": figures}


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
