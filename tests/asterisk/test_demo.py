"""The demo as a newcomer runs it: it ends by itself with accounts that agree, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

from connector.lab.report import TONE_TOLERANCE_HZ


async def demo(rootfs: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connector", "demo", "--asterisk", str(rootfs), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )


def descendants(ancestor: int) -> set[int]:
    """Process ids of what `ancestor` started, and of what those did."""
    children: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), set()).add(int(entry.name))
    found: set[int] = set()
    to_visit = [ancestor]
    while to_visit:
        below = children.get(to_visit.pop(), set()) - found
        found |= below
        to_visit += below
    return found


async def test_all_accounts_agree(rootfs: Path, tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    process = await demo(rootfs, "--seconds", "12", "--report", str(report_file))
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    report = json.loads(report_file.read_text())
    assert report["agrees"], report["problems"]
    assert len(report["bot_calls"]) >= 3
    for call in report["bot_calls"]:
        assert abs(call["tone_heard_hz"] - call["tone_sent_hz"]) <= TONE_TOLERANCE_HZ
        assert call["packets_lost"] == 0
        assert call["round_trip_ms"]["p99"] < 1000
    assert report["round_trip_ms"]["bursts"] > 20
    assert report["queue"]["answered"]["connector"] == report["queue"]["answered"]["queue_log"] >= 1
    assert "live page" in output
    assert "metrics" in output


async def test_ctrl_c_leaves_no_process_and_no_file(rootfs: Path) -> None:
    process = await demo(rootfs)
    assert process.stdout is not None
    async for line in process.stdout:
        if b"  1s  " in line:
            break
    started = descendants(process.pid)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in started]
    folder = next(rootfs / found[0] for command in commands if (found := re.search(r"tmp/asterisk-lab-\w+", command)))
    assert len(started) >= 4, "Asterisk, the bot, the connector, its worker"
    assert folder.is_dir()
    process.send_signal(signal.SIGINT)
    rest = await process.stdout.read()
    assert await process.wait() == 0, rest.decode()
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert not folder.exists()


async def test_what_is_missing_is_named_with_the_way_out(tmp_path: Path) -> None:
    process = await demo(tmp_path)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert output == f"failed: no Asterisk in {tmp_path}: make one with scripts/rootfs\n"


async def test_a_report_that_cannot_be_written_is_told_before_the_work(rootfs: Path, tmp_path: Path) -> None:
    process = await demo(rootfs, "--report", str(tmp_path / "none" / "report.json"))
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "does not exist, so no report can be written there" in output
