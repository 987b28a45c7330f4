"""Third-party bots and servers beside a real Asterisk, from an environment of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from tests.asterisk.conftest import _make, caller as caller, rootfs_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
ENVIRONMENT = Path(os.environ.get("CONNECTOR_CONFORMANCE_VENV") or ROOT / ".venv-conformance")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As for the tests beside Asterisk: one event loop for the session, and a second try that is named."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))
            if pytest_asyncio.is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def python() -> str:
    """The interpreter that has the third-party packages. A test that needs one and has none fails."""
    path = ENVIRONMENT / "bin/python"
    if not path.exists():
        pytest.fail(f"no {path}: run scripts/setup conformance")
    return str(path)


def free_port() -> int:
    """A TCP port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def program(*command: str, log: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a program to the end of the block; what it writes goes to a file."""
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=str(PEERS),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Waits until a condition, a coroutine or not, gives something true; gives it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < deadline, f"{what}: not within {timeout_s:g} s"
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asterisk() -> AsyncIterator[LabAsterisk]:
    """The newest Asterisk: what a dialect says does not depend on the version."""
    async with _make(rootfs_of("22"))() as pbx:
        yield pbx


class PipecatBot:
    """The pipecat bot, asked over HTTP what it saw."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.port = port
        self._http = http

    async def calls(self) -> list[dict[str, Any]]:
        """What it saw of each call, oldest first; nothing while it does not answer."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port}/calls") as answer:
                calls: list[dict[str, Any]] = await answer.json()
                return calls
        except aiohttp.ClientError:
            return []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pipecat(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PipecatBot]:
    """A pipecat bot that runs."""
    port = free_port()
    log = tmp_path_factory.mktemp("pipecat") / "log"
    command = (python(), str(PEERS / "pipecat_bot.py"), "--port", str(port))
    async with program(*command, log=log) as process, aiohttp.ClientSession() as http:

        def listens() -> bool:
            assert process.returncode is None, f"the pipecat bot ended:\n{log.read_text()[-2_000:]}"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await until(listens, "the pipecat bot listens", timeout_s=60)
        yield PipecatBot(port, http)


MakeConnector = Callable[..., ConnectorProcess]


@pytest.fixture(scope="session")
def make_connector(asterisk: LabAsterisk, tmp_path_factory: pytest.TempPathFactory) -> MakeConnector:
    """Makes a connector with these profiles."""

    def make(profiles: dict[str, dict[str, Any]], beside: LabAsterisk = asterisk) -> ConnectorProcess:
        return ConnectorProcess(
            pbxs={"main": beside},
            bots={},
            http_port=beside.ports.spare[0],
            rtp_port=beside.ports.spare[1],
            settings={"profile": profiles},
            log_file=tmp_path_factory.mktemp("connector") / "log",
        )

    return make
