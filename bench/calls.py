"""Real calls with a bot beside a real Asterisk: what each of them costs Asterisk and the connector.

`docs/bench.md` says what each figure means, `bench/results` what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.parts.proc import cpu_model, cpu_s, machine_busy_s, rss_kb
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.echo_bot import bot
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

ALONE = "asterisk alone"
"""The same callers in Wait(), without a bot: what Asterisk needs for them anyway."""
SETTLE_S = 2.0


def children(pid: int) -> list[int]:
    """Process ids of a process's children: the media workers of a connector."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def measure(pbx: LabAsterisk, connector: ConnectorProcess | None, exten: str, calls: int, seconds: float) -> Any:
    """Makes the calls, lets them settle, measures, and hangs up.

    Returns:
        Milliseconds of CPU a second and call, by process; the rest for all calls together.
    """
    assert pbx.pid is not None
    pids = {"asterisk": [pbx.pid]}
    if connector is not None:
        pids |= {"control": [connector.pid], "workers": children(connector.pid)}
    files_before, rss_before = descriptors(pbx.pid), {name: sum(map(rss_kb, ids)) for name, ids in pids.items()}
    async with Phone(0, "bench", (HOST, pbx.sip_port), source=tone_source(1000)) as phone:
        made = [await phone.call(exten) for _ in range(calls)]
        for call in made:
            await call.wait_answered(timeout_s=30)
        await asyncio.sleep(SETTLE_S)
        loop = asyncio.get_running_loop()
        before = {name: sum(map(cpu_s, ids)) for name, ids in pids.items()}
        packets, busy, began = sum(len(call.rtp.received) for call in made), machine_busy_s(), loop.time()
        await asyncio.sleep(seconds)
        took_s = loop.time() - began
        used = {name: sum(map(cpu_s, ids)) - before[name] for name, ids in pids.items()}
        figures = {
            **{f"{name}_ms": round(1000 * s / took_s / calls, 2) for name, s in used.items()},
            **{
                f"{name}_kb": round((sum(map(rss_kb, ids)) - rss_before[name]) / calls, 1) for name, ids in pids.items()
            },
            "asterisk_files": round((descriptors(pbx.pid) - files_before) / calls, 1),
            "packets_heard": round((sum(len(call.rtp.received) for call in made) - packets) / took_s / calls, 1),
            "machine_cores": round((machine_busy_s() - busy) / took_s, 2),
        }
        for call in made:
            await call.hang_up()
    await until_nothing_left(pbx, timeout_s=20)
    return figures


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All ways, one after the other, `--rounds` times."""
    results: dict[str, list[Any]] = {name: [] for name in (ALONE, *arguments.audio)}
    alone = "[from-phones](+)\nexten => alone,1,Answer()\n same => n,Wait(600)\n"
    pbx = LabAsterisk(arguments.rootfs, phones=1, rtp_ports=2000, conf=LabConf(extensions=alone))
    async with pbx, bot(HOST, 0, "echo") as port:
        profiles = {name: name.replace("/", "_") for name in arguments.audio}
        with tempfile.TemporaryDirectory() as folder:
            connector = ConnectorProcess(
                pbxs={"main": pbx},
                bots=dict.fromkeys(profiles.values(), f"ws://{HOST}:{port}/"),
                http_port=pbx.ports.spare[0],
                rtp_port=pbx.ports.spare[1],
                settings={"profile": {profile: {"audio": name} for name, profile in profiles.items()}},
                log_file=Path(folder) / "log",
            )
            async with connector:
                for _ in range(arguments.rounds):
                    calls, seconds = arguments.calls, arguments.seconds
                    results[ALONE].append(await measure(pbx, None, "alone", calls, seconds))
                    for name, profile in profiles.items():
                        results[name].append(await measure(pbx, connector, f"bot_{profile}", calls, seconds))
        version = pbx.version
    return {
        "bench": "calls",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "asterisk": version,
        "calls": arguments.calls,
        "seconds": arguments.seconds,
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": arguments.load_before,
        "ways": results,
    }


def main() -> int:
    """Parses, runs, writes."""
    parser = argparse.ArgumentParser(prog="scripts/bench calls", description=__doc__)
    parser.add_argument("--rootfs", type=Path, help="with Asterisk in it; the machine's own if left out")
    parser.add_argument("--audio", nargs="+", default=["rtp/ulaw", "rtp/g722", "rtp/slin16"])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to; standard output if left out")
    arguments = parser.parse_args()
    arguments.load_before = round(os.getloadavg()[0], 2)
    text = json.dumps(asyncio.run(run(arguments)), indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n", "utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
