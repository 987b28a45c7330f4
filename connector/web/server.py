"""The HTTP side: `/metrics`, `/healthz`, `/readyz`, a live page at `/`, and the API below `/api/v1`.

`/healthz` answers for this process alone, `/readyz` for what it needs: a restart mends the first, not the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connector.config import HttpSettings
from connector.web.guard import guard
from connector.web.push.socket import LiveSocket
from connector.web.rest.api import Api
from connector.web.rest.problems import as_problems

log = structlog.get_logger()

BODY_MAX_BYTES = 65_536
"""Of a request."""

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PortTaken(Exception):
    """The HTTP port cannot be bound; the message names the setting."""


class Web:
    """Serves what the parts below know. It asks them at each request and keeps nothing.

    Args:
        settings: Where to listen.
        registry: The metrics.
        state: The live state as plain values.
        not_ready: What is missing, a sentence each; empty when everything is there.
        api: The API; None serves the state alone.
        live: The live connection, if there is one.
    """

    def __init__(
        self,
        *,
        settings: HttpSettings,
        registry: CollectorRegistry,
        state: Callable[[], dict[str, Any]],
        not_ready: Callable[[], list[str]],
        api: Api | None = None,
        live: LiveSocket | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._state = state
        self._not_ready = not_ready
        self._api = api
        self._live = live

    @property
    def url(self) -> str:
        """Where the page is."""
        host = self._settings.host
        return f"http://[{host}]:{self._settings.port}/" if ":" in host else f"http://{host}:{self._settings.port}/"

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled.

        Args:
            started: Set when the port is open.

        Raises:
            PortTaken: The address cannot be bound.
        """
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, self._settings.host, self._settings.port).start()
            except OSError as error:
                raise PortTaken(
                    f"cannot listen on {self._settings.host}:{self._settings.port}: {error.strerror}; "
                    "choose another http.port, or end the process that has it"
                ) from None
            started.set()
            log.info("web_listening", url=self.url)
            await asyncio.get_running_loop().create_future()
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        """All routes, behind the guard."""
        application = web.Application(
            middlewares=[_with_headers, as_problems, guard(self._settings)], client_max_size=BODY_MAX_BYTES
        )
        application.router.add_get("/", self._page)
        application.router.add_static("/static", STATIC)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        if self._api is not None:
            self._api.add_to(application.router)
        else:
            application.router.add_get("/api/v1/state", self._live_state)
        if self._live is not None:
            self._live.add_to(application)
        return application

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encoder(self._registry), headers={"Content-Type": content_type})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = self._not_ready()
        if missing:
            return web.json_response({"status": "not ready", "missing": missing}, status=503)
        return web.json_response({"status": "ready"})

    async def _live_state(self, _request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._state())
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


@web.middleware
async def _with_headers(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        error.headers.update(HEADERS)
        raise
    if not response.prepared:  # a WebSocket has sent them
        response.headers.update(HEADERS)
    return response
