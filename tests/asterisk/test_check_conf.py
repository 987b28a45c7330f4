"""`connector check` against what the PBX's files say: one Asterisk, one line changed at a time, and back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from connector.check import Cause, Finding
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from tests.asterisk.conftest import MakeAsterisk
from tests.asterisk.test_check import AMI, ARI, TONES_LEFT_OUT, Broken, E, W, broken, findings_of, text_of
from tests.asterisk.tls_kit import Tls, include_tls, make_certificates

Change = Callable[[str], str]

APP_IN_USE = """
[from-phones](+)
exten => named,1,Stasis(connector,echo)
 same => n,Hangup()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pbx(make_asterisk: MakeAsterisk) -> AsyncIterator[LabAsterisk]:
    async with make_asterisk(phones=1, conf=LabConf(extensions=APP_IN_USE)) as ours:
        yield ours


@asynccontextmanager
async def changed(pbx: LabAsterisk, name: str, change: Change, *commands: str) -> AsyncIterator[None]:
    """One file is other than it was; Asterisk is told by the commands, and again when it is as before."""
    path = pbx.folder / "etc" / name
    before = path.read_text("utf-8")
    path.write_text(change(before), "utf-8")
    assert path.read_text("utf-8") != before
    try:
        for command in commands:
            await pbx.cli(command)
        yield
    finally:
        path.write_text(before, "utf-8")
        for command in commands:
            await pbx.cli(command)


def added(text: str) -> Change:
    return lambda before: f"{before}\n{text}\n"


def without(word: str) -> Change:
    return lambda before: "".join(line for line in before.splitlines(keepends=True) if not line.startswith(word))


async def test_a_healthy_set_up_is_read_without_a_line_in_asterisks_log(pbx: LabAsterisk) -> None:
    findings = await findings_of(pbx)
    assert broken(findings) == set()
    causes = {finding.cause for finding in findings}
    assert {Cause.PBX_CONF, Cause.PBX_LIMITS, Cause.CLOCK, Cause.DIALPLAN, Cause.DISK} <= causes
    assert (Cause.VERSION_QUIRK in causes) is pbx.version.startswith("16.")
    # A WebSocket that is closed while Asterisk reads makes a line now and then; no setting is meant by it.
    assert [line for line in pbx.log_lines() if "WebSocket read error" not in line] == []


@pytest.mark.parametrize(
    ("name", "change", "commands", "expected", "named"),
    [
        pytest.param(
            "manager.conf",
            added("[connector](+)\nwritetimeout = 100"),
            ("manager reload",),
            {(AMI, Cause.AMI_WRITE_TIMEOUT, W)},
            ("100 ms", "writetimeout = 5000", "manager.conf"),
            id="writetimeout",
        ),
        pytest.param(
            "connector-manager.conf",
            without("writetimeout"),
            ("manager reload",),
            {(AMI, Cause.AMI_WRITE_TIMEOUT, W)},
            ("100 ms",),
            id="writetimeout by default",
        ),
        pytest.param(
            "connector-manager.conf",
            without("eventfilter"),
            ("manager reload",),
            {(AMI, Cause.AMI_FILTER, W)},
            ("eventfilter", "connector-manager.conf"),
            id="no eventfilter",
        ),
        pytest.param(
            "manager.conf",
            added("[connector](+)\neventfilter = !^Event: QueueCaller"),
            ("manager reload",),
            {(AMI, Cause.AMI_EVENTS, E)},
            ("QueueCallerJoin, QueueCallerLeave, QueueCallerAbandon", "connector-manager.conf"),
            id="eventfilter too strict",
        ),
        pytest.param(
            "http.conf",
            added("[general](+)\nsessionlimit = 10"),
            ("module reload http",),
            {(ARI, Cause.HTTP_SESSIONS, W)},
            ("takes 10 connections", "sessionlimit = 100"),
            id="sessionlimit",
        ),
        pytest.param(
            "http.conf",
            added("[general](+)\nbindaddr = 0.0.0.0"),
            (),  # what is read is the file: nothing listens there in a test
            {(ARI, Cause.HTTP_OPEN, W)},
            ("bindaddr = 127.0.0.1", "connector-http-tls.conf"),
            id="bindaddr",
        ),
        pytest.param(
            "connector-ari.conf",
            without("websocket_write_timeout"),
            ("module reload res_ari.so",),
            {(ARI, Cause.ARI_WRITE_TIMEOUT, W)},
            ("100 ms", "websocket_write_timeout = 5000"),
            id="websocket_write_timeout",
        ),
        pytest.param(
            "ari.conf",
            added("[general](+)\nallowed_origins = *"),
            ("module reload res_ari.so",),
            {(ARI, Cause.ARI_ORIGINS, W)},
            ("allowed_origins",),
            id="allowed_origins",
        ),
        pytest.param(
            "extensions.conf",
            added("[from-phones](+)\nexten => wrong,1,Stasis(connector,nobody,queue=support)"),
            ("dialplan reload",),
            {(ARI, Cause.DIALPLAN, W)},
            ("nobody", "[profile.NAME]"),
            id="profile of the dialplan",
        ),
    ],
)
async def test_a_line_of_a_file(
    pbx: LabAsterisk, name: str, change: Change, commands: tuple[str, ...], expected: Broken, named: tuple[str, ...]
) -> None:
    async with changed(pbx, name, change, *commands):
        findings = await findings_of(pbx)
    assert broken(findings) == expected
    (text,) = {text_of(findings, cause) for _, cause, _ in expected}
    assert [word for word in named if word not in text] == []


