"""Who may come in: the one place that decides it, before any handler sees a request.

There is a token and no login yet. Three things are looked at: the token; the Host header, so that a web page whose name
was pointed at this machine cannot use a connector on loopback (DNS rebinding); and the Origin header, so that another
site's page cannot use a browser that may (RFC 6455 section 10.2 for WebSockets).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from connector.config import HttpSettings
from connector.web.audit import set_actor
from connector.web.rest.problems import API, Refused

BEARER_SUBPROTOCOL = "bearer."
"""A browser's WebSocket cannot set headers, so it may offer the token as a subprotocol `bearer.<token>`."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


def guard(settings: HttpSettings) -> Any:
    """The middleware that lets a request pass or raises `Refused`."""
    token = settings.token.get_secret_value().encode()
    allowed_origins = frozenset(settings.allowed_origins)
    allowed_hosts = {urlsplit(origin).hostname for origin in allowed_origins} | {"localhost", settings.host}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(API) or request.path == "/metrics":
            if not token:
                _check_host(request, allowed_hosts)
            elif request.path != "/metrics" or settings.token_for_metrics:
                _check_token(request, token)
                set_actor(request, "token")
            _check_origin(request, allowed_origins)
        return await handler(request)

    return check


def _check_token(request: web.Request, token: bytes) -> None:
    offered = _offered(request).encode(errors="replace")
    if not hmac.compare_digest(offered, token):
        raise Refused(
            401,
            "unauthorized",
            "The token is wrong." if offered else "A token is needed and none was sent.",
            cause="http.token is set.",
            remedy="Send it as Authorization: Bearer <token>.",
            headers={"WWW-Authenticate": 'Bearer realm="connector"'},
        )


def _offered(request: web.Request) -> str:
    scheme, _, value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    for protocol in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(","):
        if protocol.strip().startswith(BEARER_SUBPROTOCOL):
            return protocol.strip().removeprefix(BEARER_SUBPROTOCOL)
    return ""


def _check_host(request: web.Request, allowed: set[str | None]) -> None:
    """Without a token: only a name that cannot be somebody else's web site."""
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        host = ""
    if host in allowed:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise Refused(
            403,
            "unknown-host",
            f"The request is addressed to {host!r}, which is not a name of this connector.",
            cause="Without http.token only localhost and IP addresses are taken, against DNS rebinding.",
            remedy="Set http.token, or add the page's origin to http.allowed_origins.",
        ) from None


def _check_origin(request: web.Request, allowed: frozenset[str]) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or origin in allowed or _netloc(origin) == request.host:
        return
    raise Refused(
        403,
        "foreign-origin",
        f"A page of {origin} may not use the API.",
        cause="It is neither the connector's own page nor in http.allowed_origins.",
        remedy="Add the origin to http.allowed_origins.",
    )


def _netloc(origin: str) -> str:
    """Host and port of an origin, empty for one that is none (`null`)."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
