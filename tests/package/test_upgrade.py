"""Upgrade and rollback as docs/install.md has them, with an earlier version of the connector and its tables."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EARLIER = "144581bb63ad24044a0092ab61e39fd9f72b65b0"
"""Its tables are two states behind those that followed: 0004."""
DEADLINE_S = 60.0
PAGE = ROOT / "docs/install.md"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier version's files; it runs with the libraries of this one."""
    archive = subprocess.run(["git", "archive", EARLIER, "connector"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the repository's history is not here")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


class Machine:
    """What the page has under /opt, /etc and /var/lib, in a folder of the test."""

    def __init__(self, folder: Path, versions: dict[str, Path]) -> None:
        self.opt, self.etc, self.state = folder / "opt", folder / "etc", folder / "state"
        self.backup = folder / "backup"
        for each in (self.opt, self.etc, self.state):
            each.mkdir()
        for name, tree in versions.items():
            (self.opt / f"asterisk-connector-{name}").symlink_to(tree)
        self.http, self.log = free_port(), folder / "log"
        nobody = free_port()
        self.settings = self.etc / "connector.toml"
        self.settings.write_text(
            f'[http]\nport = {self.http}\nanonymous = "admin"\n[media]\nbind_port = {free_port()}\nworkers = 1\n'
            f'[pbx.main.ami]\nport = {nobody}\nsecret = "x"\n[pbx.main.ari]\nurl = "http://127.0.0.1:{nobody}/ari"\n'
            f'password = "x"\n[store]\ndirectory = "{self.state}"\n'
        )

    def shell(self, commands: str) -> None:
        """Runs lines of the page; the service is started and stopped by the test."""
        for there, here in (
            ("/opt/", f"{self.opt}/"),
            ("/etc/asterisk-connector/", f"{self.etc}/"),
            ("/var/lib/asterisk-connector/", f"{self.state}/"),
            ("/root/connector-before", str(self.backup)),
        ):
            commands = commands.replace(there, here)
        not_here = re.compile(r"systemctl|python3 -m venv|\S+/pip |\S+/connector ")
        lines = [line for line in commands.splitlines() if not not_here.match(line)]
        subprocess.run(["bash", "-euc", "\n".join(lines)], check=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """`connector run` of the version that /opt/asterisk-connector names."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "connector", "run", "--config", self.settings],
                cwd=self.opt / "asterisk-connector",
                stdout=log,
                stderr=log,
            )
        try:
            self.until(lambda: self.ask("GET", "/healthz") is not None, process)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=DEADLINE_S) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None where there is none, or it is a refusal."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def until(self, holds: Any, process: subprocess.Popen[bytes] | None = None) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert process is None or process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def profile_made(self, name: str) -> None:
        url = "wss://bot.example.com/media"
        self.until(lambda: self.ask("PUT", f"/api/v1/profiles/{name}", {"settings": {"url": url}}) is not None)

    def profiles(self) -> set[str]:
        listed = self.ask("GET", "/api/v1/profiles") or {}
        return {str(each["name"]) for each in listed.get("profiles", listed.get("items", []))}

    def tables(self) -> str:
        with closing(sqlite3.connect(self.state / "history.sqlite")) as database:
            return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def commands_under(heading: str) -> str:
    """The shell sample that follows a heading of the page."""
    after = PAGE.read_text("utf-8").split(f"## {heading}\n", 1)[1]
    found = re.search(r"^```sh\n(.*?)^```", after, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_there_and_back(earlier: Path, tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"OLD": earlier, "NEW": ROOT})
    machine.shell("ln -sfn asterisk-connector-OLD /opt/asterisk-connector")
    with machine.running():
        machine.profile_made("sales")
    assert machine.tables() == "0004"

    machine.shell(commands_under("Upgrade"))
    with machine.running():
        machine.until(lambda: "sales" in machine.profiles())
        machine.profile_made("later")
    newest = machine.tables()
    assert newest > "0004"

    machine.shell(commands_under("Rollback"))
    assert machine.tables() == "0004"
    with machine.running():
        machine.until(lambda: machine.profiles() == {"sales"})
        machine.profile_made("again")
    assert machine.tables() == "0004"


def test_without_the_copy_nothing_is_destroyed(earlier: Path, tmp_path: Path) -> None:
    """The older version on the newer tables: it runs, and history waits on disk."""
    machine = Machine(tmp_path, {"OLD": earlier, "NEW": ROOT})
    machine.shell("ln -sfn asterisk-connector-NEW /opt/asterisk-connector")
    with machine.running():
        machine.profile_made("sales")
    newest = machine.tables()
    machine.shell("ln -sfn asterisk-connector-OLD /opt/asterisk-connector")
    with machine.running():
        machine.until(lambda: "history_database_down" in machine.log.read_text())
    assert machine.tables() == newest
    machine.shell("ln -sfn asterisk-connector-NEW /opt/asterisk-connector")
    with machine.running():
        machine.until(lambda: "sales" in machine.profiles())


def test_a_database_of_the_future_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"NEW": ROOT})
    machine.shell("ln -sfn asterisk-connector-NEW /opt/asterisk-connector")
    upgrade = [sys.executable, "-m", "connector", "db", "upgrade", "--config", str(machine.settings)]
    subprocess.run(upgrade, cwd=ROOT, check=True)
    with closing(sqlite3.connect(machine.state / "history.sqlite")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    refused = subprocess.run(upgrade, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "newer version" in refused.stderr
    assert "Traceback" not in refused.stderr
    shutil.rmtree(machine.state)
