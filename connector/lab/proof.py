"""What proves that a call went as it should: what its caller heard, when, and that nothing was left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from connector.audio import g711
from connector.audio.tone import Dominant, dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.call import Call
from connector.lab.facts import parse_queue_show
from connector.lab.process import ConnectorProcess
from connector.lab.rtp import RATE_HZ, Received, RtpSession

LOUD = 1_500
"""Linear level, 0 to 32767; an eighth of a -10 dBFS tone."""

MARK_HZ = 1_300
"""What the laboratory's dialplan plays where a call goes on after the bot."""


async def until_heard(
    call: Call, hz: float, *, window_ms: int = 200, share: float = 0.9, timeout_s: float = 10.0
) -> Dominant:
    """Waits until the caller hears a tone and nothing else.

    Args:
        call: The caller's.
        hz: The tone.
        window_ms: For so long.
        share: What part of the energy it must be; a window that begins before the tone has less.
        timeout_s: Bound of the wait.

    Returns:
        The tone.

    Raises:
        TimeoutError: Something else was heard, or nothing; the text says what.
    """
    heard = Dominant(0.0, -np.inf, 0.0)

    def hears(rtp: RtpSession) -> bool:
        nonlocal heard
        heard = dominant_tone(rtp.audio(last_ms=window_ms), RATE_HZ)
        return abs(heard.hz - hz) <= 10 and heard.share > share

    try:
        await call.rtp.wait_for(hears, timeout_s=timeout_s)
    except TimeoutError:
        raise TimeoutError(f"{hz:g} Hz was not heard within {timeout_s:g} s; the last was {heard}") from None
    return heard


def is_loud(packet: Received) -> bool:
    """Whether a packet is more than silence and noise."""
    return packet.payload_type == 0 and bool(np.abs(g711.ulaw_decode(packet.payload).astype(np.int32)).max() > LOUD)


def first_sound_at(call: Call) -> float:
    """Unix time of the first packet with a sound in it.

    Raises:
        ValueError: There was none.
    """
    at = next((packet.at for packet in call.rtp.received if is_loud(packet)), None)
    if at is None:
        raise ValueError("the caller heard nothing")
    return at


async def until_nothing_left(pbx: LabAsterisk, *, timeout_s: float = 5.0) -> None:
    """Waits until Asterisk has no channel and no bridge.

    Raises:
        LabError: Something stays.
    """
    await pbx.until("core show channels concise", lambda text: not text.strip(), timeout_s=timeout_s)
    await pbx.until("bridge show all", lambda text: len(text.strip().splitlines()) <= 1, timeout_s=timeout_s)


async def until_queues_agree(pbx: LabAsterisk, connector: ConnectorProcess, *, timeout_s: float = 5.0) -> None:
    """Waits until the connector's queues are those of `queue show`, at a moment at which Asterisk's stand still.

    Raises:
        AssertionError: They differ to the end; the text has both.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        before = parse_queue_show(await pbx.cli("queue show"))
        ours = queue_facts(await connector.pbx())
        after = parse_queue_show(await pbx.cli("queue show"))
        theirs = {
            name: {"waiting": queue["waiting"], "members": sorted(queue["members"], key=lambda m: m["interface"])}
            for name, queue in after.items()
        }
        if before == after and ours == theirs:
            return
        if loop.time() > deadline:
            raise AssertionError(f"the queues differ:\nconnector {ours}\nAsterisk  {theirs}")


def queue_facts(pbx: Mapping[str, Any]) -> dict[str, Any]:
    """The queues of the connector's state in the shape of `parse_queue_show`, without its counts."""
    return {
        queue["name"]: {
            "waiting": [caller["channel"] for caller in queue["callers"]],
            "members": [
                {
                    "interface": member["interface"],
                    "name": member["name"],
                    "state": member["device"],
                    "paused": member["paused"],
                    "dynamic": member["membership"] == "dynamic",
                    "in_call": member["in_call"],
                    "calls_taken": member["calls_taken"],
                }
                for member in sorted(queue["members"], key=lambda member: str(member["interface"]))
            ],
        }
        for queue in pbx["queues"]
    }


async def until_let_go(pbx: LabAsterisk, *, timeout_s: float = 10.0) -> None:
    """Waits until Asterisk has noticed that whoever spoke ARI is gone: no connection to its web server is left open.

    A call that enters Stasis() in the moments before that is taken for the dead application, and is handed back by
    the next connector that starts.

    Raises:
        TimeoutError: A connection is still there.
    """
    local = f":{pbx.ports.http:04X}"
    established, close_wait = "01", "08"  # include/net/tcp_states.h

    def open_connections() -> int:
        rows = map(str.split, Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
        return sum(row[1].endswith(local) and row[3] in (established, close_wait) for row in rows)

    async with asyncio.timeout(timeout_s):
        while open_connections():  # noqa: ASYNC110 (the kernel's table sends no event)
            await asyncio.sleep(0.01)
