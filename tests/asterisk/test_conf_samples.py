"""The samples of asterisk-conf/ on real Asterisk: TLS, trunk, phones, browser phone, calls through every pattern."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import NOISY_MODULES, LabConf, sample_conf_dir
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from tests.asterisk.conftest import CALLER_HZ, MakeAsterisk
from tests.asterisk.test_check import broken, findings_of
from tests.asterisk.tls_kit import PAGE, Tls, include_tls, make_certificates

BOT_HZ = 600
PATTERNS = ("bot-first", "assisted", "overflow", "campaign", "with-key", "spare")
PHONE_CONTEXT = "[from-phones](+)\n" + "".join(f"exten => {name},1,Goto(connector-{name},s,1)\n" for name in PATTERNS)
SPARE_BOT = "ws://127.0.0.1:8766/media"


@dataclass(frozen=True)
class Site:
    """An Asterisk with all of asterisk-conf/."""

    pbx: LabAsterisk
    tls: Tls
    spare_port: int


def sample(name: str) -> str:
    return (sample_conf_dir() / f"connector-{name}.conf").read_text("utf-8")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(make_asterisk: MakeAsterisk) -> AsyncIterator[Site]:
    modules = "".join(
        f"noload = {name}\n" for name in NOISY_MODULES.split() if name != "res_pjsip_transport_websocket.so"
    )
    conf = LabConf(
        files={"modules.conf": f"[modules]\nautoload = yes\n{modules}"},
        append={
            "extensions.conf": f"#include connector-patterns.conf\n{PHONE_CONTEXT}",
            "pjsip.conf": "#include connector-pjsip.conf",
            "features.conf": "[applicationmap]\n#include connector-features.conf",
            "websocket_client.conf": "#include connector-websocket-client.conf",
        },
    )
    async with make_asterisk(phones=1, conf=conf) as pbx:
        etc, spare = pbx.folder / "etc", pbx.ports.spare[10:]
        changes = {
            "pjsip": {"0.0.0.0:5070": f"{HOST}:{spare[0]}", "change-me": "phone-secret"},
            "patterns": {"Queue(support,,,,60)": "Queue(support,,,,2)"},
            "websocket-client": {SPARE_BOT: SPARE_BOT.replace("8766", str(spare[1]))},
        }
        for name, replaced in changes.items():
            text = sample(name)
            for old, new in replaced.items():
                assert old in text
                text = text.replace(old, new)
            (etc / f"connector-{name}.conf").write_text(text, "utf-8")
        tls = include_tls(pbx, spare[2], spare[3])
        await pbx.shut_down()
        (pbx.folder / "log" / "messages").unlink(missing_ok=True)
        await pbx.start()
        yield Site(pbx, tls, spare[1])


async def test_all_files_load_without_a_complaint_and_are_in_effect(site: Site) -> None:
    pbx = site.pbx
    assert pbx.log_lines() == []
    for context in re.findall(r"^\[([\w-]+)\]", sample("patterns") + sample("extensions"), re.MULTILINE):
        assert f"[ Context '{context}'" in await pbx.cli(f"dialplan show {context}")
    endpoints = await pbx.cli("pjsip show endpoints")
    for name in re.findall(r"^\[([\w-]+)\](?:\([\w-]+\))?\ntype = endpoint", sample("pjsip"), re.MULTILINE):
        assert f" {name} " in endpoints or f" {name}/" in endpoints
    assert re.search(r"webrtc +: yes", await pbx.cli("pjsip show endpoint ben"))
    transports = await pbx.cli("pjsip show transports")
    assert "connector-udp" in transports
    assert "connector-wss" in transports
    assert re.search(r"TLS Enable: +Yes", await pbx.cli("manager show settings"))
    assert str(site.tls.https_port) in await pbx.cli("http show status")


async def test_a_browser_phone_registers_by_wss(site: Site) -> None:
    """RFC 7118, with digest of RFC 2617, as a page's SIP library does it."""
    trusting = ssl.create_default_context(cafile=site.tls.ca)
    url = f"wss://{HOST}:{site.tls.https_port}/ws"
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url, protocols=("sip",), ssl=trusting, timeout=aiohttp.ClientWSTimeout(ws_close=0.2)
        ) as socket,
    ):
        call_id, tag = uuid.uuid4().hex, uuid.uuid4().hex[:8]

        async def register(number: int, authorization: str) -> str:
            await socket.send_str(
                f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bK{uuid.uuid4().hex}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:ben@{HOST}>;tag={tag}\r\nTo: <sip:ben@{HOST}>\r\n"
                f"Call-ID: {call_id}\r\nCSeq: {number} REGISTER\r\n"
                f"Contact: <sip:ben@x.invalid;transport=ws>;expires=60\r\n"
                f"{authorization}Content-Length: 0\r\n\r\n"
            )
            while True:
                answer = str(await socket.receive_str())
                if answer.startswith("SIP/2.0 ") and " 100 " not in answer.splitlines()[0]:
                    return answer

        challenge = await register(1, "")
        assert challenge.startswith("SIP/2.0 401")
        realm, nonce = (re.search(rf'{key}="([^"]+)"', challenge) for key in ("realm", "nonce"))
        assert realm is not None
        assert nonce is not None
        ha1 = md5(f"ben:{realm[1]}:phone-secret")
        ha2 = md5(f"REGISTER:sip:{HOST}")
        response = md5(f"{ha1}:{nonce[1]}:00000001:0a4f113b:auth:{ha2}")
        granted = await register(
            2,
            f'Authorization: Digest username="ben",realm="{realm[1]}",nonce="{nonce[1]}",uri="sip:{HOST}",'
            f'qop=auth,nc=00000001,cnonce="0a4f113b",algorithm=MD5,response="{response}"\r\n',
        )
        assert granted.startswith("SIP/2.0 200")
        assert "sip:ben@" in await site.pbx.cli("pjsip show aor ben")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# -- calls without a connector ------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def alice(site: Site) -> AsyncIterator[Phone]:
    async with Phone(0, "alice", (HOST, site.pbx.sip_port), source=tone_source(CALLER_HZ)) as phone:
        yield phone


