"""The demo as a newcomer runs it: it ends by itself with accounts that agree, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from connector.lab.report import TONE_TOLERANCE_HZ

FAMILY = ("asterisk", "connector.lab.echo_bot", "connector.media.worker", "connector run")
"""What a demo starts, by its command line."""


async def demo(rootfs: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connector", "demo", "--asterisk", str(rootfs), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )


def family() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if any(name in command for name in FAMILY):
                found.add(int(entry.name))
    return found - {os.getpid()}


def folders(rootfs: Path) -> set[Path]:
    return set((rootfs / "tmp").glob("asterisk-lab-*"))


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
    processes, files = family(), folders(rootfs)
    process = await demo(rootfs)
    assert process.stdout is not None
    async for line in process.stdout:
        if b"  1s  " in line:
            break
    assert family() - processes
    process.send_signal(signal.SIGINT)
    rest = await process.stdout.read()
    assert await process.wait() == 0, rest.decode()
    assert not family() - processes
    assert not folders(rootfs) - files


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
