"""Accounts, their tokens and sessions, as they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from connector.access.accounts import Account, Session, Source, Token
from connector.access.rights import Role, TokenScope
from connector.store import schema
from connector.store.clean import clean_text
from connector.store.database import Database


class Known(msgspec.Struct, frozen=True):
    """All accounts by name, tokens by id, sessions by id."""

    accounts: dict[str, Account]
    tokens: dict[str, Token]
    sessions: dict[str, Session]


class NameTaken(Exception):
    """There is an account of that name."""


class KeptAccounts:
    """Reads and changes them. Every method raises what the database raises while it is away.

    Args:
        database: Shared with the writer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Known:
        """Everything: hundreds of rows, not more."""
        async with self._database.read() as connection:
            accounts = (await connection.execute(select(schema.accounts))).mappings().all()
            tokens = (await connection.execute(select(schema.tokens))).mappings().all()
            sessions = (await connection.execute(select(schema.sessions))).mappings().all()
        return Known(
            {row["name"]: _account(row) for row in accounts},
            {row["id"]: _token(row) for row in tokens},
            {row["id"]: Session(**row) for row in sessions},
        )

    # -- accounts -------------------------------------------------------------------------------------------------

    async def add(self, account: Account) -> None:
        """Adds one.

        Raises:
            NameTaken: There is one of that name.
        """
        try:
            async with self._database.write() as connection:
                await connection.execute(schema.accounts.insert(), [{**_row(account), "preferences": {}}])
        except IntegrityError:
            raise NameTaken(account.name) from None

    async def change(self, account: Account) -> None:
        """Changes one.

        Raises:
            KeyError: There is none of that name.
        """
        table = schema.accounts
        async with self._database.write() as connection:
            done = await connection.execute(update(table).where(table.c.name == account.name).values(_row(account)))
            if not done.rowcount:
                raise KeyError(account.name)

    async def remove(self, name: str) -> None:
        """Removes one with its tokens and sessions.

        Raises:
            KeyError: There is none of that name.
        """
        async with self._database.write() as connection:
            done = await connection.execute(delete(schema.accounts).where(schema.accounts.c.name == name))
            if not done.rowcount:
                raise KeyError(name)
            await connection.execute(delete(schema.tokens).where(schema.tokens.c.account == name))
            await connection.execute(delete(schema.sessions).where(schema.sessions.c.account == name))

    async def preferences(self, name: str) -> dict[str, Any]:
        """What the page keeps for an account."""
        table = schema.accounts
        async with self._database.read() as connection:
            found = (await connection.execute(select(table.c.preferences).where(table.c.name == name))).scalar()
        return dict(found or {})

    async def keep_preferences(self, name: str, preferences: Mapping[str, Any]) -> None:
        """Replaces what the page keeps for an account."""
        table = schema.accounts
        async with self._database.write() as connection:
            await connection.execute(update(table).where(table.c.name == name).values(preferences=dict(preferences)))

    # -- tokens and sessions --------------------------------------------------------------------------------------

    async def add_token(self, token: Token) -> None:
        """Adds one."""
        async with self._database.write() as connection:
            await connection.execute(schema.tokens.insert(), [msgspec.to_builtins(token)])

    async def remove_token(self, account: str, id_: str) -> None:
        """Removes one.

        Raises:
            KeyError: The account has none of that id.
        """
        table = schema.tokens
        async with self._database.write() as connection:
            done = await connection.execute(delete(table).where(table.c.id == id_, table.c.account == account))
            if not done.rowcount:
                raise KeyError(id_)

    async def add_session(self, session: Session) -> None:
        """Adds one."""
        async with self._database.write() as connection:
            await connection.execute(schema.sessions.insert(), [msgspec.to_builtins(session)])

    async def remove_session(self, id_: str) -> None:
        """Removes one, if it is there."""
        async with self._database.write() as connection:
            await connection.execute(delete(schema.sessions).where(schema.sessions.c.id == id_))

    async def remove_sessions(self, account: str) -> None:
        """Removes all of an account."""
        async with self._database.write() as connection:
            await connection.execute(delete(schema.sessions).where(schema.sessions.c.account == account))

    async def forget_expired(self, now: float) -> None:
        """Removes sessions and tokens whose time is over."""
        async with self._database.write() as connection:
            for table in (schema.sessions, schema.tokens):
                await connection.execute(delete(table).where(table.c.expires_at <= now))


def _row(account: Account) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(account)
    return {
        **row,
        "queues": [clean_text(each) for each in account.queues],
        "teams": [clean_text(each) for each in account.teams],
        "phone": clean_text(account.phone),
        "subject": clean_text(account.subject),
    }


def _account(row: Mapping[Any, Any]) -> Account:
    values = {name: row[name] for name in Account.__struct_fields__}
    return Account(
        **{
            **values,
            "role": Role(row["role"]),
            "source": Source(row["source"]),
            "queues": tuple(row["queues"]),
            "teams": tuple(row["teams"]),
        }
    )


def _token(row: Mapping[Any, Any]) -> Token:
    return Token(**{**row, "scopes": tuple(TokenScope(scope) for scope in row["scopes"])})