@pytest_asyncio.fixture(loop_scope="session")
async def agent(site: Site) -> AsyncIterator[Phone]:
    async with Phone(
        site.pbx.ports.phones[0], "agent1", (HOST, site.pbx.sip_port), source=tone_source(CALLER_HZ)
    ) as phone:
        yield phone


async def test_people_first(site: Site, alice: Phone, agent: Phone) -> None:
    """What listens is proved in test_assist_live.py; nothing of it is in the dialplan."""
    calls = len(agent.calls)
    call = await alice.call("assisted")
    await (await agent.next_call(after=calls)).wait_answered()
    await call.hang_up()
    await until_nothing_left(site.pbx)


async def test_without_a_connector_asterisk_dials_the_spare_bot_where_it_can(
    site: Site, alice: Phone, agent: Phone
) -> None:
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def spare_bot(connection: ServerConnection) -> None:
        assert connection.request is not None
        first = await connection.recv()
        told.put_nowait((connection.request.path, str(first)))
        async for message in connection:
            if isinstance(message, bytes):
                await connection.send(message)

    calls = len(agent.calls)
    async with serve(spare_bot, HOST, site.spare_port, subprotocols=[Subprotocol("media")], compression=None):
        call = await alice.call("spare")
        if site.pbx.version.startswith("16."):
            await (await agent.next_call(after=calls)).wait_answered()  # it has no chan_websocket: the next line
        else:
            async with asyncio.timeout(10):
                path, started = await told.get()
            assert "MEDIA_START" in started
            assert parse_qs(urlsplit(path).query)["call"]
            await until_heard(call, CALLER_HZ)
        await call.hang_up()
    await until_nothing_left(site.pbx)


