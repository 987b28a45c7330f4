"""What Asterisk gets from us on the wire, as an independent observer sees it; and an independent SIP caller."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import signal
import statistics
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from connector.audio import g711
from connector.audio.tone import sine
from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.useragent import HOST

CALLER_HZ, BOT_HZ, SIPP_HZ = 1000, 600, 440
PACKETS = 250
"""Five seconds."""

SCENARIO = """<?xml version="1.0" encoding="us-ascii"?>
<scenario name="talks to a bot for two seconds">
  <send retrans="500"><![CDATA[
INVITE sip:bot_talk@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]sipp[call_number]
To: <sip:bot_talk@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]sipp[call_number]
To: <sip:bot_talk@[remote_ip]:[remote_port]>[peer_tag_param]
[routes]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0
  ]]></send>
  <nop><action><exec rtp_stream="TONE_FILE,-1,0,PCMU/8000"/></action></nop>
  <pause milliseconds="2000"/>
  <nop><action><exec rtp_stream="pause"/></action></nop>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]sipp[call_number]
To: <sip:bot_talk@[remote_ip]:[remote_port]>[peer_tag_param]
[routes]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0
  ]]></send>
  <recv response="200"/>
</scenario>
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(make_connector: Callable[..., ConnectorProcess], bot: RecordingBot) -> AsyncIterator[Any]:
    async with make_connector(bots={"talk": bot.url}) as process:
        yield process


def tool(name: str) -> str:
    """Path of a program; a test that needs one and has none fails, for skipped it would look as if it had passed."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: scripts/setup test")
    return path


@dataclass(frozen=True)
class Packet:
    """One RTP packet of a capture."""

    at: float
    source: tuple[str, int]
    destination: tuple[str, int]
    ssrc: str
    sequence: int
    timestamp: int
    payload_type: int
    payload_bytes: int


@contextlib.asynccontextmanager
async def capture(path: Path, port: int) -> AsyncIterator[None]:
    """Captures what is sent from a UDP port."""
    process = await asyncio.create_subprocess_exec(
        *(tool("dumpcap"), "-q", "-i", "lo", "-f", f"udp and src port {port}", "-w", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(10):
            while b"File:" not in (line := await process.stderr.readline()):  # said when the capture runs
                assert line, "dumpcap ended"
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.communicate()


async def dissect(path: Path, port: int) -> list[Packet]:
    """The RTP packets of a capture, as Wireshark reads them."""
    fields = [
        *("frame.time_epoch", "ip.src", "udp.srcport", "ip.dst", "udp.dstport"),
        *("rtp.ssrc", "rtp.seq", "rtp.timestamp", "rtp.p_type", "udp.length"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(tool("tshark"), "-r", str(path), "-d", f"udp.port=={port},rtp", "-Y", "rtp", "-T", "fields"),
        *(argument for field in fields for argument in ("-e", field)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    packets = []
    for line in out.decode().splitlines():
        at, source, source_port, destination, destination_port, ssrc, sequence, timestamp, kind, size = line.split("\t")
        packets.append(
            Packet(
                float(at),
                (source, int(source_port)),
                (destination, int(destination_port)),
                ssrc,
                int(sequence),
                int(timestamp),
                int(kind),
                int(size) - 8 - 12,
            )
        )
    return packets


async def test_asterisk_gets_a_packet_each_20_ms_without_a_gap(
    asterisk: LabAsterisk, connector: ConnectorProcess, caller: Phone, bot: RecordingBot, tmp_path: Path
) -> None:
    port = connector.settings["media"]["bind_port"]
    after = len(bot.streams)
    late_ticks = await connector.metric("connector_media_late_ticks_total")
    latest_ms = 0.0
    async with capture(tmp_path / "rtp.pcapng", port):
        call = await (await caller.call("bot_talk")).wait_answered()
        stream = await bot.next_stream(after=after)
        await stream.play(BOT_HZ, 3.0)  # in one piece, and silence after it: the wire must not show either
        while call.rtp.packets_in < PACKETS:
            await call.rtp.wait_for_packets(25)
            latest_ms = max(latest_ms, (await connector.state())["media"]["tick_late_ms"])
        await call.hang_up()
        await until_nothing_left(asterisk)
    packets = await dissect(tmp_path / "rtp.pcapng", port)

    assert len(packets) >= PACKETS * 0.8, "a capture begins a little later than it says"
    assert {packet.source for packet in packets} == {(HOST, port)}
    assert len({packet.destination for packet in packets}) == 1
    assert len({packet.ssrc for packet in packets}) == 1
    assert {(packet.payload_type, packet.payload_bytes) for packet in packets} == {(0, 160)}
    pairs = list(itertools.pairwise(packets))
    assert all((later.sequence - earlier.sequence) % 0x10000 == 1 for earlier, later in pairs)
    steps = [(later.timestamp - earlier.timestamp) % 2**32 for earlier, later in pairs]
    assert {step % 160 for step in steps} == {0}
    # Where the whole machine stood still, time goes on and the timestamps say so: that is the only other step.
    skipped = sum(step // 160 - 1 for step in steps)
    await connector.until_metric("connector_media_late_ticks_total", lambda n: n >= late_ticks + skipped)
    intervals_ms = [1000 * (later.at - earlier.at) for earlier, later in pairs]
    assert statistics.median(intervals_ms) == pytest.approx(20, abs=0.5)
    # The worker says itself how late the machine made it; beyond that, 5 ms are ours.
    allowed_ms = 5 + latest_ms
    off = [interval for interval in intervals_ms if abs(interval - 20) > allowed_ms]
    assert len(off) <= len(intervals_ms) / 100 + skipped, f"{off}, latest tick {latest_ms} ms"
    # No drift: over all of it, packets and clock agree.
    assert packets[-1].at - packets[0].at == pytest.approx(0.020 * sum(step / 160 for step in steps), abs=0.040)


async def test_sipp_talks_to_five_bots_at_once(
    asterisk: LabAsterisk, connector: ConnectorProcess, bot: RecordingBot, tmp_path: Path
) -> None:
    calls = 5
    (tmp_path / "tone.ulaw").write_bytes(g711.ulaw_encode(sine(SIPP_HZ, 8000, rate_hz=8000)).tobytes())
    (tmp_path / "uac.xml").write_text(SCENARIO.replace("TONE_FILE", str(tmp_path / "tone.ulaw")))
    after = len(bot.streams)
    spare = asterisk.ports.spare
    process = await asyncio.create_subprocess_exec(
        *(tool("sipp"), f"{HOST}:{asterisk.sip_port}", "-sf", str(tmp_path / "uac.xml"), "-nostdin"),
        *("-m", str(calls), "-l", str(calls), "-r", str(calls), "-i", HOST, "-p", str(spare[8]), "-mi", HOST),
        *("-mp", str(spare[9]), "-timeout", "20s", "-timeout_error"),
        *("-trace_err", "-error_file", str(tmp_path / "errors")),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        streams = [await bot.next_stream(after=after + number) for number in range(calls)]
        await connector.until(lambda pbx: len(pbx["streams"]) == calls)
        for stream in streams:
            await stream.play(BOT_HZ, 2.0)
            await stream.until_heard(SIPP_HZ)
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    errors = tmp_path / "errors"
    assert process.returncode == 0, errors.read_text() if errors.exists() else out.decode()[-2000:]
    for stream in streams:
        await stream.wait_for("stop")
    await connector.until(lambda pbx: not pbx["streams"])
    await until_nothing_left(asterisk)
