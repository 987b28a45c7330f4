"""Accounts, tokens and sessions at work: kept in the database, looked up in memory.

Memory is read anew every few seconds, so that what `connector user` or another node changes counts here too, and the
live view goes on for those who are logged in while the database is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from connector.access import passwords
from connector.access.accounts import (
    Account,
    Principal,
    Session,
    Source,
    hash_of,
    is_secret_of,
    new_secret,
    principal_of,
    split_token,
)
from connector.access.rights import Role
from connector.access.throttle import LoginThrottle
from connector.store.accounts import KeptAccounts, Known
from connector.store.database import why
from connector.web.auth.identity import ANONYMOUS, Who
from connector.web.rest.problems import Refused

log = structlog.get_logger()

REFRESH_S = 3.0
MISS_S = 0.1
"""What is not known is looked for in the database at most so often."""
HASHES_AT_ONCE = 2
"""Each takes 64 MiB."""
HASHES_WAITING_MAX = 32
SESSIONS_MAX = 50
"""Of one account; the oldest ends."""


class Accounts:
    """Knows who may come in.

    Args:
        kept: The database's.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
        anonymous: Role of who has not logged in; None for none.
        mask_viewers: Viewers see no whole numbers.
        session_s: Life of a session.
    """

    def __init__(
        self,
        kept: KeptAccounts,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        anonymous: Role | None = None,
        mask_viewers: bool = True,
        session_s: float = 43_200.0,
    ) -> None:
        self.kept = kept
        self.throttle = LoginThrottle(monotonic)
        self.clock = clock
        self.session_s = session_s
        self.loaded = False
        self._monotonic = monotonic
        self._mask_viewers = mask_viewers
        self._known = Known({}, {}, {})
        self._refreshed_at = float("-inf")
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._hashes = 0
        self._refreshing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self.anonymous: Principal | None = None
        if anonymous is not None:
            nobody = Account(name=ANONYMOUS, role=anonymous, queues=("*",))
            self.anonymous = principal_of(nobody, mask_viewers=mask_viewers)

    # -- keeping current ------------------------------------------------------------------------------------------

    async def run(self, ready: asyncio.Event) -> None:
        """Reads the accounts again and again until cancelled.

        Args:
            ready: Set once the tables are there.
        """
        await ready.wait()
        failed = empty_told = False
        while True:
            try:
                await self.refresh()
                await self.kept.forget_expired(self.clock())
                failed = False
                if not self._known.accounts and self.anonymous is None and not empty_told:
                    empty_told = True
                    log.warning("no_accounts", remedy="connector user add NAME --role admin")
            except (SQLAlchemyError, OSError) as error:
                if not failed:
                    log.warning("accounts_unreadable", error=why(error))
                failed = True
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Reads all of them."""
        async with self._refreshing:
            self._known = await self.kept.all()
            self.loaded = True
            self._refreshed_at = self._monotonic()

    async def _look_again(self) -> None:
        """Reads them where something is not known: it may be new. However many guess, not more often than `MISS_S`."""
        asked_at = self._monotonic()
        async with self._looking:
            if self._refreshed_at > asked_at:
                return  # by another who waited
            await asyncio.sleep(max(0.0, self._refreshed_at + MISS_S - asked_at))
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError):
                pass  # nobody new gets in while the database is away

    # -- who is it ------------------------------------------------------------------------------------------------

    def all(self) -> list[Account]:
        """The accounts, by name."""
        return [account for _, account in sorted(self._known.accounts.items())]

    def account(self, name: str) -> Account | None:
        """One account."""
        return self._known.accounts.get(name)

    def known(self) -> Known:
        """Everything, as it was read last."""
        return self._known

    async def by_token(self, text: str, *, remote: str, secure: bool) -> Who | None:
        """Who a token stands for; None if it is none."""
        id_, secret = split_token(text)
        if id_ and id_ not in self._known.tokens:
            await self._look_again()
        principal = self._principal_of_token(id_)
        if principal is None or not is_secret_of(self._known.tokens[id_], secret):
            return None
        return Who(principal.name, remote, principal, token=id_, secure=secure)

    async def by_cookie(self, secret: str, *, remote: str, secure: bool) -> Who | None:
        """Who a session's cookie stands for; None if there is none."""
        id_ = hash_of(secret)
        if id_ not in self._known.sessions:
            await self._look_again()
        principal = self._principal_of_session(id_)
        if principal is None:
            return None
        return Who(principal.name, remote, principal, session=id_, secret=secret, secure=secure)

    def still(self, who: Who) -> bool:
        """Whether somebody may still do what they could when they came: for connections that last."""
        if who.token:
            return self._principal_of_token(who.token) == who.principal
        if who.session:
            return self._principal_of_session(who.session) == who.principal
        return self.anonymous == who.principal

    def _principal_of_token(self, id_: str) -> Principal | None:
        token = self._known.tokens.get(id_)
        account = self._known.accounts.get(token.account) if token is not None else None
        if token is None or account is None or account.disabled:
            return None
        if token.expires_at is not None and token.expires_at <= self.clock():
            return None
        return principal_of(account, token, mask_viewers=self._mask_viewers)

    def _principal_of_session(self, id_: str) -> Principal | None:
        session = self._known.sessions.get(id_)
        account = self._known.accounts.get(session.account) if session is not None else None
        if session is None or account is None or account.disabled or session.expires_at <= self.clock():
            return None
        return principal_of(account, mask_viewers=self._mask_viewers)

    # -- logging in and out ---------------------------------------------------------------------------------------

    async def log_in(self, name: str, password: str, remote: str) -> Account:
        """The account whose password it is.

        Raises:
            Refused: 401 wrong, 429 locked, 503 too many at once.
        """
        if (wait_s := self.throttle.begin(name, remote)) > 0:
            raise Refused(
                429,
                "too-many-tries",
                f"Too many wrong passwords; none is taken for {wait_s:.0f} seconds.",
                cause="Tries are counted by account and by address.",
                remedy="Wait; an administrator can set a new password.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        await self.refresh()
        account = self.account(name)
        right = await self._verify(account.password_hash if account is not None else "", password)
        if account is None or not right or account.disabled or account.source is not Source.LOCAL:
            raise Refused(
                401, "wrong-password", "Name or password is wrong.", remedy="Try again, or ask for a new one."
            )
        self.throttle.succeeded(name, remote)
        return account

    async def open_session(self, account: Account, remote: str) -> str:
        """Begins a session; returns what its cookie holds."""
        secret, now = new_secret(), self.clock()
        session = Session(
            id=hash_of(secret), account=account.name, created_at=now, expires_at=now + self.session_s, remote=remote
        )
        own = sorted((s for s in self._known.sessions.values() if s.account == account.name), key=_age)
        for oldest in own[: max(0, len(own) - SESSIONS_MAX + 1)]:
            await self.kept.remove_session(oldest.id)
        await self.kept.add_session(session)
        await self.refresh()
        return secret

    async def end_session(self, id_: str) -> None:
        """Ends a session."""
        await self.kept.remove_session(id_)
        await self.refresh()

    async def end_sessions(self, name: str) -> None:
        """Ends all sessions of an account."""
        await self.kept.remove_sessions(name)
        await self.refresh()

    async def set_password(self, account: Account, password: str) -> None:
        """Gives an account a new password and ends its sessions.

        Raises:
            WeakPassword: It does not do.
        """
        async with self._one_hash():
            new = await asyncio.to_thread(passwords.hashed, password, name=account.name)
        await self.kept.change(msgspec.structs.replace(account, password_hash=new))
        await self.end_sessions(account.name)

    async def hashed(self, password: str, name: str) -> str:
        """The hash of a new password.

        Raises:
            WeakPassword: It does not do.
        """
        async with self._one_hash():
            return await asyncio.to_thread(passwords.hashed, password, name=name)

    async def is_password(self, account: Account, password: str) -> bool:
        """Whether it is the account's password."""
        return await self._verify(account.password_hash, password)

    async def _verify(self, password_hash: str, password: str) -> bool:
        async with self._one_hash():
            return await asyncio.to_thread(passwords.is_right, password_hash, password)

    def _one_hash(self) -> _Bounded:
        return _Bounded(self)


class _Bounded:
    """Lets two hashes be made at once and some wait; more are turned away."""

    def __init__(self, accounts: Accounts) -> None:
        self._of = accounts

    async def __aenter__(self) -> None:
        if self._of._hashes >= HASHES_WAITING_MAX:
            raise Refused(503, "busy", "Too many log in at once.", remedy="Try again in a moment.")
        self._of._hashes += 1
        try:
            await self._of._hashing.acquire()
        except BaseException:
            self._of._hashes -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._of._hashes -= 1
        self._of._hashing.release()


def _age(session: Session) -> float:
    return session.created_at