# -- calls, by a connector that knows nothing but TLS --------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def connector(
    site: Site, bot: RecordingBot, make_connector: Callable[..., ConnectorProcess]
) -> AsyncIterator[ConnectorProcess]:
    process = make_connector(
        beside=site.pbx,
        bots={"support": bot.url, "overflow": bot.url, "spring": bot.url, "coach": bot.url},
        pbx={"main": site.tls.settings(site.pbx)},
        profile={
            "coach": {"mode": "on_demand"},
            "spring": {"match": {"campaigns": ["spring"]}},
            # Where there is chan_websocket, this one's audio goes by wss:// to Asterisk.
            "overflow": {"audio": "rtp/ulaw" if site.pbx.version.startswith("16.") else "websocket/ulaw"},
        },
    )
    async with process:
        yield process


async def test_bot_first_then_the_queue(
    site: Site, connector: ConnectorProcess, bot: RecordingBot, alice: Phone, agent: Phone
) -> None:
    """Over TLS to AMI and ARI: audio both ways, then people."""
    after = len(bot.streams)
    call = await alice.call("bot-first")
    stream = await bot.next_stream(after=after)
    await stream.play(BOT_HZ, 5)
    await until_heard(call, BOT_HZ)
    await stream.until_heard(CALLER_HZ)
    assert stream.start["customParameters"]["queue"] == "support"
    calls = len(agent.calls)
    await stream.close()
    await (await agent.next_call(after=calls)).wait_answered()
    await call.hang_up()
    await until_nothing_left(site.pbx)


async def test_whom_nobody_answers_the_bot_takes(
    site: Site, connector: ConnectorProcess, bot: RecordingBot, alice: Phone
) -> None:
    """The only agent's phone is not there."""
    after = len(bot.streams)
    call = await alice.call("overflow")
    stream = await bot.next_stream(after=after)
    assert stream.start["customParameters"]["why"] == "TIMEOUT"
    await stream.play(BOT_HZ, 5)
    await until_heard(call, BOT_HZ)
    await stream.until_heard(CALLER_HZ)
    await call.hang_up()
    await stream.closed.wait()
    await until_nothing_left(site.pbx)


async def test_a_campaign_chooses_the_bot(site: Site, connector: ConnectorProcess, bot: RecordingBot) -> None:
    after = len(bot.streams)
    await site.pbx.cli("channel originate Local/answer@agents extension spring@connector-campaign")
    stream = await bot.next_stream(after=after)
    assert stream.start["customParameters"]["campaign"] == "spring"
    assert stream.start["customParameters"]["direction"] == "outbound"
    await site.pbx.cli("channel request hangup all")
    await stream.closed.wait()
    await until_nothing_left(site.pbx)


async def test_the_agent_calls_a_listening_server_in_by_a_key(
    site: Site, connector: ConnectorProcess, bot: RecordingBot, alice: Phone, agent: Phone
) -> None:
    after, calls = len(bot.streams), len(agent.calls)
    call = await alice.call("with-key")
    conversation = await (await agent.next_call(after=calls)).wait_answered()
    await call.wait_answered()
    await conversation.rtp.wait_for_packets(20)
    await conversation.send_digits("*55")
    stream = await bot.next_stream(after=after)
    assert {"inbound", "outbound"} >= set(stream.start["tracks"])
    await stream.until_heard(CALLER_HZ)
    await call.hang_up()
    await stream.closed.wait()
    await until_nothing_left(site.pbx)


# -- a certificate that is not trusted -----------------------------------------------------------------------------


async def test_another_ca_is_refused_before_anything_is_sent(
    site: Site, make_connector: Callable[..., ConnectorProcess], tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "keys")
    process = make_connector(
        beside=site.pbx,
        bots={},
        ports=site.pbx.ports.spare[4:],
        pbx={"main": site.tls.settings(site.pbx, ca=other)},
        log={"format": "json"},
    )
    await process.start(ready=False)
    try:
        assert process.log_file is not None
        said = await until_logged(process.log_file, {"ami_refused", "ari_refused"})
    finally:
        await process.stop()
    assert "the certificate is not trusted" in said["ami_refused"]
    assert "the certificate is not trusted" in said["ari_refused"]
    assert "ari.tls_ca_file" in said["ari_refused"]
    assert site.pbx.ari_password not in process.log_file.read_text()


