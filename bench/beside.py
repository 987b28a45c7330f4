"""The connector beside a real Asterisk that carries many bot calls: whose CPU is how much, and are the numbers right.

Run by `scripts/bench beside`; the keys of the result are described in docs/bench.md.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.parts.build import build
from bench.parts.load import Load
from bench.parts.proc import children_of, cpu_model, cpu_s, descriptors_of, machine_busy_s, rss_kb
from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left

HOST = "127.0.0.1"
SETTLE_S = 3.0
AT_ONCE = 5
"""Calls that begin together: as many as a busy second of a contact centre."""


def _has_streams(count: int, state: dict[str, Any]) -> bool:
    return len(state["streams"]) >= count


async def begin(pbx: LabAsterisk, connector: ConnectorProcess, calls: int) -> None:
    """Local channels: one side hears a tone and plays it to the other, which is with the bot."""
    for at in range(0, calls, AT_ONCE):
        count = min(AT_ONCE, calls - at)
        for _ in range(count):
            await pbx.cli("channel originate Local/bot_beside@from-phones/n application Milliwatt")
        await connector.until(functools.partial(_has_streams, at + count), timeout_s=30)


async def measure(pbx: LabAsterisk, connector: ConnectorProcess, bot: Load, calls: int, seconds: float) -> Any:
    """CPU of everybody while the calls go on."""
    assert pbx.pid is not None
    pids = {"asterisk": [pbx.pid], "control": [connector.pid], "workers": children_of(connector.pid)}
    idle_kb = sum(map(rss_kb, pids["workers"]))
    await begin(pbx, connector, calls)
    await asyncio.sleep(SETTLE_S)
    before, busy_s, said = (
        {name: sum(map(cpu_s, ids)) for name, ids in pids.items()},
        machine_busy_s(),
        await bot.report(),
    )
    started_s = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    took_s = asyncio.get_running_loop().time() - started_s
    used = {name: sum(map(cpu_s, ids)) - before[name] for name, ids in pids.items()}
    now = await bot.report()
    figures = {
        **{f"{name}_ms_per_call": round(1000 * spent_s / took_s / calls, 2) for name, spent_s in used.items()},
        "connector_to_asterisk": round((used["control"] + used["workers"]) / used["asterisk"], 3),
        "frames_per_call": round((now["echoed"] - said["echoed"]) / took_s / calls, 1),
        "streams": now["streams"],
        "numbers_wrong": now["numbers_wrong"],
        "bot_dropped": now["dropped"],
        "machine_cores": round((machine_busy_s() - busy_s) / took_s, 2),
        "worker_kb_per_call": round((sum(map(rss_kb, pids["workers"])) - idle_kb) / calls, 1),
        "worker_descriptors": sum(map(descriptors_of, pids["workers"])),
    }
    await pbx.cli("channel request hangup all")
    await until_nothing_left(pbx, timeout_s=30)
    return figures


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Once for each round, all with the same Asterisk and the same connector."""
    native = await asyncio.to_thread(build, folder)
    bot = await Load.start(native.load, 0, "echo")
    ports = {"first_port": options.first_port, "last_port": options.first_port + 1_999}
    pbx = LabAsterisk(options.rootfs, phones=1, rtp_ports=1_000, **ports)
    try:
        async with pbx:
            connector = ConnectorProcess(
                pbxs={"main": pbx},
                bots={"beside": f"ws://{HOST}:{bot.ws_port}/"},
                http_port=pbx.ports.spare[0],
                rtp_port=pbx.ports.spare[1],
                log_file=folder / "log",
            )
            async with connector:
                rounds = [
                    await measure(pbx, connector, bot, options.calls, options.seconds) for _ in range(options.rounds)
                ]
    finally:
        await bot.stop()
    return {
        "bench": "beside",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "asterisk": pbx.version,
        "calls": options.calls,
        "seconds": options.seconds,
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "load_before": options.load_before,
        "connector_to_asterisk": sorted(each["connector_to_asterisk"] for each in rounds)[len(rounds) // 2],
        "rounds": rounds,
    }


def main() -> None:
    """`scripts/bench beside [--rootfs DIR] [--calls 150] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench beside", description=__doc__)
    parser.add_argument("--rootfs", type=Path, help="with Asterisk in it; the machine's own if left out")
    parser.add_argument("--first-port", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    options.load_before = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as folder:
        text = json.dumps(asyncio.run(run(options, Path(folder))), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
