"""`connector user`: the way to the first administrator."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from connector.access.accounts import is_secret_of, split_token
from connector.access.passwords import is_right
from connector.access.rights import TokenScope
from connector.store.accounts import KeptAccounts, Known
from connector.store.database import Database
from tests.unit.test_cli import ENVIRONMENT


def user(folder: Path, *arguments: str, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "connector", "user", *arguments],
        env={**ENVIRONMENT, "CONNECTOR__STORE__DIRECTORY": str(folder)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def known(folder: Path) -> Known:
    async def read() -> Known:
        database = Database(f"sqlite:///{folder / 'history.sqlite'}")
        try:
            return await KeptAccounts(database).all()
        finally:
            await database.close()

    return asyncio.run(read())


def test_accounts_from_the_command_line(tmp_path: Path) -> None:
    assert "connector user add NAME --role admin" in user(tmp_path, "list")[1]
    code, said = user(tmp_path, "add", "root", "--role", "admin", "--generate")
    assert code == 0
    password = said.rpartition("password: ")[2]
    assert is_right(known(tmp_path).accounts["root"].password_hash, password)
    assert user(tmp_path, "add", "root", "--generate")[0] == 1
    assert "no terminal" in user(tmp_path, "add", "ben")[1]
    assert "10 to 256" in user(tmp_path, "add", "ben", "--password-stdin", stdin="short\n")[1]
    code, said = user(tmp_path, "add", "ben", "--role", "supervisor", "--password-stdin", stdin="longer password\n")
    assert (code, said) == (0, "added ben, supervisor; it sees nothing without --queue")
    code, token = user(tmp_path, "token", "ben", "--scope", "read", "--scope", "act", "--days", "1")
    id_, secret = split_token(token)
    kept = known(tmp_path).tokens[id_]
    assert is_secret_of(kept, secret)
    assert kept.scopes == (TokenScope.READ, TokenScope.ACT)
    assert kept.expires_at == kept.created_at + 86_400
    assert user(tmp_path, "passwd", "ben", "--password-stdin", stdin="another password\n")[0] == 0
    assert is_right(known(tmp_path).accounts["ben"].password_hash, "another password")
    assert user(tmp_path, "disable", "ben")[0] == 0
    assert "ben: supervisor, queues none; tokens cli; DISABLED" in user(tmp_path, "list")[1]
    assert user(tmp_path, "enable", "ben") == (0, "ben is enabled")
    assert user(tmp_path, "logout", "ben")[0] == 0
    assert user(tmp_path, "remove", "ben")[0] == 0
    assert not known(tmp_path).tokens
    assert user(tmp_path, "passwd", "ben", "--generate")[0] == 1
    assert user(tmp_path, "add", "<b>", "--no-password")[0] == 1
