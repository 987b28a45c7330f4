"""RingCentral's own receivers, for Python and for Node, unmodified; stubs stand in for the paid services they call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from connector.app import Connector
from connector.config import Settings
from connector.dialects import registry
from connector.dialects.base import StopReason, StreamStart, Track, Upgrade
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone
from connector.lab.process import ConnectorProcess
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.streams.tapcall import TapOrder
from tests.asterisk.conftest import _make, rootfs_of
from tests.conformance.conftest import PEERS, MakeConnector, free_port, program, python, until

FRAMES = 60
CALLER_HZ, AGENT_HZ = 1_000, 600
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


@contextlib.asynccontextmanager
async def tapping(pbx: LabAsterisk, described: ConnectorProcess) -> AsyncIterator[Connector]:
    """A connector in this process: no public way orders a tap by hand."""
    connector = Connector(Settings.model_validate(described.settings))
    running = asyncio.create_task(connector.run())
    try:
        await until(lambda: running.done() or (connector.ready.is_set() and not connector.not_ready()), "ready")
        yield connector
    finally:
        running.cancel()
        await asyncio.wait({running})


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receiver_takes_both_perspectives_of_a_real_call(
    make_connector: MakeConnector, tmp_path: Path, kind: str
) -> None:
    """A caller and an agent talk; the receiver hears both to the end, which it may anticipate."""
    extensions = "[from-phones](+)\nexten => agent,1,Dial(PJSIP/agent1)\n"
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving(kind, tmp_path))
        make = _make(rootfs_of("22"))
        pbx = await stack.enter_async_context(make(phones=1, conf=LabConf(agents=1, extensions=extensions)))
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(AGENT_HZ))
        )
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(CALLER_HZ)))
        profile = {"url": f"ws://127.0.0.1:{receiver.port}/", "dialect": {"name": "ringcx", "product_id": 7}}
        connector = await stack.enter_async_context(tapping(pbx, make_connector({"ringcx": profile}, pbx)))
        agent.on_invite = Answer()
        call = await caller.call("agent")
        await call.wait_answered()

        def caller_ids() -> list[str]:
            legs = connector.states()["main"].legs
            return [each for each, track in legs.items() if track.leg.channel.startswith("PJSIP/caller-")]

        (caller_id,) = await until(caller_ids, "the caller's channel")
        taps = connector.taps["main"]
        tap = taps.start(TapOrder(caller_id, "ringcx"))
        await until(tap.started.is_set, "the tap")
        recognisers = 2 if kind == "node" else 1
        await until(lambda: sum(each >= 8_000 for each in receiver.audio_bytes().values()) == recognisers, "audio")
        assert tap.call_id == f"main:{caller_id}"
        await call.hang_up()
        await until(lambda: not taps.active, "the end of the tap")
        (record,) = tap.stats
        assert record.packets_in >= 50


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
                await asyncio.sleep(0.01)  # as calls do: what comes all at once it does not keep up with
            with contextlib.suppress(ConnectionClosed):  # the Python one leaves after the first Stop
                for message in dialect.closing(StopReason.CALLER_HUNG_UP):
                    await socket.send(message)
            if kind == "node":
                await until(lambda: receiver.audio_bytes() == {0: FRAMES * 160, 1: FRAMES * 160}, "all audio")
            else:  # of its own doing it leaves messages out, each sixth at least; one side alone would be half
                both = FRAMES * 2 * 160
                await until(lambda: both * 3 // 5 < receiver.audio_bytes().get(0, 0) <= both * 5 // 6, "both sides")
