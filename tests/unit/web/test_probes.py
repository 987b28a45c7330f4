"""The SIP WebSocket test, against servers of each kind."""

from __future__ import annotations

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from pydantic import SecretStr

from connector.config import AmiSettings, AriSettings, PbxSettings
from connector.web.probes import PbxProbes


def probes(url: str) -> PbxProbes:
    settings = PbxSettings(
        ami=AmiSettings(secret=SecretStr("secret")), ari=AriSettings(password=SecretStr("secret")), sip_ws_url=url
    )
    return PbxProbes({"main": settings}, clock=time.time, monotonic=time.monotonic)


@pytest.mark.parametrize(
    ("protocols", "path", "ok", "words"),
    [
        (("sip",), "/ws", True, "speaks SIP over WebSocket"),
        ((), "/ws", False, "not one for SIP"),
        (("sip",), "/other", False, "answered 404"),
    ],
)
async def test_it_tells_what_it_found(protocols: tuple[str, ...], path: str, ok: bool, words: str) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=protocols)
        await socket.prepare(request)
        await socket.receive()
        return socket

    application = web.Application()
    application.router.add_get("/ws", serve)
    async with TestServer(application) as server:
        url = str(server.make_url(path)).replace("http", "ws", 1)
        result = await probes(url).sip_websocket("main")
    assert (result.ok, bool(result.remedy)) == (ok, not ok)
    assert words in result.detail


async def test_nobody_there_and_nothing_set_are_told() -> None:
    result = await probes(f"ws://127.0.0.1:{unused_port()}/ws").sip_websocket("main")
    assert "cannot be reached" in result.detail
    result = await probes("").sip_websocket("main")
    assert result.detail == "pbx.main.sip_ws_url is not set."
