"""`connector check` on real Asterisk: each thing broken by itself, and the finding that names it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connector.app import Connector
from connector.check import Cause, Finding, Level, check
from connector.config import Settings
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.echo_bot import bot

MakeAsterisk = Callable[..., LabAsterisk]
Broken = set[tuple[str, Cause, Level]]

E, W = Level.ERROR, Level.WARNING
AMI, ARI, RTP = "pbx.main.ami", "pbx.main.ari", "pbx.main.rtp"
TONES_LEFT_OUT = (RTP, Cause.RTP_LEFT_OUT, W)


def values(pbx: LabAsterisk, bot_port: int) -> dict[str, Any]:
    return {
        "node": {"name": "checked"},
        "http": {"port": pbx.ports.spare[0]},
        "media": {"bind_port": pbx.ports.spare[1], "max_streams": 20, "workers": 1},
        "pbx": {
            "main": {
                "ami": {"port": pbx.ami_port, "secret": pbx.ami_secret},
                "ari": {"url": pbx.ari_url, "password": pbx.ari_password},
            }
        },
        "profile": {"echo": {"url": f"ws://127.0.0.1:{bot_port}/"}},
    }


@asynccontextmanager
async def set_up(pbx: LabAsterisk, **changes: Any) -> AsyncIterator[Settings]:
    """A healthy set-up but for the changes: key `pbx__main__ami__port` is pbx.main.ami.port."""
    async with bot("127.0.0.1", 0, "echo") as bot_port:
        data = values(pbx, bot_port)
        for key, value in changes.items():
            target = data
            *sections, last = key.split("__")
            for section in sections:
                target = target[section]
            target[last] = value
        yield Settings.model_validate(data)


async def findings_of(pbx: LabAsterisk, clock: Callable[[], float] = time.time, **changes: Any) -> list[Finding]:
    async with set_up(pbx, **changes) as settings, asyncio.timeout(30):
        return await check(settings, random=Random(1), clock=clock)


def broken(findings: list[Finding]) -> Broken:
    return {(each.subject, each.cause, each.level) for each in findings if each.level is not Level.OK}


def text_of(findings: list[Finding], cause: Cause) -> str:
    return next(each.text for each in findings if each.cause is cause and each.level is not Level.OK)


async def nothing_is_left(pbx: LabAsterisk) -> None:
    await pbx.until("core show channels count", lambda text: "0 active channels" in text)
    await pbx.until("bridge show all", lambda text: "-bridge-" not in text)


async def test_a_healthy_set_up_gives_only_ok_and_leaves_nothing(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk)
    assert broken(findings) == set()
    assert {Cause.RTP_AUDIO, Cause.AMI_EVENTS, Cause.MODULES, Cause.RTP_RANGE, Cause.BOT} <= {f.cause for f in findings}
    await nothing_is_left(asterisk)


@asynccontextmanager
async def connector_beside(settings: Settings) -> AsyncIterator[Connector]:
    """A connector that runs and is ready."""
    connector = Connector(settings, random=Random(2))
    task = asyncio.create_task(connector.run())
    try:
        async with asyncio.timeout(20):
            await connector.ready.wait()
            while True:
                if not connector.not_ready():
                    break
                await asyncio.sleep(0.02)
        yield connector
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_running_connector_is_not_disturbed_and_what_was_left_out_is_said(asterisk: LabAsterisk) -> None:
    async with set_up(asterisk) as settings, connector_beside(settings) as connector:
        before = connector.state()["pbx"]["main"]["links"]
        findings = await check(settings, random=Random(1))
        assert connector.state()["pbx"]["main"]["links"] == before
    assert broken(findings) == set()
    texts = {each.cause: each.text for each in findings}
    assert "left out" in texts[Cause.HTTP_PORT]
    assert "left out" in texts[Cause.MEDIA_PORT]
    assert "running connector listens" in texts[Cause.ARI_APPLICATION]


async def test_what_a_killed_check_left_is_removed_by_the_next(asterisk: LabAsterisk) -> None:
    async with set_up(asterisk) as settings:
        task = asyncio.create_task(check(settings, random=Random(1)))
        await asterisk.until("core show channels count", lambda text: "2 active channels" in text)
        task.cancel()
        await asyncio.wait({task})
    await nothing_is_left(asterisk)  # cancelled, it still removes; killed, the next does:
    code = (
        "import asyncio, os, sys; from connector.check import tones; from connector.cli import main\n"
        "tones._play = lambda *_: os.kill(os.getpid(), 9)\n"
        "sys.exit(main(['check']))"
    )
    async with set_up(asterisk) as settings:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=environment(settings), stderr=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == -9
        await asterisk.until("core show channels count", lambda text: "2 active channels" in text)
    assert broken(await findings_of(asterisk)) == set()
    await nothing_is_left(asterisk)


# -- AMI ----------------------------------------------------------------------------------------------------------


async def test_wrong_ami_secret(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ami__secret="wrong")
    assert broken(findings) == {(AMI, Cause.AMI_LOGIN, E), TONES_LEFT_OUT}
    assert "manager.conf" in text_of(findings, Cause.AMI_LOGIN)
    assert "wrong" not in str(findings)


async def test_closed_ami_port(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ami__port=asterisk.ports.spare[2])
    assert broken(findings) == {(AMI, Cause.AMI_REFUSED, E), TONES_LEFT_OUT}


async def test_a_port_that_is_no_ami(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ami__port=asterisk.ports.http)
    assert broken(findings) == {(AMI, Cause.AMI_NOT_AMI, E), TONES_LEFT_OUT}


async def test_tls_on_a_plain_ami_port(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ami__tls=True)
    assert broken(findings) == {(AMI, Cause.AMI_TLS, E), TONES_LEFT_OUT}


async def test_a_ca_file_that_is_none(asterisk: LabAsterisk, tmp_path: Path) -> None:
    findings = await findings_of(asterisk, pbx__main__ami__tls=True, pbx__main__ami__tls_ca_file=tmp_path / "none.pem")
    assert broken(findings) == {(AMI, Cause.AMI_CERTIFICATE, E), TONES_LEFT_OUT}


@pytest.mark.parametrize(
    ("manager_conf", "expected"),
    [
        (
            "[connector](+)\nwrite = agent",
            {
                (AMI, Cause.AMI_RIGHTS_MISSING, E),
                (RTP, Cause.RTP_RANGE_UNKNOWN, E),
                TONES_LEFT_OUT,
            },
        ),
        ("[connector](+)\nwrite = reporting", {(AMI, Cause.AMI_RIGHTS_HELP, W)}),
        ("[connector](+)\nwrite = all", {(AMI, Cause.AMI_RIGHTS_EXCESS, W)}),
        ("[connector](+)\nread = agent,call", {(AMI, Cause.AMI_EVENTS, E)}),
        ("[connector](+)\neventfilter = !^Event: Newchannel", {(AMI, Cause.AMI_EVENTS, E)}),
        ("[general](+)\ntimestampevents = no", {(AMI, Cause.AMI_TIMESTAMPS, W)}),
    ],
)
async def test_rights_and_events_of_the_account(
    make_asterisk: MakeAsterisk, manager_conf: str, expected: Broken
) -> None:
    async with make_asterisk(phones=1, conf=LabConf(append={"manager.conf": manager_conf})) as pbx:
        assert broken(await findings_of(pbx)) == expected


async def test_the_secrets_of_the_sample(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, secret=lambda: "change-me") as pbx:
        assert broken(await findings_of(pbx)) == {(AMI, Cause.SAMPLE_SECRET, W), (ARI, Cause.SAMPLE_SECRET, W)}


# -- ARI ----------------------------------------------------------------------------------------------------------


async def test_wrong_ari_password(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ari__password="wrong")
    assert broken(findings) == {(ARI, Cause.ARI_LOGIN, E), TONES_LEFT_OUT}


async def test_closed_ari_port(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ari__url=f"http://127.0.0.1:{asterisk.ports.spare[2]}/ari")
    assert broken(findings) == {(ARI, Cause.ARI_UNREACHABLE, E), TONES_LEFT_OUT}


async def test_an_address_without_ari(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ari__url=f"http://127.0.0.1:{asterisk.ports.http}/pbx/ari")
    assert broken(findings) == {(ARI, Cause.ARI_NOT_ARI, E), TONES_LEFT_OUT}


async def test_a_user_who_may_only_read(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, conf=LabConf(append={"ari.conf": "[connector](+)\nread_only = yes"})) as pbx:
        assert broken(await findings_of(pbx)) == {(ARI, Cause.ARI_READ_ONLY, E), TONES_LEFT_OUT}


async def test_another_process_has_the_application(asterisk: LabAsterisk) -> None:
    elsewhere = {"http__port": asterisk.ports.spare[3], "media__bind_port": asterisk.ports.spare[4]}
    async with set_up(asterisk, **elsewhere) as settings, connector_beside(settings) as connector:
        findings = await findings_of(asterisk)
        assert not connector.not_ready()
    assert broken(findings) == {(ARI, Cause.ARI_APPLICATION, W)}


@pytest.mark.parametrize(
    ("module", "expected", "named"),
    [
        ("chan_rtp.so", {(ARI, Cause.MODULES, E), TONES_LEFT_OUT}, {"chan_rtp.so"}),
        ("res_rtp_multicast.so", {(ARI, Cause.MODULES, E), TONES_LEFT_OUT}, {"chan_rtp.so", "res_rtp_multicast.so"}),
        ("app_stasis.so", {(ARI, Cause.MODULES, E), TONES_LEFT_OUT}, {"app_stasis.so"}),
        (
            "res_stasis_snoop.so",
            {(ARI, Cause.MODULES, E), TONES_LEFT_OUT},
            {"res_stasis_snoop.so", "res_ari_channels.so"},
        ),
        ("codec_ulaw.so", {(ARI, Cause.MODULES, W)}, {"codec_ulaw.so"}),
        ("bridge_simple.so", {(ARI, Cause.MODULES, W)}, {"bridge_simple.so"}),
        ("app_queue.so", {(AMI, Cause.MODULES, E)}, {"app_queue.so"}),
        ("func_config.so", {(RTP, Cause.RTP_RANGE_UNKNOWN, E), TONES_LEFT_OUT}, {"func_config.so"}),
        ("res_ari_asterisk.so", {(ARI, Cause.ARI_NOT_ARI, E), TONES_LEFT_OUT}, {"res_ari_asterisk"}),
    ],
)
async def test_a_module_that_is_not_loaded(
    make_asterisk: MakeAsterisk, module: str, expected: Broken, named: set[str]
) -> None:
    async with make_asterisk(phones=1, conf=LabConf(append={"modules.conf": f"noload = {module}"})) as pbx:
        findings = await findings_of(pbx)
    assert broken(findings) == expected
    (text,) = {each.text for each in findings if each.cause is not Cause.RTP_LEFT_OUT and each.level is not Level.OK}
    assert all(name in text for name in named)


# -- RTP ----------------------------------------------------------------------------------------------------------


async def test_a_range_too_small_for_what_is_asked(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, media__max_streams=26)
    assert broken(findings) == {(RTP, Cause.RTP_RANGE, W)}
    assert "25 streams" in text_of(findings, Cause.RTP_RANGE)


async def test_a_range_so_small_that_two_channels_could_crash_asterisk(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, rtp_ports=4) as pbx:
        findings = await findings_of(pbx)
        assert broken(findings) == {(RTP, Cause.RTP_RANGE, E), (RTP, Cause.RTP_PORTS_LOW, E)}
        assert pbx.running


async def test_an_application_with_the_longest_name(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__ari__app="a" * 31)
    assert broken(findings) == {(ARI, Cause.DIALPLAN, W)}  # no call is handed to it, of course


@pytest.mark.parametrize("change", [{"pbx__main__rtp_host": "::1"}, {"media__advertise_host": "::1"}])
async def test_ipv4_here_and_ipv6_there(asterisk: LabAsterisk, change: dict[str, Any]) -> None:
    findings = await findings_of(asterisk, **change)
    assert broken(findings) == {(RTP, Cause.RTP_FAMILY, E)}
    await nothing_is_left(asterisk)


async def test_ours_does_not_reach_asterisk(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, pbx__main__rtp_host="127.0.0.9")
    assert broken(findings) == {(RTP, Cause.RTP_TO_ASTERISK, E)}
    assert 'rtp_host = "127.0.0.1"' in text_of(findings, Cause.RTP_TO_ASTERISK)
    await nothing_is_left(asterisk)


async def test_asterisks_does_not_reach_us(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, media__advertise_host="127.0.0.9")
    assert broken(findings) == {(RTP, Cause.RTP_FROM_ASTERISK, E)}
    assert "advertise_host" in text_of(findings, Cause.RTP_FROM_ASTERISK)
    await nothing_is_left(asterisk)


async def test_it_comes_from_another_address_than_we_send_to(asterisk: LabAsterisk) -> None:
    # All that we send to 127.0.0.2 is forwarded to Asterisk, as a NAT does.
    taken: dict[int, socket.socket] = {}
    loop = asyncio.get_running_loop()
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def forward(port: int) -> None:
        out.sendto(taken[port].recv(2048), ("127.0.0.1", port))

    try:
        for port in range(asterisk.rtp_range[0], asterisk.rtp_range[1], 2):
            taken[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            taken[port].bind(("127.0.0.2", port))
            loop.add_reader(taken[port], forward, port)
        findings = await findings_of(asterisk, pbx__main__rtp_host="127.0.0.2")
    finally:
        for sock in taken.values():
            loop.remove_reader(sock)
            sock.close()
        out.close()
    assert broken(findings) == {(RTP, Cause.RTP_SOURCE, E)}
    assert 'rtp_host = "127.0.0.1"' in text_of(findings, Cause.RTP_SOURCE)


# -- this machine -------------------------------------------------------------------------------------------------


async def test_the_bot_is_down(asterisk: LabAsterisk) -> None:
    findings = await findings_of(asterisk, profile__echo__url=f"ws://127.0.0.1:{asterisk.ports.spare[2]}/")
    assert broken(findings) == {("profile.echo", Cause.BOT, W)}


async def test_the_media_port_is_taken_by_another(asterisk: LabAsterisk) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", asterisk.ports.spare[1]))
        findings = await findings_of(asterisk)
    assert broken(findings) == {("media", Cause.MEDIA_PORT, E)}
    assert Cause.RTP_AUDIO in {each.cause for each in findings}  # tried all the same, on another port


# -- the command --------------------------------------------------------------------------------------------------


def environment(settings: Settings) -> dict[str, str]:
    pbx = settings.pbx["main"]
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")},
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "CONNECTOR__NODE__NAME": settings.node.name,
        "CONNECTOR__HTTP__PORT": str(settings.http.port),
        "CONNECTOR__MEDIA__BIND_PORT": str(settings.media.bind_port),
        "CONNECTOR__MEDIA__MAX_STREAMS": str(settings.media.max_streams),
        "CONNECTOR__PBX__MAIN__AMI__PORT": str(pbx.ami.port),
        "CONNECTOR__PBX__MAIN__AMI__SECRET": pbx.ami.secret.get_secret_value(),
        "CONNECTOR__PBX__MAIN__ARI__URL": pbx.ari.url,
        "CONNECTOR__PBX__MAIN__ARI__PASSWORD": pbx.ari.password.get_secret_value(),
        "CONNECTOR__PROFILE__ECHO__URL": settings.profile["echo"].url,
    }


async def command(settings: Settings, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "connector", "check", *arguments),
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_the_command_tells_by_its_exit_code(asterisk: LabAsterisk) -> None:
    async with set_up(asterisk) as settings:
        code, out = await command(settings)
    assert code == 0
    assert all(line.startswith("ok ") for line in out.splitlines())
    async with set_up(asterisk, pbx__main__ari__password="wrong") as settings:
        code, out = await command(settings, "--json")
    assert code == 1
    assert {"error", "warning", "ok"} == {each["level"] for each in json.loads(out)}
    assert {"level", "subject", "cause", "text"} == set(json.loads(out)[0])
