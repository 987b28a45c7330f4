"""asterisk-conf/ on real Asterisk: it loads without a complaint, and gives the rights it should and no others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.capture import AmiRecorder
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.useragent import HOST

MakeAsterisk = Callable[..., LabAsterisk]

WANTED_EVENTS = {
    *("QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon"),
    *("AgentCalled", "AgentConnect", "AgentComplete", "AgentRingNoAnswer"),
    *("QueueMemberAdded", "QueueMemberRemoved", "QueueMemberStatus", "QueueMemberPause"),
    *("QueueMemberPenalty", "QueueMemberRinginuse"),
    *("Newchannel", "Newstate", "Hangup", "HangupRequest", "SoftHangupRequest", "VarSet", "Newexten"),
    *("BridgeEnter", "DialEnd", "Hold", "Unhold", "AttendedTransfer", "BlindTransfer"),
    *("ContactStatus", "PeerStatus", "Registry", "FullyBooted", "Reload", "Shutdown"),
}
"""What connector.events is made from."""

EVERYTHING = "[everything]\nsecret = test\nread = all\nwrite = all\npermit = 127.0.0.1/255.255.255.255"


@asynccontextmanager
async def monitor(pbx: LabAsterisk) -> AsyncIterator[AmiRecorder]:
    ami = await AmiRecorder.connect(pbx.ami_port, pbx.ami_user, pbx.ami_secret)
    try:
        yield ami
    finally:
        await ami.close()


async def answered_queue_call(pbx: LabAsterisk) -> None:
    server = (HOST, pbx.sip_port)
    async with Phone(0, "alice", server) as caller, Phone(pbx.ports.phones[0], "agent1", server) as agent:
        call = await (await caller.call("support")).wait_answered()
        await (await agent.next_call()).rtp.wait_for_packets(5)
        await call.hang_up()
    await pbx.until("core show channels count", lambda text: "0 active channels" in text)


async def test_the_files_load_without_a_complaint(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk() as pbx:
        assert pbx.log_lines() == []
        assert "support" in await pbx.cli("queue show")
        assert "connector" in await pbx.cli("manager show users")
        assert "connector" in await pbx.cli("ari show users")
        assert "Stasis(connector,${ARG1})" in await pbx.cli("dialplan show connector-bot")


async def test_the_files_join_those_that_asterisk_is_delivered_with(make_asterisk: MakeAsterisk, rootfs: Path) -> None:
    stock = {}
    for name in ("manager", "http", "ari", "queues", "extensions"):
        text = (rootfs / f"etc/asterisk/{name}.conf").read_text("utf-8", "replace")
        text = text.replace('#include "manager.d/*.conf"', "")  # Debian's, and empty
        stock[f"{name}.conf"] = f"{text}\n#include connector-{name}.conf\n"
    async with make_asterisk() as probe:  # its ports are free once it is gone
        ami, http = probe.ports.ami, probe.ports.http
    stock["manager.conf"] += f"[general](+)\nport = {ami}\nbindaddr = 127.0.0.1\n"
    stock["http.conf"] += f"[general](+)\nbindport = {http}\nbindaddr = 127.0.0.1\n"
    async with make_asterisk(conf=LabConf(files=stock)) as pbx:
        assert [line for line in pbx.log_lines() if "category" in line.lower() or "connector" in line] == []
        recorder = await AmiRecorder.connect(ami, pbx.ami_user, pbx.ami_secret)
        await recorder.close()
        assert await ari_status(f"http://{HOST}:{http}/ari", pbx.ari_user, pbx.ari_password) == 200


async def test_the_monitor_may_read_what_it_needs(asterisk: LabAsterisk) -> None:
    async with monitor(asterisk) as ami:
        status = await ami.ask("QueueStatus", ActionID="1")
        assert {"QueueParams", "QueueMember"} <= {message.get("Event") for message in status}
        assert (await ami.ask("CoreShowChannels", ActionID="2"))[0]["Response"] == "Success"
        assert (await ami.ask("QueueSummary", ActionID="3"))[0]["Response"] == "Success"
        assert (await ami.ask("Ping", ActionID="4"))[0]["Response"] == "Success"
        for key, value in zip(("rtpstart", "rtpend"), asterisk.rtp_range, strict=True):
            variable = f"AST_CONFIG(rtp.conf,general,{key})"
            assert (await ami.ask("Getvar", ActionID=key, Variable=variable))[0]["Value"] == str(value)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("Originate", {"Channel": "Local/echo@from-phones", "Application": "Wait", "Data": "1"}),
        ("Command", {"Command": "core show channels"}),
        ("GetConfig", {"Filename": "manager.conf"}),
        ("GetConfigJSON", {"Filename": "manager.conf"}),
        ("UpdateConfig", {"SrcFilename": "manager.conf", "DstFilename": "manager.conf"}),
        ("DBPut", {"Family": "a", "Key": "b", "Val": "c"}),
        ("ModuleLoad", {"LoadType": "reload"}),
        ("Filter", {"Operation": "Add", "Filter": "Event: .*"}),
    ],
)
async def test_the_monitor_may_do_nothing_else(asterisk: LabAsterisk, action: str, fields: dict[str, str]) -> None:
    async with monitor(asterisk) as ami:
        answer = (await ami.ask(action, ActionID="denied", **fields))[0]
    assert answer["Response"] == "Error"
    assert answer["Message"] == "Permission denied"


async def test_the_monitor_cannot_be_used_from_elsewhere(asterisk: LabAsterisk) -> None:
    reader, writer = await asyncio.open_connection(HOST, asterisk.ami_port, local_addr=("127.0.0.2", 0))
    await reader.readline()
    writer.write(
        f"Action: Login\r\nUsername: {asterisk.ami_user}\r\nSecret: {asterisk.ami_secret}\r\n\r\n".encode("ascii")
    )
    assert b"Response: Error" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_the_event_filter_passes_what_is_wanted_and_little_else(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, conf=LabConf(append={"manager.conf": EVERYTHING})) as pbx, monitor(pbx) as ami:
        everything = await AmiRecorder.connect(pbx.ami_port, "everything", "test")
        await answered_queue_call(pbx)
        await ami.wait_for("Event: Hangup\r\n", count=2)
        await everything.wait_for("Event: Hangup\r\n", count=2)
        await everything.close()
        # Each login gets a FullyBooted of its own.
        seen = [message for message in ami.messages() if message.get("Event") not in (None, "FullyBooted")]
        assert {message["Event"] for message in seen} <= WANTED_EVENTS
        assert {"QueueCallerJoin", "AgentConnect", "AgentComplete", "QueueMemberStatus"} <= {
            message["Event"] for message in seen
        }
        assert all("Timestamp" in message for message in seen)
        wanted = [
            message["Event"]
            for message in everything.messages()
            if message.get("Event") in WANTED_EVENTS - {"VarSet", "FullyBooted"}
            and message.get("Application", "Queue") == "Queue"
        ]
        assert [message["Event"] for message in seen] == wanted
        assert len(ami.data) < len(everything.data) / 2


async def test_why_a_caller_left_passes_the_filter_and_no_other_variable_does(asterisk: LabAsterisk) -> None:
    async with monitor(asterisk) as ami, Phone(0, "alice", (HOST, asterisk.sip_port)) as caller:
        await (await caller.call("support-empty")).wait_ended()
        await ami.wait_for("Event: Hangup\r\n")
        variables = [(m["Variable"], m["Value"]) for m in ami.messages() if m.get("Event") == "VarSet"]
    assert variables == [("QUEUESTATUS", "JOINEMPTY")]


async def ari_status(url: str, user: str, password: str) -> int:
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Basic {basic}"}) as session,
        session.get(f"{url}/applications") as answer,
    ):
        return answer.status


async def test_ari_asks_for_the_password(asterisk: LabAsterisk) -> None:
    assert await ari_status(asterisk.ari_url, asterisk.ari_user, asterisk.ari_password) == 200
    assert await ari_status(asterisk.ari_url, asterisk.ari_user, "change-me") == 401


@pytest.mark.parametrize("exten", ["bot-then-mark", "bot_someprofile"])
async def test_without_a_connector_the_call_goes_on_in_the_dialplan(asterisk: LabAsterisk, exten: str) -> None:
    async with Phone(0, "alice", (HOST, asterisk.sip_port)) as caller:
        call = await (await caller.call(exten)).wait_answered(timeout_s=2)
        await call.rtp.wait_for_packets(15)
        heard = dominant_tone(call.rtp.audio(last_ms=200), 8000)
    assert heard.hz == pytest.approx(1300, abs=10)
    assert heard.share > 0.9


async def test_without_a_connector_the_inline_pattern_reaches_the_queue(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1) as pbx:
        server = (HOST, pbx.sip_port)
        async with Phone(0, "alice", server) as caller, Phone(pbx.ports.phones[0], "agent1", server) as agent:
            call = await caller.call("inline")
            await (await agent.next_call()).wait_answered()
            await call.wait_answered()
