"""Third-party bots and servers beside a real Asterisk, from an environment of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
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


class Front:
    """Answers for carriers whose addresses are written into their bots: ends TLS and passes on to `target`.

    Attributes:
        port: Where it listens.
        certificate: Of the carriers' names; who trusts it reaches us.
        target: Port of this machine; 0 for none yet.
    """

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self.target = 0
        self.certificate = folder / "certificate.pem"
        self._key = folder / "key.pem"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        names = "subjectAltName=DNS:api.telnyx.com,DNS:api.plivo.com"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=carriers", "-addext", names, "-keyout", str(self._key), "-out", str(self.certificate)]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.certificate, self._key)
        async with await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=tls) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Stands where bots look for Telnyx and Plivo."""
    async with Front(tmp_path_factory.mktemp("front")).running() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pipecat(tmp_path_factory: pytest.TempPathFactory, front: Front) -> AsyncIterator[PipecatBot]:
    """A pipecat bot that runs."""
    port = free_port()
    log = tmp_path_factory.mktemp("pipecat") / "log"
    command = (python(), str(PEERS / "pipecat_bot.py"), "--port", str(port))
    environment = {"CARRIER_FRONT": str(front.port), "SSL_CERT_FILE": str(front.certificate)}
    async with program(*command, log=log, **environment) as process, aiohttp.ClientSession() as http:

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

    def make(profiles: dict[str, dict[str, Any]], beside: LabAsterisk = asterisk, **settings: Any) -> ConnectorProcess:
        return ConnectorProcess(
            pbxs={"main": beside},
            bots={},
            http_port=beside.ports.spare[0],
            rtp_port=beside.ports.spare[1],
            settings={"profile": profiles, **settings},
            log_file=tmp_path_factory.mktemp("connector") / "log",
        )

    return make
