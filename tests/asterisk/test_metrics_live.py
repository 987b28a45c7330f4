"""What a running connector serves at /metrics is what Prometheus wants to see."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT
from typing import Any

import aiohttp
import pytest

from connector.lab.process import ConnectorProcess
from connector.lab.shift_conf import shift_conf


async def test_promtool_finds_nothing_to_say(make_asterisk: Any) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.fail("promtool is missing: run scripts/setup test, or install the package prometheus")
    async with make_asterisk(phones=1, conf=shift_conf("not used")) as pbx:
        http, rtp = pbx.ports.spare[:2]
        async with ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=http, rtp_port=rtp) as connector:
            await pbx.cli("channel originate Local/refusing@shift/n extension 99@shift-callers")
            await connector.until(lambda _: "REFUSED" in pbx.queue_log.read_text("utf-8"))
            async with aiohttp.ClientSession() as session, session.get(f"{connector.url}/metrics") as answer:
                text = await answer.read()
            checked = await asyncio.create_subprocess_exec(
                promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
            )
            said, _ = await checked.communicate(text)
            assert (checked.returncode, said) == (0, b"")
