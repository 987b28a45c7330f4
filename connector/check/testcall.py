"""`check --audio`: a test call through the connector's own media path, with no phone.

A Local channel calls `echo` of the context connector-check and enters our application by its extension `call`, as any
call does; a media worker connects it with a bot of our own that sends beeps and listens for them. So what comes back
has been through the dialplan, Stasis, a bridge, ExternalMedia, the worker and a WebSocket, both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import numpy as np
from aiohttp import web

from connector.asterisk.ari import Ari, AriError, AriEvent
from connector.asterisk.ari_models import StasisStart
from connector.asterisk.ids import Kind
from connector.audio.tone import dominant_tone, sine
from connector.check.findings import Cause, Findings
from connector.config import MediaSettings, PbxSettings
from connector.config_profiles import ProfileSettings
from connector.media import counters
from connector.media.control import Address, EndCause
from connector.media.engine import MediaEngine, StreamFailed, StreamHandle
from connector.media.rtp import RtpReject
from connector.streams.opening import open_message

CONTEXT = "connector-check"
RATE_HZ = 8_000
BEEP_HZ, BEEP_MS, BEEP_DBFS = 1_000.0, 200, -10.0
BEEPS = 4
EVERY_S = 0.7
LOUD = 2_000
"""Of a sample: a fifth of the beep."""
WORKER_S = 30.0
"""Until a worker has to run: seconds on a machine that is busy with calls."""
SETUP_S = 10.0
SILENCE_S = 2.5
"""Counters of a worker are at most a second old."""
LEVEL_DB = 3.0
SLOW_MS = 400
"""There and back; ITU-T G.114 asks for 150 ms one way at most."""


@dataclass
class Echoes:
    """What the bot sent and what came back.

    Attributes:
        sent_at: Of each beep, in seconds of the loop's clock.
        round_trips_ms: Of those that came back: from sending one to hearing it begin.
        levels_dbfs: Of those that came back.
    """

    sent_at: list[float] = field(default_factory=list)
    round_trips_ms: list[float] = field(default_factory=list)
    levels_dbfs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._beep: list[np.ndarray] = []
        self._came_at = 0.0

    def hear(self, audio: bytes, at: float) -> None:
        """A message of 20 ms of 16 bit audio."""
        samples = np.frombuffer(audio, "<i2")
        if not self._beep:
            loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD)
            if not loud.size or len(self.round_trips_ms) >= len(self.sent_at):
                return
            self._came_at = at  # the beep was sent whole: its first 20 ms come as soon as they can
        self._beep.append(samples)
        if sum(map(len, self._beep)) >= RATE_HZ * (BEEP_MS + 100) // 1000:
            middle = np.concatenate(self._beep)[RATE_HZ // 50 : RATE_HZ * 3 // 20]
            self._beep = []
            found = dominant_tone(middle, RATE_HZ)
            if abs(found.hz - BEEP_HZ) < 15:
                before = [sent for sent in self.sent_at if sent <= self._came_at]
                if before:
                    self.round_trips_ms.append((self._came_at - before[-1]) * 1000)
                    self.levels_dbfs.append(float(found.dbfs))


@asynccontextmanager
async def beeping_bot(echoes: Echoes) -> AsyncIterator[str]:
    """Serves one at an address of its own; gives that."""
    loop = asyncio.get_running_loop()

    async def beep(socket: web.WebSocketResponse) -> None:
        samples = sine(BEEP_HZ, RATE_HZ * BEEP_MS // 1000, rate_hz=RATE_HZ, dbfs=BEEP_DBFS)
        for _ in range(BEEPS):
            await asyncio.sleep(EVERY_S)
            echoes.sent_at.append(loop.time())
            await socket.send_bytes(samples.astype("<i2").tobytes())

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        beeping: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    echoes.hear(message.data, loop.time())
                    if beeping is None:
                        beeping = asyncio.create_task(beep(socket))
        finally:
            if beeping is not None:
                beeping.cancel()
                await asyncio.gather(beeping, return_exceptions=True)
        return socket

    application = web.Application()
    application.router.add_get("/", talk)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def place_test_call(
    subject: str,
    name: str,
    ari: Ari,
    media: MediaSettings,
    pbx: PbxSettings,
    *,
    port: int,
    new_id: Callable[[Kind], str],
    findings: Findings,
) -> None:
    """Places the call, judges, and removes what it made.

    Args:
        subject: For the findings.
        name: Of the PBX.
        ari: A client that runs and is connected, with an application of its own.
        media: Settings of the media.
        pbx: Settings of the PBX.
        port: UDP port of the worker; 0 for any.
        new_id: Makes ids of that application.
        findings: Gets the verdict.
    """
    echoes = Echoes()
    engine = MediaEngine(bind_host=media.bind_host, bind_port=port, fast_path=media.fast_path, log_level="error")
    running = asyncio.create_task(engine.run())
    try:
        async with beeping_bot(echoes) as url:
            await asyncio.wait(
                {running, ready := asyncio.ensure_future(engine.ready.wait())},
                timeout=WORKER_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            ready.cancel()
            if not engine.ready.is_set():
                findings.error(
                    subject, Cause.AUDIO_CALL, f"a media worker does not start within {WORKER_S:g} s: see its log above"
                )
                return
            await _call(_Call(subject, name, ari, media, pbx, new_id, findings), engine, url, echoes)
    except (StreamFailed, AriError) as error:
        findings.error(subject, Cause.AUDIO_CALL, f"the test call cannot be placed: {error}")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@dataclass(frozen=True)
class _Call:
    subject: str
    name: str
    ari: Ari
    media: MediaSettings
    pbx: PbxSettings
    new_id: Callable[[Kind], str]
    findings: Findings


async def _call(call: _Call, engine: MediaEngine, url: str, echoes: Echoes) -> None:
    profile = ProfileSettings.model_validate({"url": url, "dialect": {"name": "raw", "rate_hz": RATE_HZ}})
    caller, em, bridge = (call.new_id(kind) for kind in (Kind.CALL, Kind.EXTERNAL_MEDIA, Kind.BRIDGE))
    request = open_message(
        profile, call.media, stream_id=call.new_id(Kind.STREAM), pbx=call.name, call_id="check", parameters={}
    )
    handle = await engine.open(request)
    try:
        if await _connected(call, handle, caller, em, bridge):
            with contextlib.suppress(TimeoutError):  # what came so far tells
                async with asyncio.timeout(BEEPS * EVERY_S + 3.0):
                    while len(echoes.levels_dbfs) < BEEPS:  # noqa: ASYNC110 (told by messages)
                        await asyncio.sleep(0.05)
            if echoes.levels_dbfs:
                _judge(call, handle, echoes)
            else:
                await _find_out_why(call, engine, handle, em)
    finally:
        handle.close(EndCause.STOPPED)
        for removal in (
            call.ari.hangup(caller, missing_ok=True),
            call.ari.hangup(em, missing_ok=True),
            call.ari.delete_bridge(bridge, missing_ok=True),
        ):
            try:
                await removal
            except AriError as error:
                call.findings.warning(
                    call.subject, Cause.LEFT_BEHIND, f"something of the test call could not be removed: {error}"
                )


async def _connected(call: _Call, handle: StreamHandle, caller: str, em: str, bridge: str) -> bool:
    """Whether the call is in a bridge with its ExternalMedia channel."""
    try:
        await call.ari.originate(
            caller,
            endpoint=f"Local/echo@{CONTEXT}/n",
            context=CONTEXT,
            exten="call",
            caller_id='"connector check" <check>',
            timeout_s=int(SETUP_S),
            variables={"CONNECTOR_APP": call.ari.app},
            formats="ulaw",
        )
        entered = await _entered(call.ari, caller)
    except AriError:
        entered = False  # 22 refuses at once, 16 later
    if not entered:
        call.findings.error(
            call.subject,
            Cause.AUDIO_CALL,
            f"the test call did not get to Stasis: take the context {CONTEXT} over from "
            "asterisk-conf/connector-extensions.conf, then `dialplan reload`",
        )
        return False
    made = await call.ari.external_media(em, external_host=call.media.external_host(handle.rtp.port), format="ulaw")
    handle.attach(Address(call.pbx.rtp_host or made.local_host, made.local_port))
    await _entered(call.ari, em)
    await call.ari.create_bridge(bridge)
    await call.ari.add_channel(bridge, [caller, em])
    return True


async def _entered(ari: Ari, channel_id: str) -> bool:
    """Waits until a channel enters our application."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETUP_S):
            while True:
                item = await ari.items.get()
                event = item.event if isinstance(item, AriEvent) else None
                if isinstance(event, StasisStart) and event.channel.id == channel_id:
                    return True
    return False


