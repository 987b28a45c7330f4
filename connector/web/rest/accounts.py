"""Accounts and tokens, for administrators."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from connector.access import passwords
from connector.access.accounts import NAME_PATTERN, Account, Source, Token, new_token
from connector.access.rights import Role, TokenScope
from connector.store.accounts import NameTaken
from connector.web.auth.accounts import Accounts
from connector.web.rest.endpoint import PREFIX, Answer, Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Name, Text
from connector.web.rest.history import available
from connector.web.rest.problems import Refused, not_found
from connector.web.rest.session import Password, weak

DAY_S = 86_400.0

NewName = Annotated[str, Meta(pattern=NAME_PATTERN)]


class AccountFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be changed of an account.

    Attributes:
        role: What it may do.
        queues: In scope, as `queue` or `pbx/queue`; `*` for everything.
        teams: In scope, with their agents' calls.
        phone: Interface at which it listens to calls, such as PJSIP/boss.
        disabled: It may do nothing.
    """

    role: Role
    queues: Annotated[tuple[Name, ...], Meta(max_length=500)] = ()
    teams: Annotated[tuple[Name, ...], Meta(max_length=500)] = ()
    phone: Text = ""
    disabled: bool = False


class NewAccount(AccountFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to be added. Without a password it has tokens only, or its provider's log-in."""

    name: NewName
    password: Password | None = None
    source: Source = Source.LOCAL


class AccountView(AccountFields, frozen=True, kw_only=True):
    """An account. `sessions`: how many browsers are logged in."""

    name: str
    source: Source
    has_password: bool
    sessions: int
    tokens: int
    created_at: float


class AccountList(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts, by name."""

    accounts: tuple[AccountView, ...]


class AccountPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account."""

    account: Name


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A password."""

    password: Password


class NewTokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made; `days` until its end, None for none."""

    label: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}$")]
    scopes: Annotated[tuple[TokenScope, ...], Meta(min_length=1, max_length=8)]
    days: Annotated[float, Meta(gt=0, le=3660)] | None = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without what is secret."""

    id: str
    label: str
    scopes: tuple[TokenScope, ...]
    created_at: float
    expires_at: float | None


class MadeToken(TokenView, frozen=True, kw_only=True):
    """A new token; `token` is shown this once."""

    token: str


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of an account."""

    tokens: tuple[TokenView, ...]


class TokenPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token."""

    account: Name
    token: Annotated[Name, Meta(description="Its id.")]


class AccountsApi:
    """Changes accounts.

    Args:
        accounts: All of them.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        one, tag, kept = "/accounts/{account}", "accounts", (404, 503)

        def deed(action: str) -> Deed:
            return Deed(action, lambda call: call.path.account)

        return [
            Endpoint("GET", "/accounts", "list_accounts", "Accounts, by name", tag, self._list, AccountList,
                     problems=(503,)),
            Endpoint("POST", "/accounts", "add_account", "Add an account", tag, self._add, AccountView,
                     body=NewAccount, status=201, problems=(409, 422, 503),
                     deed=Deed("account.add", lambda call: call.body.name, detail=lambda call: _fields(call.body))),
            Endpoint("PUT", one, "change_account", "Change an account", tag, self._change, AccountView,
                     parameters=AccountPath, body=AccountFields, problems=(404, 409, 503),
                     deed=Deed("account.change", lambda call: call.path.account,
                               detail=lambda call: _fields(call.body))),
            Endpoint("DELETE", one, "remove_account", "Remove an account with its tokens and sessions", tag,
                     self._remove, None, parameters=AccountPath, problems=(404, 409, 503),
                     deed=deed("account.remove")),
            Endpoint("PUT", f"{one}/password", "set_password", "Set an account's password; ends its sessions", tag,
                     self._password, None, parameters=AccountPath, body=NewPassword, problems=(404, 422, 503),
                     deed=deed("account.password")),
            Endpoint("DELETE", f"{one}/sessions", "end_sessions", "Log an account out everywhere", tag,
                     self._log_out, None, parameters=AccountPath, problems=kept, deed=deed("session.end-all")),
            Endpoint("GET", f"{one}/tokens", "list_tokens", "Tokens of an account", tag, self._tokens, TokenList,
                     parameters=AccountPath, problems=kept),
            Endpoint("POST", f"{one}/tokens", "add_token", "Make a token", tag, self._add_token, MadeToken,
                     parameters=AccountPath, body=NewTokenBody, status=201, problems=kept,
                     deed=Deed("token.add", lambda call: call.path.account,
                               detail=lambda call: f"{call.body.label}: {', '.join(call.body.scopes)}")),
            Endpoint("DELETE", f"{one}/tokens/{{token}}", "remove_token", "Remove a token", tag, self._remove_token,
                     None, parameters=TokenPath, problems=kept,
                     deed=Deed("token.remove", lambda call: _named(call.path))),
        ]  # fmt: skip

    async def _list(self, _call: Call[Nothing, Nothing, None]) -> AccountList:
        await available(self._accounts.refresh())
        return AccountList(accounts=tuple(self._view(account) for account in self._accounts.all()))

    async def _add(self, call: Call[Nothing, Nothing, NewAccount]) -> Answer:
        body = call.body
        account = Account(
            name=body.name,
            role=body.role,
            queues=body.queues,
            teams=body.teams,
            phone=body.phone,
            source=body.source,
            disabled=body.disabled,
            password_hash="" if body.password is None else await self._hashed(body.password, body.name),
            created_at=self._accounts.clock(),
        )
        try:
            await available(self._accounts.kept.add(account))
        except NameTaken:
            raise Refused(
                409, "conflict", f"There is an account {body.name!r} already.", remedy="Choose another name."
            ) from None
        await available(self._accounts.refresh())
        return Answer(self._view(account), {"Location": f"{PREFIX}/accounts/{account.name}"})

    async def _change(self, call: Call[AccountPath, Nothing, AccountFields]) -> AccountView:
        account = await self._one(call.path.account)
        changed = msgspec.structs.replace(account, **msgspec.structs.asdict(call.body))
        if changed.role is not Role.ADMIN or changed.disabled:
            self._check_not_last(account)
        await available(self._accounts.kept.change(changed))
        await available(self._accounts.refresh())
        return self._view(changed)

    async def _remove(self, call: Call[AccountPath, Nothing, None]) -> None:
        account = await self._one(call.path.account)
        self._check_not_last(account)
        await available(self._accounts.kept.remove(account.name))
        await available(self._accounts.refresh())

    async def _password(self, call: Call[AccountPath, Nothing, NewPassword]) -> None:
        account = await self._one(call.path.account)
        try:
            await available(self._accounts.set_password(account, call.body.password))
        except passwords.WeakPassword as error:
            raise weak(error) from None

    async def _log_out(self, call: Call[AccountPath, Nothing, None]) -> None:
        await available(self._accounts.end_sessions((await self._one(call.path.account)).name))

    async def _tokens(self, call: Call[AccountPath, Nothing, None]) -> TokenList:
        account = await self._one(call.path.account)
        tokens = sorted(self._accounts.known().tokens.values(), key=lambda token: token.created_at)
        return TokenList(tokens=tuple(_token_view(token) for token in tokens if token.account == account.name))

    async def _add_token(self, call: Call[AccountPath, Nothing, NewTokenBody]) -> MadeToken:
        account, body, now = await self._one(call.path.account), call.body, self._accounts.clock()
        expires_at = None if body.days is None else now + body.days * DAY_S
        token, text = new_token(account.name, body.label, body.scopes, now=now, expires_at=expires_at)
        await available(self._accounts.kept.add_token(token))
        await available(self._accounts.refresh())
        return MadeToken(token=text, **msgspec.structs.asdict(_token_view(token)))

    async def _remove_token(self, call: Call[TokenPath, Nothing, None]) -> None:
        account = await self._one(call.path.account)
        try:
            await available(self._accounts.kept.remove_token(account.name, call.path.token))
        except KeyError:
            raise not_found(
                f"{account.name} has no token {call.path.token!r}.", f"See {PREFIX}/accounts/{account.name}/tokens."
            ) from None
        await available(self._accounts.refresh())

    # -- parts ----------------------------------------------------------------------------------------------------

    async def _one(self, name: str) -> Account:
        await available(self._accounts.refresh())
        account = self._accounts.account(name)
        if account is None:
            raise not_found(f"There is no account {name!r}.", "See /api/v1/accounts for those there are.")
        return account

    def _check_not_last(self, account: Account) -> None:
        admins = [each.name for each in self._accounts.all() if each.role is Role.ADMIN and not each.disabled]
        if admins == [account.name]:
            raise Refused(
                409, "last-admin", f"{account.name} is the last administrator.", remedy="Make another one first."
            )

    async def _hashed(self, password: str, name: str) -> str:
        try:
            return await self._accounts.hashed(password, name)
        except passwords.WeakPassword as error:
            raise weak(error) from None

    def _view(self, account: Account) -> AccountView:
        known = self._accounts.known()
        return AccountView(
            name=account.name,
            role=account.role,
            queues=account.queues,
            teams=account.teams,
            phone=account.phone,
            disabled=account.disabled,
            source=account.source,
            has_password=bool(account.password_hash),
            sessions=sum(each.account == account.name for each in known.sessions.values()),
            tokens=sum(each.account == account.name for each in known.tokens.values()),
            created_at=account.created_at,
        )


def _named(path: TokenPath) -> str:
    """A token for the audit: no more of it than an id has, should somebody send the whole."""
    return f"{path.account}:{path.token[:20]}"


def _token_view(token: Token) -> TokenView:
    return TokenView(
        id=token.id, label=token.label, scopes=token.scopes, created_at=token.created_at, expires_at=token.expires_at
    )


def _fields(body: AccountFields) -> str:
    """What of an account the audit keeps."""
    scope = f"queues {', '.join(body.queues) or 'none'}, teams {', '.join(body.teams) or 'none'}"
    return f"role {body.role}, {scope}, phone {body.phone or 'none'}{', disabled' if body.disabled else ''}"
