"""What every request is checked for, before any handler sees it: the one place that lets somebody in.

Looked at are: the token or the session's cookie; with a cookie, the token against forged requests (CSRF) of what acts;
the Origin header, so that another site's page cannot use a browser that may (RFC 6455 section 10.2 for WebSockets); and
where nobody needs to log in, the Host header, so that a web page whose name was pointed at this machine cannot use a
connector on loopback (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from connector.access.rights import Right
from connector.config import HttpSettings
from connector.web.auth.accounts import Accounts
from connector.web.auth.identity import ANONYMOUS, Who, set_who
from connector.web.auth.proxies import Came, Proxies
from connector.web.rest.problems import API, Refused

BEARER_SUBPROTOCOL = "bearer."
"""A program's WebSocket that cannot set headers may offer its token as a subprotocol `bearer.<token>`."""

CSRF_HEADER = "X-CSRF-Token"
WITHOUT_LOGIN = frozenset({f"{API}v1/session", f"{API}v1/oidc/login", f"{API}v1/oidc/callback"})
HEALTH = frozenset({"/healthz", "/readyz"})
METRICS = "/metrics"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def cookie_name(*, secure: bool) -> str:
    """Of the session. The prefix has browsers refuse it from anywhere but this host by TLS (RFC 6265bis 4.1.3.2)."""
    return "__Host-connector" if secure else "connector"


def csrf_token(secret: str) -> str:
    """What a page must send with whatever acts: only who can read our answers knows it."""
    return hmac.new(secret.encode(), b"csrf", sha256).hexdigest()


def guard(settings: HttpSettings, accounts: Accounts) -> Any:
    """The middleware that finds out who makes a request, and lets it pass or raises `Refused`."""
    proxies = Proxies(settings.trusted_proxies)
    allowed_origins = frozenset(settings.allowed_origins)
    allowed_hosts = {urlsplit(origin).hostname for origin in allowed_origins} | {"localhost", settings.host}
    access = {METRICS: settings.metrics, **dict.fromkeys(HEALTH, settings.health)}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        how = access.get(path, "login" if path.startswith(API) else "open")
        if how == "off":
            raise web.HTTPNotFound
        if how == "open":
            return await handler(request)
        came = proxies.came(request)
        _check_origin(request, came, allowed_origins)
        who = await _identify(request, came, accounts)
        if who.principal is not None and who.principal is accounts.anonymous:
            _check_host(came, allowed_hosts)
        if who.secret:
            _check_forgery(request, who)
        set_who(request, who)
        if path not in WITHOUT_LOGIN:
            _check_somebody(who, accounts)
            if path == METRICS:
                who.need(Right.METRICS)
        return await handler(request)

    return check


async def _identify(request: web.Request, came: Came, accounts: Accounts) -> Who:
    offered = _offered(request)
    if offered:
        who = await accounts.by_token(offered, remote=came.remote, secure=came.secure)
        if who is None:
            _check_loaded(accounts)
            raise Refused(
                401,
                "unauthorized",
                "The token is wrong, or its time is over.",
                remedy="Make a new one: connector user token NAME.",
                headers={"WWW-Authenticate": 'Bearer realm="connector", error="invalid_token"'},
            )
        return who
    secret = request.cookies.get(cookie_name(secure=came.secure), "")
    if secret:
        who = await accounts.by_cookie(secret, remote=came.remote, secure=came.secure)
        if who is not None:
            return who
    return Who(ANONYMOUS, came.remote, accounts.anonymous, secure=came.secure)


def _check_somebody(who: Who, accounts: Accounts) -> None:
    if who.principal is None:
        _check_loaded(accounts)
    _ = who.known


def _check_loaded(accounts: Accounts) -> None:
    if not accounts.loaded:
        raise Refused(
            503,
            "accounts-unavailable",
            "Who may log in is not known yet: the database cannot be read.",
            remedy="Try again in a moment; then look at store.url and whether the database runs.",
        )


def _offered(request: web.Request) -> str:
    scheme, _, value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or "-"
    for protocol in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(","):
        if protocol.strip().startswith(BEARER_SUBPROTOCOL):
            return protocol.strip().removeprefix(BEARER_SUBPROTOCOL) or "-"
    return ""


def _check_forgery(request: web.Request, who: Who) -> None:
    """A cookie is sent by whatever page the browser is on, so it alone proves no intent."""
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        if hdrs.ORIGIN not in request.headers:
            raise Refused(403, "no-origin", "A WebSocket with a session's cookie says which page opens it.")
        return
    if request.method in SAFE:
        return
    if not hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), csrf_token(who.secret).encode()):
        raise Refused(
            403,
            "forged",
            f"The header {CSRF_HEADER} is missing or wrong.",
            cause="With a session's cookie it proves that our own page makes the request.",
            remedy="Send what GET /api/v1/session says as csrf.",
        )


def _check_host(came: Came, allowed: set[str | None]) -> None:
    """Where nobody logs in: only a name that cannot be somebody else's web site."""
    try:
        host = urlsplit(f"//{came.host}").hostname or ""
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
            cause="With http.anonymous only localhost and IP addresses are taken, against DNS rebinding.",
            remedy="Log in, or add the page's origin to http.allowed_origins.",
        ) from None


def _check_origin(request: web.Request, came: Came, allowed: frozenset[str]) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or origin in allowed or _is_own(origin, came):
        return
    raise Refused(
        403,
        "foreign-origin",
        f"A page of {origin} may not use the API.",
        cause="It is neither the connector's own page nor in http.allowed_origins.",
        remedy="Add the origin to http.allowed_origins; behind a proxy, http.trusted_proxies has us know our name.",
    )


def _is_own(origin: str, came: Came) -> bool:
    """A page of this host; where we come by TLS, one that did too: others on the way could have written it."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.netloc == came.host and (parts.scheme == "https" or not came.secure)
