"""A call heard by somebody of the house, in the browser: a tap whose audio comes to this process, not to a bot.

Who may speak, too, speaks into the snoop of the tapped channel: the agent hears it, and with `Voice.BOTH` the caller.
It is a supervisor's ear, not a caller's: what is late here harms no call, so it needs no media worker.
"""

from __future__ import annotations

import asyncio
import enum
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from connector.asterisk.ari import Ari
from connector.asterisk.ids import Kind
from connector.config import MediaSettings
from connector.dialects.base import Track
from connector.media.control import Address, EndCause
from connector.media.rtp import PT_PCMU, RtpPacket, build, parse, uint16, uint32
from connector.streams.tap import Tap, TapFailed
from connector.streams.tapcall import TapEnding, TapOrder

log = structlog.get_logger()

TRACKS = (Track.CALLER, Track.AGENT)

FRAME_SAMPLES = 160
"""20 ms at 8 kHz."""


class Voice(enum.StrEnum):
    """Who hears what the listener says; ARI's `whisper` at the tapped channel."""

    NOBODY = "none"
    TAPPED = "out"
    BOTH = "both"


Hear = Callable[[Track, bytes], None]
"""Takes 20 ms of mu-law of a track."""


class Listening:
    """Drives one; `run` is awaited once. To `Taps` it is as a `TapCall`.

    Args:
        channel_id: Uniqueid of the tapped channel.
        hear: Gets the audio.
        speaker: Whose channel it is.
        voice: Who hears what is said by `say`.
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
        speaker: Track,
        voice: Voice,
        pbx_name: str,
        rtp_host: str,
        media: MediaSettings,
        ari: Ari,
        new_id: Callable[[str], str],
        monotonic: Callable[[], float],
        started_at: float,
    ) -> None:
        self.order = TapOrder(channel_id, "", TRACKS, speaker)
        self.tap_id = new_id(Kind.TAP)
        self.stream_ids: tuple[str, ...] = ()
        self.stats: tuple[Any, ...] = ()
        self.call_id = f"{pbx_name}:{channel_id}"
        self.started_at = started_at
        self.started = asyncio.Event()
        self.paused = False
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with why, once it ended."""
        self.tap = Tap(
            channel_id, TRACKS, speaker=speaker, ari=ari, rtp_host=rtp_host, new_id=new_id, whisper=voice.value
        )
        self._voice = voice
        self._ears: dict[Track, _Ear] = {}
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

    def say(self, ulaw: bytes) -> None:
        """Sends 20 ms of mu-law, once audio flows; nothing where nobody may hear it."""
        if self._voice is not Voice.NOBODY and self.started.is_set():
            self._ears[self.order.speaker].send(ulaw)

    async def run(self) -> TapEnding:
        """Runs it to its end. Never raises but on cancellation."""
        began_s = self._monotonic()
        setup_s: float | None = None
        ears = self._ears
        cause, detail = EndCause.ASTERISK_ERROR, "not opened"
        try:
            for track in TRACKS:
                ears[track] = await _Ear.open(self._media.bind_host, partial(self._hear, track), self.tap_id)
            hosts = {track: self._media.external_host(ear.port) for track, ear in ears.items()}
            await self.tap.open(hosts, lambda track, remote: ears[track].attach(remote))
            setup_s = self._monotonic() - began_s
            self.started.set()
            log.info("listening_started", voice=self._voice.value, setup_ms=round(setup_s * 1000, 1))
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
    """A UDP port for one track's RTP with the address that Asterisk named, and with no other."""

    def __init__(self, hear: Callable[[bytes], None], name: str) -> None:
        self._hear = hear
        self._ssrc = zlib.crc32(name.encode())
        self._sent = 0
        self._from: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0

    @classmethod
    async def open(cls, host: str, hear: Callable[[bytes], None], name: str) -> _Ear:
        loop = asyncio.get_running_loop()
        _, ear = await loop.create_datagram_endpoint(lambda: cls(hear, name), local_addr=(host, 0))
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
        pass  # Asterisk's channel may be gone a moment before its event

    def send(self, ulaw: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            sequence, timestamp = uint16(self._sent), uint32(self._sent * FRAME_SAMPLES)
            self._transport.sendto(build(RtpPacket(PT_PCMU, sequence, timestamp, self._ssrc, ulaw)), self._from)
            self._sent += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
