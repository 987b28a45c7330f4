"""The parts of `connector check` that need no Asterisk: rights, versions, ranges, ports, limits, bots, greetings."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connector.asterisk.pbx_facts import RtpRange
from connector.check import manager, own
from connector.check.findings import Cause, Finding, Findings, Level
from connector.check.run import check_range
from connector.check.stasis import check_version
from connector.check.tones import MAX_PACKETS, RtpPort
from connector.config import AmiSettings, HttpSettings, MediaSettings, Settings
from connector.media.rtp import RtpPacket, build

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def only(findings: Findings) -> tuple[Level, Cause]:
    (finding,) = findings
    return finding.level, finding.cause


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(**changes: Any) -> Settings:
    pbx = {"main": {"ami": {"secret": "x"}, "ari": {"password": "x"}}}
    return Settings.model_validate({"pbx": pbx, **changes})


# -- findings -----------------------------------------------------------------------------------------------------


def test_a_finding_as_text_and_as_json() -> None:
    finding = Finding(Level.WARNING, "media", Cause.BOT, "all is well: nothing to do")
    assert str(finding) == "warning  media: all is well: nothing to do"
    assert finding.as_dict() == {
        "level": "warning",
        "subject": "media",
        "cause": "bot",
        "text": "all is well: nothing to do",
    }


# -- AMI ----------------------------------------------------------------------------------------------------------


def test_rights_beyond_what_is_used_are_excess() -> None:
    listed = {
        "Response": "Success",
        "Ping": "Keepalive command.  (Priv: <none>)",
        "Getvar": "Gets a channel variable.  (Priv: call,reporting,all)",
        "QueuePause": "Makes a queue member temporarily unavailable.  (Priv: agent,all)",
        "Originate": "Originate a call.  (Priv: originate,all)",
        "Command": "Execute Asterisk CLI Command.  (Priv: command,all)",
    }
    assert manager.excess_rights(listed) == ["Command", "Originate"]
    assert manager.excess_rights({"Odd": "no privileges at all"}) == []


async def reached(port: int, **changes: Any) -> Findings:
    findings = Findings()
    ami = AmiSettings.model_validate({"host": "127.0.0.1", "port": port, "secret": "x", **changes})
    assert await manager.reach("pbx.main.ami", ami, findings) is not bool(findings)
    return findings


async def test_the_greeting_tells_a_manager_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "CONNECT_S", 0.3)

    def saying(text: bytes) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            await silent(reader, writer)

        return serve

    async with server(saying(b"Asterisk Call Manager/11.0.0\r\n")) as port:
        assert await reached(port) == []
        assert only(await reached(port, tls=True)) == (Level.ERROR, Cause.AMI_TLS)
    async with server(saying(b"SSH-2.0-OpenSSH\r\n")) as port:
        findings = await reached(port)
        assert only(findings) == (Level.ERROR, Cause.AMI_NOT_AMI)
        assert "SSH-2.0" in findings[0].text
    async with server(silent) as port:
        assert only(await reached(port)) == (Level.ERROR, Cause.AMI_NOT_AMI)
        assert only(await reached(port, tls=True)) == (Level.ERROR, Cause.AMI_TIMEOUT)
    assert only(await reached(unused_port())) == (Level.ERROR, Cause.AMI_REFUSED)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(-2, "Name or service not known"), Cause.AMI_HOST),
        (OSError(113, "No route to host"), Cause.AMI_UNREACHABLE),
    ],
)
async def test_a_host_out_of_reach(monkeypatch: pytest.MonkeyPatch, error: OSError, cause: Cause) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert only(await reached(5038)) == (Level.ERROR, cause)


# -- ARI ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", Level.OK),
        ("16.28.0~dfsg-0+deb11u10", Level.OK),
        ("16.6.0", Level.OK),
        ("16.5.1", Level.ERROR),
        ("13.38.3", Level.ERROR),
        ("23.1.0", Level.OK),
        ("24.0.0", Level.WARNING),
        ("certified-18.9-cert5", Level.OK),
        ("GIT-master-1a2b3c", Level.WARNING),
        ("", Level.WARNING),
    ],
)
def test_versions(version: str, level: Level) -> None:
    findings = Findings()
    assert check_version("pbx.main.ari", version, findings) is (level is not Level.ERROR)
    assert (findings[0].level, findings[0].cause) == (level, Cause.VERSION)
    assert {(each.level, each.cause) for each in findings[1:]} <= {(Level.OK, Cause.VERSION_QUIRK)}


# -- RTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "of_pbx", "of_node", "level", "says"),
    [
        (10_001, 0, 100, Level.OK, "enough for 100 streams"),
        (200, 0, 100, Level.WARNING, "25 streams fit and not the 100 of media.max_streams"),
        (200, 30, 100, Level.WARNING, "not the 30 of max_streams of the PBX: widen rtpstart to rtpend to 240 ports"),
        (200, 25, 100, Level.OK, "enough for 25 streams"),
        (6, 0, 100, Level.ERROR, "too few for any stream"),
    ],
)
def test_the_range_against_the_limits(ports: int, of_pbx: int, of_node: int, level: Level, says: str) -> None:
    findings = Findings()
    both = settings(media={"max_streams": of_node})
    pbx = both.pbx["main"].model_copy(update={"max_streams": of_pbx})
    check_range("pbx.main.rtp", RtpRange(10_000, 10_000 + ports - 1), pbx, both, findings)
    assert only(findings) == (level, Cause.RTP_RANGE)
    assert says in findings[0].text


async def test_what_comes_to_our_port_is_bounded_and_checked() -> None:
    port = RtpPort(39_000)
    packet = build(RtpPacket(0, 1, 160, 1, b"\xff" * 160))
    for _ in range(MAX_PACKETS + 10):
        port.datagram_received(packet, ("127.0.0.1", 5000))
    for bad in (b"", b"x", packet[:11], b"\x00" + packet[1:]):
        port.datagram_received(bad, ("127.0.0.1", 5002))
    assert {source: len(heard) for source, heard in port.payloads.items()} == {("127.0.0.1", 5000): MAX_PACKETS}
    port.clear()
    port.datagram_received(packet, ("127.0.0.1", 5000))
    assert len(port.payloads) == 1


# -- this machine -------------------------------------------------------------------------------------------------


def test_the_http_port() -> None:
    findings = Findings()
    own.check_http(HttpSettings(port=unused_port()), False, findings)
    assert only(findings) == (Level.OK, Cause.HTTP_PORT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for running, level in ((False, Level.ERROR), (True, Level.OK)):
            findings = Findings()
            own.check_http(HttpSettings(port=taken.getsockname()[1]), running, findings)
            assert only(findings) == (level, Cause.HTTP_PORT)
    findings = Findings()
    own.check_http(HttpSettings(plain=True, host="192.0.2.1"), False, findings)
    assert only(findings) == (Level.ERROR, Cause.HTTP_PORT)
    assert "address of this machine" in findings[0].text


def test_the_port_of_each_media_worker() -> None:
    findings = Findings()
    assert own.bind_media(MediaSettings(bind_host="192.0.2.1", workers=3), False, findings) == []
    assert only(findings) == (Level.ERROR, Cause.MEDIA_PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        for running, level in ((False, Level.ERROR), (True, Level.OK)):
            findings = Findings()
            (other,) = own.bind_media(MediaSettings(bind_port=number, workers=1), running, findings)
            assert other.getsockname()[1] != number
            other.close()
            assert only(findings) == (level, Cause.MEDIA_PORT)
        findings = Findings()
        for each in own.bind_media(MediaSettings(bind_port=number - 1, workers=2), False, findings):
            each.close()
        assert [finding.level for finding in findings] == [Level.OK, Level.ERROR], "the second worker's is taken"
        assert f":{number} is taken" in findings[1].text
    findings = Findings()
    (free,) = own.bind_media(MediaSettings(bind_port=number, workers=1), False, findings)
    assert free.getsockname()[1] == number
    free.close()
    assert only(findings) == (Level.OK, Cause.MEDIA_PORT)


@pytest.mark.parametrize(
    ("body", "status", "expected"), [('{"status": "ok"}', 200, True), ("<html>", 200, False), ("", 404, False)]
)
async def test_a_connector_is_known_by_its_health(body: str, status: int, expected: bool) -> None:
    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        assert await own.connector_runs(HttpSettings(port=port)) is expected
        assert await own.connector_runs(HttpSettings(plain=True, host="0.0.0.0", port=port)) is expected
    finally:
        await runner.cleanup()
    assert await own.connector_runs(HttpSettings(port=unused_port())) is False


@pytest.mark.parametrize(
    ("soft", "hard", "level", "says"),
    [
        (1_024, 4_096, Level.OK, "100 streams fit"),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, Level.OK, "100 streams fit"),
        (200, 4_096, Level.ERROR, "ulimit -n 228"),
        (200, 200, Level.ERROR, "root has to"),
    ],
)
def test_file_descriptors(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, level: Level, says: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    findings = Findings()
    own.check_descriptors(MediaSettings(max_streams=100), findings)
    assert only(findings) == (level, Cause.FILE_DESCRIPTORS)
    assert says in findings[0].text


async def bot(url: str) -> Finding:
    findings = Findings()
    await own.check_bots(settings(profile={"support": {"url": url, "connect_timeout_ms": 300}}), findings)
    (finding,) = findings
    assert finding.subject == "profile.support"
    return finding


async def test_bots() -> None:
    async with server(silent) as port:
        assert (await bot(f"ws://127.0.0.1:{port}/")).level is Level.OK
        slow = await bot(f"wss://127.0.0.1:{port}/")
        assert (slow.level, "within 0.3 s" in slow.text) == (Level.WARNING, True)
    down = await bot(f"ws://127.0.0.1:{unused_port()}/")
    assert (down.level, "nothing listens" in down.text) == (Level.WARNING, True)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await silent(reader, writer)

    async with server(plain) as port:
        found = await bot(f"wss://127.0.0.1:{port}/")
        assert (found.level, "does not speak TLS" in found.text) == (Level.WARNING, True)


async def test_no_bot_at_all() -> None:
    findings = Findings()
    await own.check_bots(settings(), findings)
    assert only(findings) == (Level.WARNING, Cause.BOT)
