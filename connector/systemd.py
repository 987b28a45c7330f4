"""What systemd is told: ready, stopping, reloading, and every few seconds that we still live.

The protocol is one datagram of `KEY=value` lines to the socket that NOTIFY_SOCKET names (systemd, sd_notify(3)).
Without that variable nobody listens and nothing is sent.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger()

MICROSECONDS = 1_000_000


class Systemd:
    """Tells systemd.

    Args:
        environ: Environment variables: NOTIFY_SOCKET, WATCHDOG_USEC.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ and begins with a null byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        period_us = environ.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(period_us) / MICROSECONDS if period_us.isdigit() else 0.0

    def ready(self) -> None:
        """The pages are served and the media worker is there."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Settings are read anew; `ready` ends it. Type=notify-reload wants the time."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, wait_s: float) -> None:
        """We end, and this may take so long: running calls come first."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(wait_s * MICROSECONDS)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    async def watch(self) -> None:
        """Says twice in each period of the watchdog that the event loop turns; returns at once if there is none."""
        while self._watchdog_s:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.warning("systemd_not_told", error=str(error), lines=lines)
