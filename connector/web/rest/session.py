"""Logging in and out, and what belongs to whoever is logged in."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connector.access import passwords
from connector.access.accounts import Account, Source
from connector.access.rights import Right, Role
from connector.web.auth.accounts import Accounts
from connector.web.auth.guard import cookie_name, csrf_token
from connector.web.auth.identity import Who
from connector.web.rest.endpoint import Answer, Call, Deed, Endpoint, Nothing
from connector.web.rest.history import available
from connector.web.rest.problems import Refused, invalid

PREFERENCES_MAX_BYTES = 32_768

Password = Annotated[str, Meta(min_length=1, max_length=passwords.LENGTH_MAX)]
AccountName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """Who is logged in, and how one can.

    Attributes:
        name: Of the account; empty if nobody is.
        role: Of it; None if nobody is.
        rights: What one may do.
        queues: In scope, as `queue` or `pbx/queue`; None for all.
        teams: In scope.
        numbers: Callers' numbers are shown whole.
        phone: At which one listens to calls; empty for none.
        csrf: For the header X-CSRF-Token of whatever acts; empty without a session.
        expires_at: End of the session; None without one.
        sso: Title of the single sign-on at /api/v1/oidc/login; empty if there is none.
    """

    name: str
    role: Role | None
    rights: tuple[Right, ...]
    queues: tuple[str, ...] | None
    teams: tuple[str, ...]
    numbers: bool
    phone: str
    csrf: str
    expires_at: float | None
    sso: str


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name and password."""

    name: AccountName
    password: Password


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One's own password, old and new."""

    old: Password
    new: Password


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page keeps for its user: saved views and the like, at most 32 KiB as JSON."""

    preferences: dict[str, Any]


class SessionApi:
    """Logs in and out.

    Args:
        accounts: Who may.
        sso: Title of the single sign-on; empty for none.
    """

    def __init__(self, accounts: Accounts, sso: str) -> None:
        self._accounts = accounts
        self._sso = sso

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/session", "get_session", "Who is logged in, and how one can", "session", self._get,
                     SessionView, right=None),
            Endpoint("POST", "/session", "log_in", "Log in: the answer sets the session's cookie", "session",
                     self._log_in, SessionView, body=Credentials, right=None, problems=(429, 503),
                     deed=Deed("session.begin", lambda call: call.body.name)),
            Endpoint("DELETE", "/session", "log_out", "Log out", "session", self._log_out, None, right=None,
                     problems=(503,), deed=Deed("session.end", lambda call: call.who.actor)),
            Endpoint("DELETE", "/sessions", "log_out_everywhere", "End all one's sessions", "session",
                     self._everywhere, None, right=Right.OWN, problems=(409, 503),
                     deed=Deed("session.end-all", lambda call: call.who.actor)),
            Endpoint("PUT", "/session/password", "change_password", "Change one's own password; ends all sessions",
                     "session", self._password, None, body=PasswordChange, right=Right.OWN,
                     problems=(409, 422, 429, 503),
                     deed=Deed("account.password", lambda call: call.who.actor)),
            Endpoint("GET", "/session/preferences", "get_preferences", "What the page keeps for its user", "session",
                     self._preferences, Preferences, right=Right.OWN, problems=(409, 503)),
            Endpoint("PUT", "/session/preferences", "keep_preferences", "Keep it", "session", self._keep, None,
                     body=Preferences, right=Right.OWN, problems=(409, 503),
                     deed=Deed("account.preferences", lambda call: call.who.actor)),
        ]  # fmt: skip

    async def _get(self, call: Call[Nothing, Nothing, None]) -> SessionView:
        return self._view(call.who)

    async def _log_in(self, call: Call[Nothing, Nothing, Credentials]) -> Answer:
        remote = call.who.remote
        account = await available(self._accounts.log_in(call.body.name, call.body.password, remote))
        secret = await available(self._accounts.open_session(account, remote))
        who = await self._accounts.by_cookie(secret, remote=remote, secure=call.who.secure)
        if who is None:
            raise Refused(503, "busy", "The account was changed at this moment.", remedy="Log in again.")
        cookie = session_cookie(secret, secure=call.who.secure, max_age_s=int(self._accounts.session_s))
        return Answer(self._view(who), {"Set-Cookie": cookie})

    async def _log_out(self, call: Call[Nothing, Nothing, None]) -> Answer:
        if call.who.session:
            await available(self._accounts.end_session(call.who.session))
        return Answer(None, {"Set-Cookie": session_cookie("", secure=call.who.secure, max_age_s=0)})

    async def _everywhere(self, call: Call[Nothing, Nothing, None]) -> Answer:
        await available(self._accounts.end_sessions(self._own(call.who).name))
        return Answer(None, {"Set-Cookie": session_cookie("", secure=call.who.secure, max_age_s=0)})

    async def _password(self, call: Call[Nothing, Nothing, PasswordChange]) -> None:
        account = self._own(call.who)
        if account.source is not Source.LOCAL:
            raise Refused(409, "no-password", "This account has no password here.", remedy="Change it at the provider.")
        # The old one is asked for as at a log-in, so that an open browser is no way to try many.
        await available(self._accounts.log_in(account.name, call.body.old, call.who.remote))
        try:
            await available(self._accounts.set_password(account, call.body.new))
        except passwords.WeakPassword as error:
            raise weak(error) from None

    async def _preferences(self, call: Call[Nothing, Nothing, None]) -> Preferences:
        return Preferences(await available(self._accounts.kept.preferences(self._own(call.who).name)))

    async def _keep(self, call: Call[Nothing, Nothing, Preferences]) -> None:
        if len(msgspec.json.encode(call.body.preferences)) > PREFERENCES_MAX_BYTES:
            raise invalid(f"The preferences are larger than {PREFERENCES_MAX_BYTES} bytes.", "Keep less.")
        await available(self._accounts.kept.keep_preferences(self._own(call.who).name, call.body.preferences))

    def _own(self, who: Who) -> Account:
        known = self._accounts.known()
        session, token = known.sessions.get(who.session), known.tokens.get(who.token)
        account = self._accounts.account(session.account if session else token.account if token else "")
        if account is None:
            raise Refused(
                409, "no-account", "Who is not logged in has no account.", remedy="Log in by POST /api/v1/session."
            )
        return account

    def _view(self, who: Who) -> SessionView:
        principal, session = who.principal, self._accounts.known().sessions.get(who.session)
        sight = principal.sight if principal is not None else None
        return SessionView(
            name=who.actor if principal is not None else "",
            role=principal.role if principal is not None else None,
            rights=tuple(sorted(principal.rights)) if principal is not None else (),
            queues=() if sight is None else None if sight.queues is None else tuple(sorted(sight.queues)),
            teams=tuple(sorted(sight.teams)) if sight is not None else (),
            numbers=sight.numbers if sight is not None else False,
            phone=principal.phone if principal is not None else "",
            csrf=csrf_token(who.secret) if who.secret else "",
            expires_at=session.expires_at if session is not None else None,
            sso=self._sso,
        )


def weak(error: passwords.WeakPassword) -> Refused:
    """422: a new password does not do."""
    return Refused(422, "weak-password", str(error), remedy="Choose another.")


def session_cookie(secret: str, *, secure: bool, max_age_s: int) -> str:
    """The Set-Cookie header of a session; an empty secret with age 0 removes it."""
    name = cookie_name(secure=secure)
    cookie: SimpleCookie = SimpleCookie({name: secret})
    morsel = cookie[name]
    morsel["path"] = "/"
    morsel["httponly"] = True
    morsel["samesite"] = "Strict"
    morsel["max-age"] = max_age_s
    if secure:
        morsel["secure"] = True
    return morsel.OutputString()
