"""Whether audio passes both ways, without a phone: two ExternalMedia channels of our own in a bridge, a tone into each.

What is sent into one has to come out of the other, so a tone that comes back proves the way to Asterisk and the way
back at once. Where none comes, Asterisk is asked to send silence by itself, which proves the way back alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import cast

from connector.asterisk.ari import Ari, AriConnected, AriError, AriEvent, AriLost, AriRefused, ExternalMedia
from connector.asterisk.ari_models import StasisStart
from connector.asterisk.ids import parse_id
from connector.asterisk.link import WITHOUT_RTP
from connector.asterisk.pbx_facts import RtpRange
from connector.audio import g711
from connector.audio.tone import sine
from connector.check.findings import Cause, Findings
from connector.check.verdict import ENOUGH_FRAMES, TONES_HZ, Exchange, Source, compressed, is_ipv6, judge, ours
from connector.media.rtp import RtpPacket, RtpSender, parse
from connector.streams.admission import RESERVE_OF_RANGE

FRAME_MS = 20
FRAME_SAMPLES = g711.SAMPLE_RATE_HZ * FRAME_MS // 1000
TONE_S = 1.5
SILENCE_S = 1.5
EVENTS_S = 5.0
MAX_PACKETS = 1_000
"""Of one run; 150 are expected."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is about to be made, and what the settings say of the way.

    Attributes:
        advertised: Address that Asterisk is told to send to.
        rtp_host: `pbx.NAME.rtp_host`.
        channel_ids: Of the two channels.
        bridge_id: Of the bridge.
    """

    advertised: str
    rtp_host: str
    channel_ids: tuple[str, str]
    bridge_id: str


class RtpPort(asyncio.DatagramProtocol):
    """Our UDP port: keeps the audio that comes, by its source.

    Args:
        number: Its number.
        ipv6: Whether it is one of IPv6.

    Attributes:
        payloads: Mu-law by source, at most MAX_PACKETS in all; more is dropped.
        came: Set by each packet.
    """

    def __init__(self, number: int, *, ipv6: bool = False) -> None:
        self.number = number
        self.ipv6 = ipv6
        self.payloads: dict[Source, list[bytes]] = {}
        self.came = asyncio.Event()
        self._count = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's and uvloop's have no class in common

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keeps what is mu-law."""
        packet = parse(data)
        if isinstance(packet, RtpPacket) and self._count < MAX_PACKETS:
            self._count += 1
            self.payloads.setdefault((compressed(addr[0]), addr[1]), []).append(packet.payload)
            self.came.set()

    def error_received(self, exc: Exception) -> None:
        """An ICMP error about what we sent: that nothing comes back tells it as well."""

    def clear(self) -> None:
        """Forgets what came."""
        self.payloads.clear()
        self.came.clear()
        self._count = 0

    def send(self, data: bytes, to: Source) -> None:
        """Sends a datagram."""
        if self._transport is not None:
            self._transport.sendto(data, to)


@asynccontextmanager
async def open_port(bound: socket.socket) -> AsyncIterator[RtpPort]:
    """Listens on a bound socket and closes it at the end."""
    port = RtpPort(bound.getsockname()[1], ipv6=bound.family is socket.AF_INET6)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: port, sock=bound)
    try:
        yield port
    finally:
        transport.close()


async def room_for_tones(subject: str, ari: Ari, rtp: RtpRange, findings: Findings) -> bool:
    """Whether two more channels are safe: an Asterisk whose RTP ports run out crashes.

    What an earlier check that was killed has left is removed first.
    """
    try:
        channels = await ari.channels()
        for channel in channels:
            parsed = parse_id(channel.id)
            if parsed is not None and parsed.app == ari.app:
                await ari.hangup(channel.id, missing_ok=True)
        for bridge in await ari.bridges():
            parsed = parse_id(bridge.id)
            if parsed is not None and parsed.app == ari.app:
                await ari.delete_bridge(bridge.id, missing_ok=True)
    except AriError as error:
        findings.error(subject, Cause.RTP_CHANNEL, f"the channels of the PBX cannot be listed: {error}")
        return False
    up = sum(channel.name.partition("/")[0] not in WITHOUT_RTP for channel in channels)
    if up + 2 <= rtp.channels * (1 - RESERVE_OF_RANGE):
        return True
    findings.error(
        subject,
        Cause.RTP_PORTS_LOW,
        f"{up} channels are up and the range {rtp.start} to {rtp.end} of rtp.conf has ports for {rtp.channels}: "
        "whether audio passes was left out, as a range that runs out crashes Asterisk; widen rtpstart to rtpend",
    )
    return False