async def until_logged(log_file: Path, events: set[str]) -> dict[str, str]:
    """Waits for these lines; returns what each says."""
    async with asyncio.timeout(60):
        while True:
            lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
            said = {line["event"]: str(line.get("detail", "")) for line in lines}
            if events <= said.keys():
                return said
            await asyncio.sleep(0.05)


# -- FreePBX -------------------------------------------------------------------------------------------------------

FREEPBX = {
    "manager.conf": "[general]\nenabled = yes\nport = {ami}\nbindaddr = 127.0.0.1\ndisplayconnects=no\n\n"
    "[admin]\nsecret = amp\ndeny=0.0.0.0/0.0.0.0\npermit=127.0.0.1/255.255.255.0\nread = all\nwrite = all\n"
    "writetimeout = 5000\n\n#include manager_additional.conf\n#include manager_custom.conf\n",
    "http.conf": "[general]\n#include http_additional.conf\n#include http_custom.conf\n",
    "http_additional.conf": "enabled=no\nbindaddr=127.0.0.1\nbindport={http}\nprefix=\nsessionlimit=100\n",
    "ari.conf": "[general]\n#include ari_general_additional.conf\n#include ari_general_custom.conf\n\n"
    "#include ari_additional.conf\n#include ari_additional_custom.conf\n",
    "ari_general_additional.conf": "enabled=yes\npretty=no\nwebsocket_write_timeout=100\n",
    "ari_additional.conf": "[freepbxuser]\ntype=user\npassword=made-by-freepbx\npassword_format=plain\nread_only=no\n",
    "extensions_custom.conf": "#include connector-extensions.conf\n{sample}\n"
    "[ext-queues]\nexten => 7000,1,Queue(support)\n",
}
"""Laid out as FreePBX 16 and 17 write them; `{sample}` is that of docs/freepbx.md."""


def page_includes() -> dict[str, str]:
    """What the page says to add, by file."""
    page = (PAGE.parent / "freepbx.md").read_text("utf-8")
    return dict(re.findall(r"^\| `/etc/asterisk/([\w.]+)` \| `(#include [\w.-]+)` \|$", page, re.MULTILINE))


def page_dialplan() -> str:
    page = (PAGE.parent / "freepbx.md").read_text("utf-8")
    found = re.search(r"^```\n(\[connector-freepbx\]\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


async def test_our_files_have_their_place_among_those_of_freepbx(make_asterisk: MakeAsterisk) -> None:
    route = "[from-phones](+)\nexten => freepbx,1,Goto(connector-freepbx,7000,1)"
    async with make_asterisk(phones=1, conf=LabConf(extensions=route)) as pbx:
        etc = pbx.folder / "etc"
        files = dict.fromkeys(re.findall(r"#include (\w+\.conf)", "".join(FREEPBX.values())), "")
        files |= {name: f"{line}\n" for name, line in page_includes().items()}
        assert len(files) > len(page_includes()) == 4
        values = {"ami": pbx.ports.ami, "http": pbx.ports.http, "sample": page_dialplan()}
        for name, text in (files | FREEPBX).items():
            for key, value in values.items():
                text = text.replace(f"{{{key}}}", str(value))
            (etc / name).write_text(text, "utf-8")
        extensions = (etc / "extensions.conf").read_text("utf-8")
        (etc / "extensions.conf").write_text(
            extensions.replace("#include connector-extensions.conf", "#include extensions_custom.conf"), "utf-8"
        )
        await pbx.restart()
        assert pbx.log_lines() == []
        assert broken(await findings_of(pbx)) == set()
        server = (HOST, pbx.sip_port)
        async with Phone(0, "alice", server) as caller, Phone(pbx.ports.phones[0], "agent1", server) as agent:
            call = await caller.call("freepbx")
            await (await agent.next_call()).wait_answered()
            await call.hang_up()
