"""RingCentral's own receivers, for Python and for Node, unmodified; stubs stand in for the paid services they call."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from connector.dialects import registry
from connector.dialects.base import StopReason, StreamStart, Track, Upgrade
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.proof import until_let_go
from tests.conformance.conftest import PEERS, MakeConnector, free_port, program, python, until

FRAMES = 60
KINDS = ["python", "node"]


class Receiver:
    """A receiver that runs."""

    def __init__(self, kind: str, port: int, folder: Path) -> None:
        self.kind, self.port, self.log, self._report = kind, port, folder / "log", folder / "report.json"

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it."""
        if self.kind == "python":
            return python(), str(PEERS / "ringcx_receiver.py"), str(self.port), str(self._report)
        return "node", str(PEERS / "ringcx_node/run.js"), str(self.port)

    def audio_bytes(self) -> dict[int, int]:
        """What its recognisers have been given, by recogniser: Python has one, Node one for each perspective."""
        if self.kind == "python":
            return {0: json.loads(self._report.read_text())["audio_bytes"]} if self._report.exists() else {}
        said = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return {each["recogniser"]: each["bytes"] for each in said}


@contextlib.asynccontextmanager
async def receiving(kind: str, folder: Path) -> AsyncIterator[Receiver]:
    if kind == "node" and not (PEERS / "ringcx_node/node_modules").exists():
        pytest.fail("no node_modules: run scripts/setup conformance")
    receiver = Receiver(kind, free_port(), folder)
    async with program(*receiver.command, log=receiver.log) as process:

        def listens() -> bool:
            assert process.returncode is None, receiver.log.read_text()[-2_000:]
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", receiver.port)) == 0

        await until(listens, f"the {kind} receiver listens")
        yield receiver


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receiver_takes_a_real_call(
    asterisk: LabAsterisk, make_connector: MakeConnector, caller: Phone, tmp_path: Path, kind: str
) -> None:
    """The caller's side of a call, as perspective Conference; to the end, which a receiver may anticipate."""
    await until_let_go(asterisk)  # of the connector that another test had
    async with receiving(kind, tmp_path) as receiver:
        profile = {"url": f"ws://127.0.0.1:{receiver.port}/", "dialect": {"name": "ringcx", "product_id": 7}}
        async with make_connector({"ringcx": profile}) as connector:
            call = await caller.call("bot_ringcx")
            await call.wait_answered()
            await until(lambda: sum(receiver.audio_bytes().values()) >= 8_000, "a second of audio")
            assert call.live
            await call.hang_up()
            await connector.until_metric(
                "connector_streams_total",
                lambda value: value == 1,
                pbx="main",
                profile="ringcx",
                cause="caller_hung_up",
            )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receiver_takes_both_perspectives(tmp_path: Path, kind: str) -> None:
    """The messages of the dialect, without a call: sent by a plain WebSocket client."""
    start = StreamStart("s", "c", {"from": "1", "to": "2"}, (Track.CALLER, Track.AGENT), two_way=False)
    dialect = registry.create("ringcx", start)
    async with receiving(kind, tmp_path) as receiver:
        url = dialect.upgrade(Upgrade(f"ws://127.0.0.1:{receiver.port}/"), unix_s=1_700_000_000.0, nonce="n").url
        async with connect(url, compression=None) as socket:
            for message in dialect.opened():
                await socket.send(message)
            for n in range(FRAMES):
                for track in Track:
                    media = dialect.audio(bytes(160), 20 * n, track)
                    assert media is not None
                    await socket.send(media)
            with contextlib.suppress(ConnectionClosed):  # the Python one leaves after the first Stop
                for message in dialect.closing(StopReason.CALLER_HUNG_UP):
                    await socket.send(message)
            if kind == "node":
                await until(lambda: receiver.audio_bytes() == {0: FRAMES * 160, 1: FRAMES * 160}, "all audio")
            else:  # of its own doing it leaves each sixth message out
                await until(
                    lambda: receiver.audio_bytes().get(0) == FRAMES * 2 * 160 * 5 // 6, "its share of the audio"
                )
