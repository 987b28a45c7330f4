"""Real Asterisk for the tests: one of each version for the session, and as many of one's own as a test wants."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

SUITES = {"22": "sid", "16": "bullseye"}
WANTED = [version for version in SUITES if version in os.environ.get("ASTERISK_VERSIONS", ",".join(SUITES)).split(",")]
"""Versions to test with."""
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out versions that are not wanted, and runs the others on the session's event loop.

    There the session's Asterisk was started.

    They are real calls in real time, so a machine that stood still for a second can fail one: it gets a second try,
    and the summary names it as a rerun.
    """
    other = [item for item in items if _version(item) not in ("", *WANTED)]
    if other:
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if item not in other]
    on_session_loop = pytest.mark.asyncio(loop_scope="session")
    second_try = pytest.mark.flaky(reruns=1)
    for item in items:
        if HERE not in item.path.parents:
            continue
        if item.get_closest_marker("flaky") is None:
            item.add_marker(second_try)
        if pytest_asyncio.is_async_test(item):
            item.add_marker(on_session_loop, append=False)


def _version(item: pytest.Item) -> str:
    """Of Asterisk that the test is for; empty if it is for none in particular."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("rootfs", "")) if callspec is not None else ""


def rootfs_of(version: str) -> Path:
    """Where the root file system of a version is.

    A test that needs one and has none fails: skipped, it would look as if it had passed.
    """
    given = os.environ.get(f"ASTERISK_ROOTFS_{version}")
    if given:
        path = Path(given)
    else:
        home_cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        default = "/var/cache" if os.geteuid() == 0 else home_cache
        cache = os.environ.get("ASTERISK_ROOTFS_CACHE") or f"{default}/asterisk-rootfs"
        path = Path(cache) / SUITES[version]
    if not (path / "usr/sbin/asterisk").exists():
        pytest.fail(
            f"no Asterisk {version} in {path}: run scripts/rootfs {SUITES[version]}, "
            f"or set ASTERISK_ROOTFS_{version} to a root file system that has one"
        )
    return path


MakeAsterisk = Callable[..., LabAsterisk]
MakeConnector = Callable[..., ConnectorProcess]

CALLER_HZ = 1000
TEST_DIALPLAN = """
[from-phones](+)
; remote_<profile>: the application of a second connector
exten => _remote_.,1,Stasis(remote,${EXTEN:7})
 same => n,Goto(mark,1)

; result_<profile>: what the dialplan does next depends on how the bot's part ended
exten => _result_.,1,Gosub(connector-bot,s,1(${EXTEN:7}))
 same => n,Log(NOTICE,connector result: ${CONNECTOR_RESULT})
 same => n,GotoIf($["${CONNECTOR_RESULT}" = "bot_closed"]?closed)
 same => n,GotoIf($["${CONNECTOR_RESULT}" = "shutdown"]?shutdown)
 same => n,Goto(mark,1)
 same => n(closed),Answer()
 same => n,PlayTones(700)
 same => n,Wait(30)
 same => n,Hangup()
 same => n(shutdown),Answer()
 same => n,PlayTones(900)
 same => n,Wait(30)
 same => n,Hangup()
"""


def _make(rootfs: Path) -> MakeAsterisk:
    first, _, last = os.environ.get("ASTERISK_LAB_PORTS", "20000-29999").partition("-")

    def make(**options: Any) -> LabAsterisk:
        return LabAsterisk(rootfs, **{"first_port": int(first), "last_port": int(last), **options})

    return make


@pytest.fixture(scope="session", params=WANTED)
def rootfs(request: pytest.FixtureRequest) -> Path:
    """A root file system with Asterisk, one version after the other."""
    return rootfs_of(request.param)


@pytest.fixture(scope="session")
def make_asterisk(rootfs: Path) -> MakeAsterisk:
    """Makes an Asterisk of the test's own: `async with make_asterisk(phones=1) as pbx`. It boots in half a second."""
    return _make(rootfs)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asterisk(make_asterisk: MakeAsterisk) -> AsyncIterator[LabAsterisk]:
    """An Asterisk that all tests of a version share; who kills it or changes it makes its own."""
    async with make_asterisk(conf=LabConf(extensions=TEST_DIALPLAN)) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def make_connector(asterisk: LabAsterisk, tmp_path_factory: pytest.TempPathFactory) -> MakeConnector:
    """Makes a `connector run` beside the shared Asterisk; its log goes to a file that pytest keeps."""

    def make(
        *,
        beside: LabAsterisk = asterisk,
        bots: dict[str, str],
        ports: Sequence[int] = (),
        **settings: Any,
    ) -> ConnectorProcess:
        spare = iter(ports or beside.ports.spare)
        return ConnectorProcess(
            pbxs={"main": beside},
            bots=bots,
            http_port=next(spare),
            rtp_port=next(spare),
            settings=settings,
            log_file=tmp_path_factory.mktemp("connector") / "log",
        )

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bot() -> AsyncIterator[RecordingBot]:
    """A bot that does what the test says."""
    async with RecordingBot() as recording:
        yield recording


@pytest_asyncio.fixture(loop_scope="session")
async def caller(asterisk: LabAsterisk) -> AsyncIterator[Phone]:
    """A phone whose calls sound like 1000 Hz."""
    async with Phone(0, "alice", (HOST, asterisk.sip_port), source=tone_source(CALLER_HZ)) as phone:
        yield phone