def _judge(call: _Call, handle: StreamHandle, echoes: Echoes) -> None:
    back_dbfs, round_trip_ms = median(echoes.levels_dbfs), median(echoes.round_trips_ms)
    stats, quality = handle.stats, handle.quality
    jitter_ms = 0.0 if quality is None else quality.jitter_max_ms
    figures = (
        f"there and back in {round_trip_ms:.0f} ms; {BEEP_DBFS:.1f} dBFS to the PBX, {back_dbfs:.1f} dBFS back; "
        f"{stats.packets_lost} of {stats.packets_in} packets lost, jitter at most {jitter_ms:.1f} ms"
    )
    came = f"{len(echoes.levels_dbfs)} of {BEEPS} beeps of a test call came back"
    problems = []
    if len(echoes.levels_dbfs) < BEEPS or stats.packets_lost > stats.packets_in // 100:
        problems.append(
            "audio gets lost on the way to Asterisk and back: look for a busy machine, Wi-Fi or a full line"
        )
    if abs(back_dbfs - BEEP_DBFS) > LEVEL_DB:
        problems.append("something changes the level: look for VOLUME() and AGC() in the dialplan, and for the codec")
    if round_trip_ms > SLOW_MS:
        problems.append(f"callers notice more than {SLOW_MS} ms: have the connector nearer to Asterisk")
    if problems:
        call.findings.warning(call.subject, Cause.AUDIO_CALL, f"{came} ({figures}): {'; '.join(problems)}")
    else:
        call.findings.ok(call.subject, Cause.AUDIO_CALL, f"{came}: {figures}")


