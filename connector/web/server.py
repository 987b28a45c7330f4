"""The HTTP side: `/metrics`, `/healthz`, `/readyz`, a live page at `/`, and the API below `/api/v1`.

`/healthz` answers for this process alone, `/readyz` for what it needs: a restart mends the first, not the second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connector.config import HttpSettings
from connector.web.auth.accounts import Accounts
from connector.web.auth.guard import guard
from connector.web.auth.sso import SingleSignOn
from connector.web.listen import ListenSocket
from connector.web.push.socket import LiveSocket
from connector.web.recordings import RecordingFiles
from connector.web.rest.api import Api
from connector.web.rest.problems import as_problems
from connector.web.vendors.build import VendorApis

log = structlog.get_logger()

BODY_MAX_BYTES = 65_536
"""Of a request."""

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; worker-src 'self'; media-src 'self' blob:; "
        "manifest-src 'self'; font-src 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "connector",  # not with which versions of what
}
"""Of every answer."""
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""Where we do TLS ourselves (RFC 6797); behind a proxy it is the proxy's to say."""


class PortTaken(Exception):
    """The HTTP port cannot be bound; the message names the setting."""


class BadCertificate(Exception):
    """http.tls_certificate or http.tls_key cannot be used; the message says why."""


def tls_of(settings: HttpSettings) -> ssl.SSLContext | None:
    """TLS as the settings say, 1.2 or newer; None for none.

    Raises:
        BadCertificate: Certificate or key cannot be used.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise BadCertificate(
            f"http.tls_certificate {settings.tls_certificate} with http.tls_key {settings.tls_key}: {error}"
        ) from None
    return context


class Web:
    """Serves what the parts below know. It asks them at each request and keeps nothing.

    Args:
        settings: Where to listen.
        registry: The metrics.
        not_ready: What is missing, a sentence each; empty when everything is there.
        accounts: Who may come in.
        api: The API; None for the pages alone.
        sso: Single sign-on, if there is one.
        live: The live connection, if there is one.
        listen: Listening in the browser, if there is that.
        vendors: The vendors' REST interfaces, if there are any.
        recordings: The content of recordings, if there are any.
    """

    def __init__(
        self,
        *,
        settings: HttpSettings,
        registry: CollectorRegistry,
        not_ready: Callable[[], list[str]],
        accounts: Accounts,
        api: Api | None = None,
        sso: SingleSignOn | None = None,
        live: LiveSocket | None = None,
        listen: ListenSocket | None = None,
        vendors: VendorApis | None = None,
        recordings: RecordingFiles | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._not_ready = not_ready
        self._accounts = accounts
        self._api = api
        self._sso = sso
        self._live = live
        self._listen = listen
        self._vendors = vendors
        self._recordings = recordings

    @property
    def url(self) -> str:
        """Where the page is."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{'https' if self._settings.tls_certificate else 'http'}://{host}:{self._settings.port}/"

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled.

        Args:
            started: Set when the port is open.

        Raises:
            PortTaken: The address cannot be bound.
            BadCertificate: The certificate or its key cannot be used.
        """
        tls = tls_of(self._settings)
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, self._settings.host, self._settings.port, ssl_context=tls).start()
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
            middlewares=[as_problems, guard(self._settings, self._accounts)],
            client_max_size=BODY_MAX_BYTES,
        )
        application.on_response_prepare.append(self._with_headers)
        application.router.add_get("/", self._page)
        application.router.add_static("/static", STATIC)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        if self._api is not None:
            self._api.add_to(application.router)
        if self._sso is not None:
            self._sso.add_to(application.router)
        if self._live is not None:
            self._live.add_to(application)
        if self._listen is not None:
            self._listen.add_to(application)
        if self._vendors is not None:
            self._vendors.add_to(application.router)
        if self._recordings is not None:
            self._recordings.add_to(application)
        return application

    async def _with_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)
        if self._settings.tls_certificate is not None:
            response.headers.update(HSTS)

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
