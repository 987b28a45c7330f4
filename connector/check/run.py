"""The order of the checks: what fails makes those that build on it pointless, and they say so."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

from connector.asterisk.ami import Ami
from connector.asterisk.ari import Ari, AriError
from connector.asterisk.ari_models import ConfigInfo
from connector.asterisk.ids import Kind, make_id
from connector.asterisk.pbx_facts import RtpRange
from connector.check import certificates, disk, manager, own, stasis
from connector.check.audio import check_wires
from connector.check.dialplan import check_dialplan
from connector.check.findings import Cause, Finding, Findings, Level
from connector.check.pbx_conf import check_conf, check_limits
from connector.check.testcall import place_test_call
from connector.check.tones import Route, RtpPort, check_tones, listening, open_port, room_for_tones
from connector.config import PbxSettings, Settings
from connector.pbx_clients import StartFailed, new_ami, new_ari
from connector.streams.admission import SHARE_OF_RANGE, stream_limit

APP_SUFFIX = "_check"
MAX_APP_CHARACTERS = 32


async def check(
    settings: Settings,
    *,
    audio: bool = False,
    random: Random | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """Looks at everything that a call will need, in a few seconds, also beside a running connector.

    Args:
        settings: Validated settings.
        audio: Whether to place a test call, which takes some seconds more at each PBX.
        random: SSRCs of the tones.
        clock: Seconds since the epoch.

    Returns:
        What was found, good and bad, in the order of the settings: this machine, each PBX, the bots.
    """
    random = random or Random()
    findings = Findings()
    running = await own.connector_runs(settings.http)
    own.check_http(settings.http, running, findings)
    certificates.check_own(settings.http.tls_certificate, clock(), findings)
    disk.check_disk(settings, findings)
    own.check_descriptors(settings.media, findings)
    async with AsyncExitStack() as stack:
        bound = own.bind_media(settings.media, running, findings)
        ports = [await stack.enter_async_context(open_port(each)) for each in bound]
        for name, pbx in settings.pbx.items():
            await _PbxCheck(name, pbx, settings, ports, running, random, clock, findings).run()
    if audio:
        for name, pbx in settings.pbx.items():
            await _test_call(name, pbx, settings, 0 if running else settings.media.bind_port, random, findings)
    await own.check_bots(settings, findings)
    return list(findings)


async def _test_call(
    name: str, pbx: PbxSettings, settings: Settings, port: int, random: Random, findings: Findings
) -> None:
    subject = f"pbx.{name}.audio"
    if any(each.cause in (Cause.RTP_PORTS_LOW, Cause.ARI_EVENTS) or _no_ari(each, name) for each in findings):
        findings.warning(subject, Cause.RTP_LEFT_OUT, "the test call was left out until ARI and RTP ports are in order")
        return
    async with new_ari(name, pbx, random, app=_check_app(pbx)) as ari, _running(ari.run()):
        if await listening(subject, ari, findings):
            await place_test_call(
                subject,
                name,
                ari,
                settings.media,
                pbx,
                port=port,
                new_id=lambda kind: make_id(ari.app, settings.node.name, kind, uuid.uuid4()),
                findings=findings,
            )


def _no_ari(finding: Finding, pbx: str) -> bool:
    return finding.subject == f"pbx.{pbx}.ari" and finding.level is Level.ERROR


def _check_app(pbx: PbxSettings) -> str:
    """Name of the application of the check."""
    return pbx.ari.app[: MAX_APP_CHARACTERS - len(APP_SUFFIX)] + APP_SUFFIX


class _PbxCheck:
    """One PBX: both its connections stay open together, so that AMI can tell what ARI did."""

    def __init__(
        self,
        name: str,
        pbx: PbxSettings,
        settings: Settings,
        ports: Sequence[RtpPort],
        running: bool,
        random: Random,
        clock: Callable[[], float],
        findings: Findings,
    ) -> None:
        self._name, self._pbx, self._settings = name, pbx, settings
        self._ports, self._running, self._random, self._clock = ports, running, random, clock
        self._findings = findings
        self._at_ami, self._at_ari, self._at_rtp = f"pbx.{name}.ami", f"pbx.{name}.ari", f"pbx.{name}.rtp"

    async def run(self) -> None:
        async with self._ami() as ami:
            rtp = None
            if ami is not None:
                await manager.check_clock(self._at_ami, ami, self._clock, self._findings)
                await manager.check_rights(self._at_ami, ami, self._pbx.ami, self._findings)
                rtp = await manager.read_range(self._at_rtp, ami, self._findings)
            if ami is not None and rtp is not None:  # so AST_CONFIG can be read
                await check_conf(self._name, ami, self._pbx, self._findings)
                await check_dialplan(self._at_ari, ami, self._pbx.ari.app, self._settings, self._findings)
                check_range(self._at_rtp, rtp, self._pbx, self._settings, self._findings)
            try:
                client = new_ari(self._name, self._pbx, self._random, app=_check_app(self._pbx))
            except StartFailed as error:
                self._findings.error(self._at_ari, Cause.ARI_CERTIFICATE, str(error))
                return
            async with client as ari:
                usable = await self._ari(ari)
                channel_ids = await self._tones(ari, rtp, usable)
            renewed = "of tlscertfile in {}, and `{}`"
            for subject, link, where in (
                (self._at_ami, ami, renewed.format("manager.conf", "manager reload")),
                (self._at_ari, ari, renewed.format("http.conf", "module reload http")),
            ):
                expires_at = None if link is None else link.certificate_expires_at
                certificates.check_end(subject, where, expires_at, self._clock(), self._findings)
            if ami is not None and channel_ids:
                await manager.check_events(self._at_ami, ami, channel_ids, self._findings)

    @asynccontextmanager
    async def _ami(self) -> AsyncIterator[Ami | None]:
        """The manager client, logged in; None where that failed."""
        settings = self._pbx.ami
        try:
            ami = new_ami(self._name, settings, self._random)
        except StartFailed as error:
            self._findings.error(self._at_ami, Cause.AMI_CERTIFICATE, str(error))
            yield None
            return
        if not await manager.reach(self._at_ami, settings, self._findings):
            yield None
            return
        async with _running(ami.run()):
            logged_in = await manager.log_in(self._at_ami, ami, settings, self._findings)
            yield ami if logged_in else None

    async def _ari(self, ari: Ari) -> bool:
        """Whether streams can be tried."""
        settings, findings = self._pbx.ari, self._findings
        info = await stasis.reach(self._at_ari, ari, settings, findings)
        if info is None:
            return False
        version = info.system.version if info.system is not None else ""
        check_limits(self._at_ari, info.config or ConfigInfo(), self._pbx, self._settings, findings)
        try:
            supported = stasis.check_version(self._at_ari, version, findings)
            may_write = await stasis.check_write(self._at_ari, ari, settings, findings)
            running = await stasis.running_modules(ari)
            modules = stasis.check_modules(self._at_ari, running, findings)
            check_wires(self._at_ari, self._name, self._settings, version, running, findings)
            await stasis.check_application(self._at_ari, ari, settings, running=self._running, findings=findings)
        except AriError as error:
            findings.error(self._at_ari, Cause.ARI_UNREACHABLE, str(error))
            return False
        return supported and may_write and modules

    async def _tones(self, ari: Ari, rtp: RtpRange | None, usable: bool) -> tuple[str, ...]:
        """Exchanges tones; returns the ids of the channels that were made for it."""
        why = ""
        if not usable:
            why = "until ARI is in order"
        elif rtp is None:
            why = "until the port range is known (a range that runs out crashes Asterisk)"
        elif not self._ports:
            why = "until media.bind_host is an address of this machine"
        elif not await room_for_tones(self._at_rtp, ari, rtp, self._findings):
            return ()
        if why:
            self._findings.warning(self._at_rtp, Cause.RTP_LEFT_OUT, f"whether audio passes was left out {why}")
            return ()
        media = self._settings.media
        node = self._settings.node.name
        made: tuple[str, ...] = ()
        async with _running(ari.run()):
            if not await listening(self._at_rtp, ari, self._findings):
                return ()
            for port in self._ports:
                first, second, bridge = (
                    self._new_id(ari, node, kind) for kind in (Kind.EXTERNAL_MEDIA, Kind.EXTERNAL_MEDIA, Kind.BRIDGE)
                )
                route = Route(media.advertise_host or media.bind_host, self._pbx.rtp_host, (first, second), bridge)
                if await check_tones(self._at_rtp, self._name, ari, port, route, self._random, self._findings):
                    made = made or route.channel_ids
        return made

    @staticmethod
    def _new_id(ari: Ari, node: str, kind: Kind) -> str:
        return make_id(ari.app, node, kind, uuid.uuid4())


def check_range(subject: str, rtp: RtpRange, pbx: PbxSettings, settings: Settings, findings: Findings) -> None:
    """Whether the PBX's RTP ports are enough for the streams that are asked for."""
    limit, wanted = stream_limit(rtp, 0), pbx.max_streams or settings.media.max_streams
    key = "max_streams of the PBX" if pbx.max_streams else "media.max_streams"
    has = f"the range {rtp.start} to {rtp.end} of rtp.conf has ports for {rtp.channels} channels"
    enough = f"widen rtpstart to rtpend to {int(wanted / SHARE_OF_RANGE) * 2} ports"
    if limit < 1:
        findings.error(subject, Cause.RTP_RANGE, f"{has}, too few for any stream beside calls: {enough}")
    elif limit < wanted:
        findings.warning(
            subject,
            Cause.RTP_RANGE,
            f"{has}, so {limit} streams fit and not the {wanted} of {key}: {enough}, or lower it",
        )
    else:
        findings.ok(subject, Cause.RTP_RANGE, f"{has}, enough for {wanted} streams")


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs beside the body and ends with it."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
