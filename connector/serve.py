"""`connector run` as an init system expects it: signals, and word to systemd."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import structlog

from connector.app import Connector
from connector.config import ConfigError, Settings
from connector.systemd import Systemd

STOP_S = 15.0
"""For what comes after the last call: handing back, the last records. The parts' own bounds sum up to less."""

log = structlog.get_logger()


async def serve(settings: Settings, read: Callable[[], Settings]) -> None:
    """Runs the connector until it is told to end.

    SIGTERM or SIGINT lets the running calls end, for `node.drain_s` at most; a second one hands them back at once.
    SIGHUP reads profiles and logging anew.

    Args:
        settings: To start with.
        read: Reads them anew, and sets up the logs as they say.

    Raises:
        StartFailed: It cannot run here.
    """
    connector = Connector(settings)
    systemd = Systemd(os.environ)
    hangup = asyncio.Event()
    running = asyncio.ensure_future(connector.run())

    def end() -> None:
        if connector.draining:
            running.cancel()
        else:
            systemd.stopping(settings.node.drain_s + STOP_S)
            connector.drain()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    beside = [
        asyncio.create_task(_tell_ready(connector, systemd)),
        asyncio.create_task(_reload(connector, systemd, hangup, read)),
    ]
    try:
        await running
    except asyncio.CancelledError:
        pass  # the second signal
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _tell_ready(connector: Connector, systemd: Systemd) -> None:
    await connector.ready.wait()
    systemd.ready()
    await systemd.watch()


async def _reload(connector: Connector, systemd: Systemd, hangup: asyncio.Event, read: Callable[[], Settings]) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        systemd.reloading()
        try:
            await connector.reload(read())
        except ConfigError as error:
            log.error("reload_refused", problems=error.problems, hint="the settings in effect stay as they were")
        systemd.ready()