async def _find_out_why(call: _Call, engine: MediaEngine, handle: StreamHandle, em: str) -> None:
    """No beep came back: Asterisk is asked to send silence by itself, which proves the way from it alone."""
    before = handle.stats.packets_in
    await call.ari.start_silence(em)
    await asyncio.sleep(SILENCE_S)
    strangers = engine.stats.counters[counters.rtp_rejected(RtpReject.UNKNOWN_SOURCE)]
    told = call.media.external_host(handle.rtp.port)
    if handle.stats.packets_in > before:
        call.findings.error(
            call.subject,
            Cause.RTP_TO_ASTERISK,
            "no beep of the test call came back, though Asterisk's RTP reaches us: ours does not reach Asterisk; let "
            f"UDP to the range of rtp.conf through its firewall, or set rtp_host in [pbx.{call.name}]",
        )
    elif strangers:
        call.findings.error(
            call.subject,
            Cause.RTP_SOURCE,
            "no audio of the test call came: RTP arrives from an address that is not Asterisk's, and is refused as a "
            f"stranger's; correct rtp_host in [pbx.{call.name}], or leave it away",
        )
    else:
        call.findings.error(
            call.subject,
            Cause.RTP_FROM_ASTERISK,
            f"no audio of the test call came: Asterisk was told to send to UDP {told}, and nothing arrives; set "
            "media.advertise_host to the address at which the PBX reaches this machine, and let that port through "
            "firewall and NAT",
        )
