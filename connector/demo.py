"""`connector demo`: the main job on a real Asterisk of its own, with a bot, callers and agents, and a report.

Asterisk, the echo bot and the connector are processes of their own, as in production; the callers are this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import uvloop

from connector.access import passwords
from connector.access.accounts import Account, new_token
from connector.access.rights import Role, TokenScope
from connector.lab.asterisk import LabAsterisk, LabError
from connector.lab.facts import parse_queue_show, queue_log_counts
from connector.lab.ports import NoFreePorts
from connector.lab.process import ConnectorProcess
from connector.lab.report import Report, make_report
from connector.lab.traffic import Traffic
from connector.store.accounts import KeptAccounts
from connector.store.database import Database

AGENTS = 3
QUIET_DEADLINE_S = 45.0
"""For the last calls to end and the last outcome to be known."""
SEED = 1


class DemoFailed(Exception):
    """The demo could not be set up; the message says why and what to do."""


def run_demo(*, seconds: float | None, report: Path | None, rootfs: Path | None) -> int:
    """Runs the demo.

    Args:
        seconds: How long; None until Ctrl-C.
        report: Where to write the JSON report; None for none.
        rootfs: Root file system with Asterisk; None or `/` for the machine's own.

    Returns:
        Exit code: 0 if everything agreed, 1 if not or if it could not be set up.
    """
    if report is not None and not report.resolve().parent.is_dir():
        _say(f"failed: {report.resolve().parent} does not exist, so no report can be written there")
        return 1
    try:
        made = uvloop.run(_until_told(seconds, None if rootfs in (None, Path("/")) else rootfs))
    except (DemoFailed, LabError, NoFreePorts) as error:
        _say(f"failed: {error}")
        return 1
    if report is not None:
        report.write_text(json.dumps(asdict(made), indent=2) + "\n")
        _say(f"report: {report}")
    for problem in made.problems:
        _say(f"does not agree: {problem}")
    _say("all agrees" if made.agrees else "NOT all agrees")
    return 0 if made.agrees else 1


async def _until_told(seconds: float | None, rootfs: Path | None) -> Report:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Only the first one counts: what is being cleared away must not be interrupted half way.
        loop.add_signal_handler(number, stop.set)
    return await _demo(stop, seconds, rootfs)


async def _demo(stop: asyncio.Event, seconds: float | None, rootfs: Path | None) -> Report:
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(LabAsterisk(rootfs, phones=AGENTS))
        bot_url = await stack.enter_async_context(_echo_bot())
        http_port, rtp_port, *_ = pbx.ports.spare
        history = pbx.folder / f"history-{http_port}"
        password, token = await _first_admin(history)
        connector = await stack.enter_async_context(
            ConnectorProcess(
                pbxs={"main": pbx},
                bots={"echo": bot_url},
                http_port=http_port,
                rtp_port=rtp_port,
                settings={"log": {"level": "warning"}, "store": {"directory": str(history)}},
                token=token,
            )
        )
        _say(f"Asterisk {pbx.version}, started with everything else in {time.monotonic() - started:.1f} s")
        _say(
            f"live page  {connector.url}/\nlive state {connector.url}/api/v1/state\nmetrics    {connector.url}/metrics"
        )
        _say(f"log in as   admin with the password {password}")
        _say("Ctrl-C ends it\n")
        traffic = Traffic(pbx, Random(SEED))
        running = asyncio.create_task(traffic.run(), name="traffic")
        try:
            await _watch(connector, traffic, running, stop, seconds)
            traffic.stop()
            _say("waiting for the last calls to end")
            async with asyncio.timeout(QUIET_DEADLINE_S):
                await running
            state = await connector.until(_quiet, timeout_s=10.0)
        except TimeoutError as error:
            raise DemoFailed(f"the calls did not come to an end: {error}") from None
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return make_report(
            version=pbx.version,
            seen=traffic.seen,
            state=await connector.state(),
            queue=_support(state),
            queue_log=queue_log_counts(pbx.queue_log.read_text()).get("support", {}),
            queue_show=parse_queue_show(await pbx.cli("queue show"))["support"],
            left_behind=await _left_behind(pbx),
        )


async def _watch(
    connector: ConnectorProcess,
    traffic: Traffic,
    running: asyncio.Task[None],
    stop: asyncio.Event,
    seconds: float | None,
) -> None:
    """One line a second until it is time to stop."""
    _say("  time  calls  streams  waiting  answered  abandoned  timed out  round trip")
    begun = time.monotonic()
    while not stop.is_set() and (seconds is None or time.monotonic() - begun < seconds):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await stop.wait()
        if running.done():
            running.result()
            raise DemoFailed("the traffic ended by itself")
        try:
            state = await connector.pbx()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoFailed(f"the connector does not answer: {error!r}; see its log above") from None
        queue = _support(state)
        trip = traffic.latest_round_trip_ms
        _say(
            f"{time.monotonic() - begun:5.0f}s  {state['calls']:5d}  {len(state['streams']):7d}"
            f"  {len(queue['callers']):7d}  {queue['outcomes']['answered']:8d}  {queue['outcomes']['abandoned']:9d}"
            f"  {queue['outcomes']['timed_out']:9d}  {'-' if trip is None else f'{trip:.1f} ms':>10}"
        )


async def _first_admin(history: Path) -> tuple[str, str]:
    """Makes the demo's administrator, as `connector user add` would; returns password and token."""
    database = Database(f"sqlite:///{history / 'history.sqlite'}")
    try:
        await database.migrate()
        password, kept = passwords.generated(), KeptAccounts(database)
        account = Account(name="admin", role=Role.ADMIN, password_hash=passwords.hashed(password), phone="PJSIP/agent1")
        await kept.add(account)
        token, text = new_token("admin", "demo", tuple(TokenScope), now=time.time(), expires_at=None)
        await kept.add_token(token)
    finally:
        await database.close()
    return password, text


@contextlib.asynccontextmanager
async def _echo_bot() -> AsyncIterator[str]:
    """The echo bot as a process of its own; gives its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "connector.lab.echo_bot",
        "--port",
        "0",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise DemoFailed(f"the echo bot ended at its start (exit {await process.wait()})")
        yield f"ws://127.0.0.1:{json.loads(line)['port']}/"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _support(state: dict[str, Any]) -> dict[str, Any]:
    return next(queue for queue in state["queues"] if queue["name"] == "support")


def _quiet(state: dict[str, Any]) -> bool:
    return not state["streams"] and not state["calls"] and not any(queue["callers"] for queue in state["queues"])


async def _left_behind(pbx: LabAsterisk) -> list[str]:
    """Channels and bridges that are still there, as the console names them; Asterisk takes a moment to end them."""
    await pbx.until("core show channels concise", lambda text: not text.strip())
    bridges = await pbx.until("bridge show all", lambda text: len(text.strip().splitlines()) <= 1)
    return bridges.strip().splitlines()[1:]


def _say(text: str) -> None:
    print(text, flush=True)
