"""The two addresses of single sign-on, and which account somebody is who came by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from connector.access.accounts import NAME_PATTERN, Account, Source
from connector.access.rights import Role
from connector.config import OidcSettings
from connector.store.accounts import NameTaken
from connector.store.database import why
from connector.web.audit import Audit
from connector.web.auth.accounts import Accounts
from connector.web.auth.identity import Who, who
from connector.web.auth.oidc import OidcFailed, Pending, Provider
from connector.web.auth.proxies import Proxies
from connector.web.rest.endpoint import NO_STORE, PREFIX
from connector.web.rest.session import session_cookie

log = structlog.get_logger()

CALLBACK = f"{PREFIX}/oidc/callback"
LOGIN = f"{PREFIX}/oidc/login"
PENDING_S = 600
_RANK = (Role.VIEWER, Role.SUPERVISOR, Role.ADMIN)


class SingleSignOn:
    """Sends browsers to the provider and takes them back.

    Args:
        settings: Of the provider.
        provider: It.
        accounts: Who may log in.
        audit: Keeps each log-in.
        proxies: Tell under which name we are known.
    """

    def __init__(
        self, settings: OidcSettings, provider: Provider, accounts: Accounts, audit: Audit, proxies: Proxies
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._accounts = accounts
        self._audit = audit
        self._proxies = proxies

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Makes it reachable."""
        router.add_get(LOGIN, self.login)
        router.add_get(CALLBACK, self.callback)

    async def login(self, request: web.Request) -> web.Response:
        """Sends the browser to the provider."""
        came = self._proxies.came(request)
        try:
            url, pending = await self._provider.begin(f"{'https' if came.secure else 'http'}://{came.host}{CALLBACK}")
        except OidcFailed as failed:
            log.warning("sso_failed", detail=str(failed))
            return _back(f"/#sso={failed.kind}")
        response = _back(url)
        # Lax: the provider sends the browser back from another site.
        response.set_cookie(
            _pending_name(came.secure),
            pending.text(),
            max_age=PENDING_S,
            path="/",
            httponly=True,
            secure=came.secure,
            samesite="Lax",
        )
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """Takes the browser back, and logs it in."""
        came, caller = self._proxies.came(request), who(request)
        name, result = "", "failed"
        try:
            pending = Pending.read(request.cookies.get(_pending_name(came.secure), ""))
            claims = await self._provider.finish(pending, request.query)
            name = str(claims.get(self._settings.name_claim, ""))[:64]
            account = await self._account(name, claims)
            secret = await self._accounts.open_session(account, came.remote)
            name, result = account.name, "ok"
            response = _back("/")
            response.headers["Set-Cookie"] = session_cookie(
                secret, secure=came.secure, max_age_s=int(self._accounts.session_s)
            )
        except OidcFailed as failed:
            result = failed.kind
            log.warning("sso_failed", detail=str(failed))
            response = _back(f"/#sso={failed.kind}")
        except (SQLAlchemyError, OSError) as error:
            log.warning("sso_failed", detail=why(error))
            response = _back("/#sso=unavailable")
        finally:
            self._audit.write(
                Who(name or caller.actor, came.remote), "session.begin", name, result=result, detail="single sign-on"
            )
        response.del_cookie(_pending_name(came.secure), path="/", secure=came.secure, httponly=True, samesite="Lax")
        return response

    async def _account(self, name: str, claims: Mapping[str, Any]) -> Account:
        """The account of the one who logged in; made or changed as the claims say where the settings let them."""
        await self._accounts.refresh()
        subject = f"{claims['iss']} {claims['sub']}"
        role = self._role(claims)
        known = next((each for each in self._accounts.all() if each.subject == subject), None)
        if known is None:
            known = self._accounts.account(name)
            if known is not None and (known.source is not Source.OIDC or known.subject):
                raise OidcFailed("refused", f"the account {name!r} is somebody else's")
        if known is None:
            if role is None or not re.fullmatch(NAME_PATTERN, name):
                raise OidcFailed("refused", f"{name!r} ({subject}) has no account, and no claim gives a role")
            known = Account(
                name=name, role=role, source=Source.OIDC, subject=subject, created_at=self._accounts.clock()
            )
            known = self._changed(known, role, claims)
            try:
                await self._accounts.kept.add(known)
            except NameTaken:
                raise OidcFailed("refused", f"the account {name!r} was just made by another") from None
        else:
            if self._settings.role_claim and role is None:
                raise OidcFailed("refused", f"no claim gives {known.name!r} a role any more")
            changed = self._changed(msgspec.structs.replace(known, subject=subject), role, claims)
            if changed != known:
                await self._accounts.kept.change(changed)
            known = changed
        if known.disabled:
            raise OidcFailed("refused", f"the account {known.name!r} is disabled")
        await self._accounts.refresh()
        return known

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        given = [Role(self._settings.roles[each]) for each in _listed(claims, self._settings.role_claim)
                 if each in self._settings.roles]  # fmt: skip
        return max(given, key=_RANK.index, default=None)

    def _changed(self, account: Account, role: Role | None, claims: Mapping[str, Any]) -> Account:
        if role is None:
            return account
        return msgspec.structs.replace(
            account,
            role=role,
            queues=_listed(claims, self._settings.queues_claim) if self._settings.queues_claim else account.queues,
            teams=_listed(claims, self._settings.teams_claim) if self._settings.teams_claim else account.teams,
        )


def _listed(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a claim, which may be a list or one text."""
    value = claims.get(name) if name else None
    values = value if isinstance(value, list) else [value]
    return tuple(each[:128] for each in values if isinstance(each, str) and each)


def _pending_name(secure: bool) -> str:
    return "__Host-connector-login" if secure else "connector-login"


def _back(url: str) -> web.Response:
    return web.Response(status=302, headers={"Location": url, **NO_STORE})
