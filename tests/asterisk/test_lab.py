"""The laboratory itself: phones hear each other, and nothing is left when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk, LabError
from connector.lab.conf import LabConf
from connector.lab.facts import parse_queue_show, queue_log_counts
from connector.lab.phone import CallFailed, Phone, Reject, RingForever
from connector.lab.ports import PortBlock
from connector.lab.rtp import burst_source, round_trip_ms, tone_source
from connector.lab.useragent import HOST

MakeAsterisk = Callable[..., LabAsterisk]


async def test_a_phone_hears_its_own_tone_from_echo(asterisk: LabAsterisk) -> None:
    async with Phone(0, "alice", (HOST, asterisk.sip_port), source=tone_source(1000)) as phone:
        call = await (await phone.call("echo")).wait_answered()
        await call.rtp.wait_for_packets(30)
        heard = dominant_tone(call.rtp.audio(last_ms=300), 8000)
        assert heard.hz == pytest.approx(1000, abs=5)
        assert heard.dbfs == pytest.approx(-10, abs=1)
        assert heard.share > 0.99
        assert call.rtp.lost() == 0


async def test_the_round_trip_of_a_burst_is_found(asterisk: LabAsterisk) -> None:
    async with Phone(0, "alice", (HOST, asterisk.sip_port)) as phone:
        source = burst_source(on_ms=100, period_ms=200)
        call = await (await phone.call("echo", source=source)).wait_answered()
        await call.rtp.wait_for_packets(45)
        latencies = round_trip_ms(call.rtp, period_ms=200)
    assert len(latencies) >= 4
    assert all(0 < latency < 200 for latency in latencies)


async def test_digits_go_both_ways(asterisk: LabAsterisk) -> None:
    async with Phone(0, "alice", (HOST, asterisk.sip_port)) as phone:
        call = await (await phone.call("echo")).wait_answered()
        await call.rtp.wait_for_packets(5)
        await call.send_digits("1*D")
        await call.rtp.wait_for(lambda rtp: rtp.digits == "1*D")


async def test_hold_and_unhold(asterisk: LabAsterisk) -> None:
    async with Phone(0, "alice", (HOST, asterisk.sip_port)) as phone:
        call = await (await phone.call("echo")).wait_answered()
        await call.hold()
        assert call.remote_direction == "recvonly"
        await call.unhold()
        assert call.remote_direction == "sendrecv"


async def test_an_agent_answers_a_queue_call_and_both_hear_each_other(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1) as pbx:
        server = (HOST, pbx.sip_port)
        async with (
            Phone(0, "alice", server, source=tone_source(1000)) as caller,
            Phone(pbx.ports.phones[0], "agent1", server, source=tone_source(600)) as agent,
        ):
            call = await caller.call("support")
            taken = await (await agent.next_call()).wait_answered()
            await call.wait_answered()
            await taken.rtp.wait_for_packets(30)
            await call.rtp.wait_for_packets(20)
            assert dominant_tone(taken.rtp.audio(last_ms=200), 8000).hz == pytest.approx(1000, abs=5)
            assert dominant_tone(call.rtp.audio(last_ms=200), 8000).hz == pytest.approx(600, abs=5)
            assert taken.peer == "alice"
            await taken.hang_up()
            await call.wait_ended()
            assert call.by_peer
        await pbx.until("queue show", lambda text: parse_queue_show(text)["support"]["completed"] == 1)
        counts = queue_log_counts(pbx.queue_log.read_text())["support"]
        assert counts == {"ENTERQUEUE": 1, "CONNECT": 1, "COMPLETEAGENT": 1}


async def test_what_an_agent_does_is_what_asterisk_counts(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1) as pbx:
        server = (HOST, pbx.sip_port)
        async with (
            Phone(0, "alice", server) as caller,
            Phone(pbx.ports.phones[0], "agent1", server, on_invite=RingForever()) as agent,
        ):
            call = await caller.call("support")
            ringing = await agent.next_call()
            await pbx.until("queue show", lambda text: len(parse_queue_show(text)["support"]["waiting"]) == 1)
            assert parse_queue_show(await pbx.cli("queue show"))["support"]["members"][0]["state"] == "ringing"
            await call.hang_up()
            await ringing.wait_ended()
            assert ringing.by_peer
            assert call.status == 487
            agent.on_invite = Reject(486)
            with pytest.raises(CallFailed) as refused:
                await (await caller.call("support-timeout")).wait_answered()
            assert refused.value.status >= 400
        counts = queue_log_counts(pbx.queue_log.read_text())["support"]
        assert counts["ABANDON"] == 1
        assert counts["EXITWITHTIMEOUT"] == 1
        assert counts["RINGNOANSWER"] >= 1


async def test_killed_it_comes_back_on_the_same_ports(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk() as pbx:
        ports, secret, pid = pbx.ports, pbx.ami_secret, pbx.pid
        await pbx.kill()
        assert not pbx.running
        with pytest.raises(LabError, match="Unable to connect"):
            await pbx.cli("core show version")
        await pbx.start()
        assert (pbx.ports, pbx.ami_secret) == (ports, secret)
        assert pbx.pid != pid
        await pbx.restart()
        async with Phone(0, "alice", (HOST, pbx.sip_port)) as phone:
            await (await phone.call("echo")).wait_answered()


async def test_stopped_it_leaves_nothing(make_asterisk: MakeAsterisk) -> None:
    pbx = make_asterisk()
    await pbx.start()
    folder, pid, ports = pbx.folder, pbx.pid, pbx.ports
    assert pid is not None
    assert os.getpgid(pid) != os.getpgrp(), "Ctrl-C of the terminal would reach it before stop()"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    await pbx.stop()
    await pbx.stop()
    assert not folder.exists()
    assert not _alive(pid)
    first = ports.ami - 1
    PortBlock(first, ports.rtp[1], phones=3, rtp_ports=200).close()


async def test_it_ends_when_the_process_that_started_it_is_killed(rootfs: Path, make_asterisk: MakeAsterisk) -> None:
    options = make_asterisk()
    script = (
        "import asyncio, pathlib, sys\n"
        "from connector.lab.asterisk import LabAsterisk\n"
        "async def main():\n"
        f"    async with LabAsterisk(pathlib.Path(sys.argv[1]), first_port={options._first_port}, "
        f"last_port={options._last_port}) as pbx:\n"
        "        print('PID', pbx.pid, pbx.folder, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(rootfs), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    async with asyncio.timeout(20):
        while not (line := await owner.stdout.readline()).startswith(b"PID "):
            assert line, "it did not start"
    _, pid, left = line.decode().split()
    folder = Path(left)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    for _ in range(250):
        if not _alive(int(pid)):
            break
        await asyncio.sleep(0.02)
    assert not _alive(int(pid))
    # What it could not remove itself, the next one does.
    async with make_asterisk(phones=1):
        assert not _exists(folder)


def _exists(path: Path) -> bool:
    return path.exists()


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def test_that_it_cannot_boot_is_said_with_its_last_words(make_asterisk: MakeAsterisk) -> None:
    pbx = make_asterisk(conf=LabConf(files={"modules.conf": "[modules]\nautoload = no\nrequire = res_nothing.so\n"}))
    with pytest.raises(LabError, match=r"the end of its log:\n(.|\n)*res_nothing"):
        await pbx.start()
    assert not pbx.running
    with pytest.raises(LabError, match="start\\(\\) it first"):
        _ = pbx.folder


async def test_a_directory_without_asterisk_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="scripts/rootfs"):
        await LabAsterisk(tmp_path).start()


async def test_two_stand_side_by_side(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1) as one, make_asterisk(phones=1) as other:
        assert one.folder != other.folder
        assert {one.ami_port, one.sip_port}.isdisjoint({other.ami_port, other.sip_port})
        assert one.ami_secret != other.ami_secret
        assert one.rtp_range[1] < other.rtp_range[0] or other.rtp_range[1] < one.rtp_range[0]
