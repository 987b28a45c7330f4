"""Both databases: a SQLite file, and a PostgreSQL of our own from Debian's package, as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio

from connector.store.aggregates import Target
from connector.store.database import Database
from connector.store.retention import RetentionDays
from connector.store.spool import Spool
from connector.store.writer import Writer

USER = "postgres"


class Postgres:
    """One PostgreSQL on 127.0.0.1 with a data directory of its own. `stop` and a further `start` keep the data."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
        if not found:
            pytest.fail("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql, or run scripts/setup test")
        self._bin = found[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="connector-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._folder, USER, USER)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._run("initdb", "-D", f"{self._folder}/data", "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8")

    def _command(self, name: str, *arguments: str) -> list[str]:
        command = [str(self._bin / name), *arguments]
        if os.geteuid() == 0:
            return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--pdeathsig=KILL", *command]
        return ["setpriv", "--pdeathsig=KILL", *command]

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(name, *arguments), capture_output=True, stdin=subprocess.DEVNULL, cwd="/", timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        options = [
            "-p",
            str(self.port),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self._folder}",
        ]
        options += ["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=30"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", f"{self._folder}/data", *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        ready = self._command("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        deadline = time.monotonic() + 30
        while subprocess.run(ready, stdin=subprocess.DEVNULL).returncode:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once, as a crash would
            self._process.wait(30)
            self._process = None

    def new_url(self) -> str:
        """Of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for the session; a test that stops it starts it again."""
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database, of one kind after the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.sqlite"
    running: Postgres = request.getfixturevalue("postgres")
    return running.new_url()


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Migrated."""
    opened = Database(url)
    await opened.migrate()
    yield opened
    await opened.close()


MakeWriter = Callable[..., Writer]


@pytest.fixture
def make_writer(tmp_path: Path) -> MakeWriter:
    """Makes a writer to a URL; its clock stands still unless given."""

    def make(
        url: str, *, spool_bytes: int = 1 << 20, retention: RetentionDays | None = None, **options: object
    ) -> Writer:
        return Writer(
            database=Database(url),
            spool=Spool(tmp_path / "spool", spool_bytes),
            retention=retention or RetentionDays(),
            target_of=lambda pbx, queue: Target(20.0, 5.0),
            **{"clock": lambda: 1_000_000.0, "monotonic": time.monotonic, "retry_s": (0.05, 0.2), **options},  # type: ignore[arg-type]
        )

    return make
