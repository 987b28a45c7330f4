"""`connector user`: accounts and tokens from the command line, the way to the first administrator."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop

from connector.config import Settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78
DAY_S = 86_400.0

ROLES = ("viewer", "supervisor", "admin")
SCOPES = ("read", "act", "listen", "metrics", "admin")


def add_user_commands(
    commands: Any,
    config_argument: Callable[[argparse.ArgumentParser], None],
    load: Callable[[argparse.Namespace], Settings],
) -> None:
    """Adds `user` and its deeds to the parser.

    Args:
        commands: Of the parser.
        config_argument: Adds --config.
        load: Reads the settings.
    """
    user = commands.add_parser("user", help="who may log in; a running connector takes changes up in seconds")
    deeds = user.add_subparsers(required=True, metavar="deed")

    def deed(name: str, help_: str, work: Callable[[argparse.Namespace, Any], Awaitable[str]]) -> Any:
        parser = deeds.add_parser(name, help=help_)
        config_argument(parser)
        parser.set_defaults(deed=name, handler=lambda arguments: _with_accounts(load(arguments), arguments, work))
        return parser

    deed("list", "show the accounts", _list)
    add = deed("add", "add an account; asks for the password", _add)
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, default="viewer")
    add.add_argument("--queue", action="append", default=[], metavar="NAME", help="in scope; again for more, * for all")
    add.add_argument("--team", action="append", default=[], metavar="NAME", help="in scope; again for more")
    add.add_argument("--phone", default="", metavar="INTERFACE", help="at which it listens, such as PJSIP/boss")
    add.add_argument("--oidc", action="store_true", help="logs in by single sign-on, not by password")
    add.add_argument("--no-password", action="store_true", help="uses tokens alone")
    _password_arguments(add)
    passwd = deed("passwd", "set a password and end all sessions", _passwd)
    passwd.add_argument("name")
    _password_arguments(passwd)
    for name, help_ in (("disable", "let it in no more, at once"), ("enable", "let it in again")):
        deed(name, help_, _disable).add_argument("name")
    for name, help_, work in (
        ("remove", "remove it with its tokens", _remove),
        ("logout", "end all its sessions", _logout),
    ):
        deed(name, help_, work).add_argument("name")
    token = deed("token", "make a token for a program and print it once", _token)
    token.add_argument("name")
    token.add_argument("--label", default="cli")
    token.add_argument("--scope", action="append", choices=SCOPES, required=True, help="again for more")
    token.add_argument("--days", type=float, default=None, help="until it ends; default: never")


def _password_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    how.add_argument("--generate", action="store_true", help="make a password and print it")


class _Failed(Exception):
    """The deed cannot be done; the text says why."""


def _with_accounts(
    settings: Settings, arguments: argparse.Namespace, work: Callable[[argparse.Namespace, Any], Awaitable[str]]
) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from connector.access.passwords import WeakPassword
    from connector.store.accounts import KeptAccounts
    from connector.store.database import BadUrl, why
    from connector.store.service import open_database

    async def run() -> str:
        database = open_database(settings)
        try:
            await database.migrate()
            return await work(arguments, KeptAccounts(database))
        finally:
            await database.close()

    try:
        said = uvloop.run(run())
    except (_Failed, WeakPassword) as error:
        print(f"connector: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BadUrl as error:
        print(f"connector: store.url: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except (SQLAlchemyError, OSError) as error:
        print(f"connector: {why(error)}", file=sys.stderr)
        return EXIT_FAILED
    print(said)
    return EXIT_OK


async def _list(_arguments: argparse.Namespace, kept: Any) -> str:
    known = await kept.all()
    lines = []
    for account in known.accounts.values():
        scope = "everything" if account.role == "admin" else f"queues {', '.join(account.queues) or 'none'}"
        teams = f"; teams {', '.join(account.teams)}" if account.teams else ""
        tokens = [token.label for token in known.tokens.values() if token.account == account.name]
        more = f"; tokens {', '.join(tokens)}" if tokens else ""
        off = "; DISABLED" if account.disabled else ""
        lines.append(f"{account.name}: {account.role}, {scope}{teams}{more}{off}")
    return "\n".join(sorted(lines)) or "there is no account: connector user add NAME --role admin"


async def _add(arguments: argparse.Namespace, kept: Any) -> str:
    from connector.access import passwords
    from connector.access.accounts import NAME_PATTERN, Account, Source
    from connector.access.rights import Role
    from connector.store.accounts import NameTaken

    name = arguments.name
    if not re.fullmatch(NAME_PATTERN, name):
        raise _Failed(f"{name!r} is no name: 1 to 64 letters, digits and . _ @ + -, beginning with a letter or digit")
    without = arguments.oidc or arguments.no_password
    password = "" if without else _password(arguments)
    account = Account(
        name=name,
        role=Role(arguments.role),
        queues=tuple(arguments.queue),
        teams=tuple(arguments.team),
        phone=arguments.phone,
        source=Source.OIDC if arguments.oidc else Source.LOCAL,
        password_hash="" if without else passwords.hashed(password, name=name),
        created_at=time.time(),
    )
    try:
        await kept.add(account)
    except NameTaken:
        raise _Failed(f"there is an account {name} already: connector user list shows all") from None
    hint = "" if account.role is Role.ADMIN or account.queues or account.teams else "; it sees nothing without --queue"
    return f"added {name}, {account.role}{hint}" + (f"\npassword: {password}" if arguments.generate else "")


async def _passwd(arguments: argparse.Namespace, kept: Any) -> str:
    from connector.access import passwords

    account = await _account(arguments, kept)
    password = _password(arguments)
    new = msgspec.structs.replace(account, password_hash=passwords.hashed(password, name=account.name))
    await kept.change(new)
    await kept.remove_sessions(account.name)
    return f"{account.name} has a new password" + (f"\npassword: {password}" if arguments.generate else "")


async def _disable(arguments: argparse.Namespace, kept: Any) -> str:
    account = await _account(arguments, kept)
    disabled = arguments.deed == "disable"
    await kept.change(msgspec.structs.replace(account, disabled=disabled))
    if disabled:
        await kept.remove_sessions(account.name)
    return f"{account.name} is {'disabled' if disabled else 'enabled'}"


async def _remove(arguments: argparse.Namespace, kept: Any) -> str:
    await kept.remove((await _account(arguments, kept)).name)
    return f"{arguments.name} is removed"


async def _logout(arguments: argparse.Namespace, kept: Any) -> str:
    await kept.remove_sessions((await _account(arguments, kept)).name)
    return f"{arguments.name} is logged out everywhere"


async def _token(arguments: argparse.Namespace, kept: Any) -> str:
    from connector.access.accounts import new_token
    from connector.access.rights import TokenScope

    account, now = await _account(arguments, kept), time.time()
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}", arguments.label):
        raise _Failed(f"{arguments.label!r} is no label: 1 to 32 letters, digits and . _ -")
    expires_at = None if arguments.days is None else now + arguments.days * DAY_S
    scopes = tuple(TokenScope(each) for each in dict.fromkeys(arguments.scope))
    token, text = new_token(account.name, arguments.label, scopes, now=now, expires_at=expires_at)
    await kept.add_token(token)
    return text


async def _account(arguments: argparse.Namespace, kept: Any) -> Any:
    account = (await kept.all()).accounts.get(arguments.name)
    if account is None:
        raise _Failed(f"there is no account {arguments.name}: connector user list shows those there are")
    return account


def _password(arguments: argparse.Namespace) -> str:
    from connector.access import passwords

    if arguments.generate:
        return passwords.generated()
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise _Failed("there is no terminal to ask for the password: use --password-stdin or --generate")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise _Failed("the two are not the same")
    return password