async def check_tones(
    subject: str, pbx: str, ari: Ari, port: RtpPort, route: Route, random: Random, findings: Findings
) -> bool:
    """Makes the channels, exchanges the tones, judges, and removes what it made.

    Args:
        subject: For the findings.
        pbx: Name of the PBX, for the remedies.
        ari: A client that runs and is connected, with an application of its own.
        port: Our UDP port.
        route: Ids and addresses.
        random: SSRCs and first numbers.
        findings: Gets the verdict.

    Returns:
        Whether the channels came into being.
    """
    media: list[ExternalMedia] = []
    try:
        media = await _bridged(ari, port, route)
        away = [(compressed(route.rtp_host or one.local_host), one.local_port) for one in media]
        strangers = [host for host, _ in away if is_ipv6(host) is not port.ipv6]
        if strangers:
            findings.error(
                subject,
                Cause.RTP_FAMILY,
                f"Asterisk's RTP is at {strangers[0]} and media.bind_host is {'IPv6' if port.ipv6 else 'IPv4'}: make "
                f"media.bind_host, media.advertise_host and rtp_host of [pbx.{pbx}] all of one kind",
            )
            return True
        port.clear()
        await _play(port, away, random)
        heard = dict(port.payloads)
        unasked: Mapping[Source, list[bytes]] = {}
        if not ours(away, heard):
            unasked = await _ask_for_silence(ari, port, route)
        judge(subject, pbx, Exchange(away, heard, unasked, route.advertised, port.number), findings)
    except TimeoutError:
        findings.error(
            subject,
            Cause.RTP_CHANNEL,
            f"the channels for the tones did not enter the application within {EVENTS_S:g} s: see Asterisk's log",
        )
    except AriError as error:
        findings.error(subject, Cause.RTP_CHANNEL, f"the channels for the tones cannot be made: {error}")
    finally:
        await _remove(subject, ari, route, findings)
    return bool(media)


async def listening(subject: str, ari: Ari, findings: Findings) -> bool:
    """Waits until the events connection is open; once, before tones are exchanged."""
    item = await ari.items.get()
    if isinstance(item, AriConnected):
        return True
    reason = item.reason if isinstance(item, AriLost | AriRefused) else "it broke at once"
    findings.error(subject, Cause.ARI_EVENTS, f"no events connection of ARI, so no call is heard of: {reason}")
    return False


async def _bridged(ari: Ari, port: RtpPort, route: Route) -> list[ExternalMedia]:
    """Both channels, in a bridge."""
    host = f"[{route.advertised}]" if ":" in route.advertised else route.advertised
    media = [
        await ari.external_media(channel_id, external_host=f"{host}:{port.number}", format="ulaw")
        for channel_id in route.channel_ids
    ]
    awaited = set(route.channel_ids)
    async with asyncio.timeout(EVENTS_S):
        while awaited:
            item = await ari.items.get()
            if isinstance(item, AriEvent) and isinstance(item.event, StasisStart):
                awaited.discard(item.event.channel.id)
    await ari.create_bridge(route.bridge_id)
    await ari.add_channel(route.bridge_id, route.channel_ids)
    return media


async def _play(port: RtpPort, away: list[Source], random: Random) -> None:
    """Sends a tone to each address, 20 ms each 20 ms, until enough came back or the time is over."""
    senders = [
        RtpSender(ssrc=random.getrandbits(32), sequence=random.getrandbits(16), timestamp=random.getrandbits(32))
        for _ in away
    ]
    loop = asyncio.get_running_loop()
    start = loop.time()
    for frame in range(int(TONE_S * 1000) // FRAME_MS):
        for sender, to, hz in zip(senders, away, TONES_HZ, strict=True):
            samples = sine(hz, FRAME_SAMPLES, rate_hz=g711.SAMPLE_RATE_HZ, start=frame * FRAME_SAMPLES)
            port.send(sender.next(g711.ulaw_encode(samples).tobytes()), to)
        await asyncio.sleep(max(0.0, start + (frame + 1) * FRAME_MS / 1000 - loop.time()))
        # A few more than enough, as the first of a stream may be of the time before.
        if sum(len(heard) > ENOUGH_FRAMES for heard in ours(away, port.payloads).values()) >= len(away):
            return


async def _ask_for_silence(ari: Ari, port: RtpPort, route: Route) -> Mapping[Source, list[bytes]]:
    """Lets Asterisk send by itself; returns what came."""
    for channel_id in route.channel_ids:
        await ari.start_silence(channel_id)
    before = set(port.payloads)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SILENCE_S):
            while before.issuperset(port.payloads):
                port.came.clear()
                await port.came.wait()
    return dict(port.payloads)


async def _remove(subject: str, ari: Ari, route: Route, findings: Findings) -> None:
    """Removes what was made, whatever of it there is."""
    removals: list[tuple[str, Callable[..., Awaitable[None]]]] = [
        *((channel_id, ari.hangup) for channel_id in route.channel_ids),
        (route.bridge_id, ari.delete_bridge),
    ]
    for made, remove in removals:
        try:
            await remove(made, missing_ok=True)
        except AriError as error:
            findings.warning(
                subject, Cause.LEFT_BEHIND, f"{made} of this check could not be removed, run it again: {error}"
            )
