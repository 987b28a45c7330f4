"""A call heard by somebody of the house, in the browser: a tap whose audio comes to this process, not to a bot.

It is a supervisor's ear, not a caller's: what is late here harms no call, so it needs no media worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from connector.asterisk.ari import Ari
from connector.asterisk.ids import Kind
from connector.config import MediaSettings
from connector.dialects.base import Track
from connector.media.control import Address, EndCause
from connector.media.rtp import RtpPacket, parse
from connector.streams.tap import Tap, TapFailed
from connector.streams.tapcall import TapEnding, TapOrder

log = structlog.get_logger()

TRACKS = (Track.CALLER, Track.AGENT)

Hear = Callable[[Track, bytes], None]
"""Takes 20 ms of mu-law of a track."""


class Listening:
    """Drives one; `run` is awaited once. To `Taps` it is as a `TapCall`.

    Args:
        channel_id: Uniqueid of the agent's channel.
        hear: Gets the audio.
        pbx_name: Of the PBX.
        rtp_host: Where Asterisk's RTP is, if not where it says.
        media: Where Asterisk's RTP finds us.
        ari: Of the PBX.
        new_id: Makes an id of a kind.
        monotonic: Seconds that never go back.
        started_at: Unix time.
    """

    def __init__(
        self,
        channel_id: str,
        hear: Hear,
        *,
        pbx_name: str,
        rtp_host: str,
        media: MediaSettings,
        ari: Ari,
        new_id: Callable[[str], str],
        monotonic: Callable[[], float],
        started_at: float,
    ) -> None:
        self.order = TapOrder(channel_id, "", TRACKS, Track.AGENT)
        self.tap_id = new_id(Kind.TAP)
        self.stream_ids: tuple[str, ...] = ()
        self.stats: tuple[Any, ...] = ()
        self.call_id = f"{pbx_name}:{channel_id}"
        self.started_at = started_at
        self.started = asyncio.Event()
        self.paused = False
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with why, once it ended."""
        self.tap = Tap(channel_id, TRACKS, speaker=Track.AGENT, ari=ari, rtp_host=rtp_host, new_id=new_id)
        self._hear = hear
        self._media = media
        self._monotonic = monotonic
        self._stopped: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()

    def stop(self, cause: EndCause = EndCause.STOPPED) -> None:
        """Ends it."""
        if not self._stopped.done():
            self._stopped.set_result(cause)

    def pause(self, paused: bool) -> None:
        """The call is on hold, or no longer: who listens hears that by themselves."""
        self.paused = paused

    async def run(self) -> TapEnding:
        """Runs it to its end. Never raises but on cancellation."""
        began_s = self._monotonic()
        setup_s: float | None = None
        ears: dict[Track, _Ear] = {}
        cause, detail = EndCause.ASTERISK_ERROR, "not opened"
        try:
            for track in TRACKS:
                ears[track] = await _Ear.open(self._media.bind_host, partial(self._hear, track))
            hosts = {track: self._media.external_host(ear.port) for track, ear in ears.items()}
            await self.tap.open(hosts, lambda track, remote: ears[track].attach(remote))
            setup_s = self._monotonic() - began_s
            self.started.set()
            log.info("listening_started", setup_ms=round(setup_s * 1000, 1))
            following = asyncio.create_task(self.tap.keep())
            try:
                ends: set[asyncio.Future[Any]] = {self.tap.ended, self._stopped}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.tap.stop()
                await following
            cause, detail = EndCause.CALL_ENDED, self.tap.ended.result() if self.tap.ended.done() else ""
            if self._stopped.done():
                cause, detail = self._stopped.result(), "stopped"
        except TapFailed as failure:
            cause, detail = EndCause.CALL_ENDED if failure.gone else EndCause.ASTERISK_ERROR, str(failure)
        except Exception as error:  # a defect of ours must cost this alone
            log.exception("listening_defect")
            detail = f"defect: {type(error).__name__}"
        finally:
            await self.tap.close()
            for ear in ears.values():
                ear.close()
            self.over.set_result(detail)
        return TapEnding(cause, detail, setup_s, ())


class _Ear(asyncio.DatagramProtocol):
    """A UDP port that takes one track's RTP from the address that Asterisk named, and from no other."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        self._hear = hear
        self._from: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0

    @classmethod
    async def open(cls, host: str, hear: Callable[[bytes], None]) -> _Ear:
        _, ear = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(hear), local_addr=(host, 0))
        return ear

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self.port = transport.get_extra_info("sockname")[1]

    def attach(self, remote: Address) -> None:
        self._from = (remote.host, remote.port)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if addr[:2] == self._from and isinstance(packet := parse(data), RtpPacket):
            self._hear(packet.payload)

    def error_received(self, exc: Exception) -> None:
        pass  # nothing is sent from here

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