async def test_no_line_of_the_dialplan_hands_calls_over(pbx: LabAsterisk) -> None:
    findings = await findings_of(pbx, pbx__main__ari__app="another")
    assert broken(findings) == {(ARI, Cause.DIALPLAN, W)}
    assert "Stasis(another,...)" in text_of(findings, Cause.DIALPLAN)


@pytest.mark.parametrize(("ahead_s", "said"), [(10.0, "10.0 s behind"), (-10.0, "10.0 s ahead of")])
async def test_clocks_differ(pbx: LabAsterisk, ahead_s: float, said: str) -> None:
    """The PBX's is real, ours is put forward and back."""
    findings = await findings_of(pbx, clock=lambda: time.time() + ahead_s)
    assert broken(findings) == {(AMI, Cause.CLOCK, W)}
    assert said in text_of(findings, Cause.CLOCK)
    assert "NTP" in text_of(findings, Cause.CLOCK)


async def test_nothing_can_be_written_and_no_room(pbx: LabAsterisk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = await findings_of(pbx, store={"directory": tmp_path / "file" / "history"})
    assert broken(findings) == {("store", Cause.DISK, W)}
    assert "store.directory" in text_of(findings, Cause.DISK)
    findings = await findings_of(pbx, store={"directory": tmp_path, "spool_max_bytes": 10**17})
    assert broken(findings) == {("store", Cause.DISK, W)}
    assert "make room" in text_of(findings, Cause.DISK)


# -- what takes a restart ------------------------------------------------------------------------------------------


async def test_limits_of_asterisk_itself(pbx: LabAsterisk) -> None:
    async with changed(pbx, "asterisk.conf", added("maxcalls = 20\nmaxfiles = 150\nmaxload = 50")):
        await pbx.restart()
        findings = await findings_of(pbx)
    await pbx.restart()
    assert broken(findings) == {(ARI, Cause.PBX_LIMITS, W)}
    texts = " ".join(finding.text for finding in findings if finding.cause is Cause.PBX_LIMITS)
    # 16 as Debian builds it cannot tell the load, and says so at its start: maxload is off.
    limits = ["maxcalls", "maxfiles"] if pbx.version.startswith("16.") else ["maxcalls", "maxfiles", "maxload"]
    assert [key for key in limits if key not in texts] == []


async def test_nothing_keeps_time_and_a_codec_is_missing(pbx: LabAsterisk) -> None:
    timing = "".join(f"noload = res_timing_{kind}.so\n" for kind in ("timerfd", "pthread", "dahdi", "kqueue"))
    async with changed(pbx, "modules.conf", added(f"{timing}noload = codec_g722.so")):
        await pbx.restart()
        findings = await findings_of(pbx, pbx__main__audio="rtp/g722")
    await pbx.restart()
    assert broken(findings) == {(ARI, Cause.MODULES, E), (ARI, Cause.AUDIO, E), TONES_LEFT_OUT}
    assert "res_timing_timerfd.so" in text_of(findings, Cause.MODULES)
    assert "codec_g722.so" in text_of(findings, Cause.AUDIO)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tls(pbx: LabAsterisk) -> AsyncIterator[Tls]:
    speaking = include_tls(pbx, *pbx.ports.spare[8:10])
    await pbx.restart()
    yield speaking


async def with_tls(pbx: LabAsterisk, values: dict[str, Any]) -> list[Finding]:
    return await findings_of(pbx, pbx__main__ami=values["ami"], pbx__main__ari=values["ari"])


async def test_tls_with_a_trusted_certificate(pbx: LabAsterisk, tls: Tls) -> None:
    findings = await with_tls(pbx, tls.settings(pbx))
    assert broken(findings) == set()
    assert {f.subject for f in findings if f.cause is Cause.CERTIFICATE_END} == {AMI, ARI}


async def test_a_certificate_of_another_ca(pbx: LabAsterisk, tls: Tls, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "keys")
    refused = {(AMI, Cause.AMI_CERTIFICATE, E), (ARI, Cause.ARI_CERTIFICATE, E), TONES_LEFT_OUT}
    findings = await with_tls(pbx, tls.settings(pbx, ca=other))
    assert broken(findings) == refused
    assert "ami.tls_ca_file" in text_of(findings, Cause.AMI_CERTIFICATE)
    assert "ari.tls_ca_file" in text_of(findings, Cause.ARI_CERTIFICATE)
    values = tls.settings(pbx)
    del values["ami"]["tls_ca_file"], values["ari"]["tls_ca_file"]  # the system does not know it
    assert broken(await with_tls(pbx, values)) == refused
    values = tls.settings(pbx, ca=tmp_path / "none.crt")
    assert broken(await with_tls(pbx, values)) == {
        (AMI, Cause.AMI_CERTIFICATE, E),
        (ARI, Cause.ARI_CERTIFICATE, E),
    }


async def test_tls_to_plain_ports_and_the_other_way_round(pbx: LabAsterisk, tls: Tls) -> None:
    values = tls.settings(pbx)
    values["ami"]["port"] = pbx.ami_port
    values["ari"]["url"] = pbx.ari_url.replace("http:", "https:")
    findings = await with_tls(pbx, values)
    assert broken(findings) == {(AMI, Cause.AMI_TLS, E), (ARI, Cause.ARI_TLS, E), TONES_LEFT_OUT}
    values = {
        "ami": {"port": tls.ami_port, "secret": pbx.ami_secret},
        "ari": {"url": tls.ari_url.replace("https:", "http:"), "password": pbx.ari_password},
    }
    findings = await with_tls(pbx, values)
    assert broken(findings) == {(AMI, Cause.AMI_NOT_AMI, E), (ARI, Cause.ARI_UNREACHABLE, E), TONES_LEFT_OUT}
    assert "ami.tls = true" in text_of(findings, Cause.AMI_NOT_AMI)
    assert "use https://" in text_of(findings, Cause.ARI_UNREACHABLE)


async def test_a_certificate_that_ends_soon(pbx: LabAsterisk, tls: Tls) -> None:
    ca = make_certificates(pbx.folder / "etc" / "keys", days=10)
    await pbx.restart()
    findings = await with_tls(pbx, tls.settings(pbx, ca=ca))
    assert broken(findings) == {(AMI, Cause.CERTIFICATE_END, W), (ARI, Cause.CERTIFICATE_END, W)}
    assert "renew" in text_of(findings, Cause.CERTIFICATE_END)
