"""A PostgreSQL of one's own from Debian's package, run as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final, Self

from connector.lab.asterisk import LabError

USER: Final = "postgres"


class Postgres:
    """One PostgreSQL on 127.0.0.1 with a data directory of its own. `stop` and a further `start` keep the data.

    Raises:
        LabError: It is not installed.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
        if not found:
            raise LabError(
                "no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql, or run scripts/setup test"
            )
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
        if done.returncode:
            raise LabError(f"{name}: {done.stderr.decode()}")

    def start(self) -> None:
        """Starts it, and returns when it takes connections.

        Raises:
            LabError: It does not; the text has its log.
        """
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
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
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
