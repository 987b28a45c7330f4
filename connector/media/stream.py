"""One stream inside the worker: the caller's audio to one bot, and the bot's back. Its life is `run`."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable

import structlog

from connector.dialects import registry
from connector.dialects.base import BotAudio, BotClear, BotMark, RejectCause, Rejected, StreamStart, WireMessage
from connector.media import counters
from connector.media.botsocket import HARD_LIMIT_EXTRA_BYTES, BotSocket, End
from connector.media.control import EndCause, OpenStream, StreamEnded, StreamOpened, StreamStats
from connector.media.counters import Counters
from connector.media.dial import DialFailed, dial
from connector.media.frames import FRAME_BYTES
from connector.media.outbox import Outbox
from connector.media.playout import Playout
from connector.media.rtp import RtpReject, RtpSender
from connector.media.timeline import Timeline

GOODBYE_S = 0.5
"""For what still waits to be sent when we close, `stop` being the last of it."""

log = structlog.get_logger()


class Stream:
    """One stream.

    Args:
        request: What the control process asked for.
        totals: The worker's counters.
        ping_interval_s: Towards the bot.
        ping_timeout_s: Towards the bot.
        tls: For bots at wss://.

    Raises:
        KeyError: There is no such dialect.
    """

    def __init__(
        self,
        request: OpenStream,
        *,
        totals: Counters,
        ping_interval_s: float,
        ping_timeout_s: float,
        tls: ssl.SSLContext,
    ) -> None:
        self.stream_id = request.stream_id
        self._request = request
        self._totals = totals
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._tls = tls
        start = StreamStart(request.stream_id, request.call_id, request.parameters)
        self._dialect = registry.create(request.dialect, start)
        self._playout = Playout(max_ms=request.playout_max_ms, prebuffer_ms=request.prebuffer_ms)
        self._outbox = Outbox()
        self._socket = BotSocket(self._receive_message, self._flush, request.max_message_bytes + HARD_LIMIT_EXTRA_BYTES)
        self._flushed = asyncio.Event()
        self.row: int | None = None
        self.packets_out = 0
        self.rtp = RtpSender(ssrc=secrets.randbits(32), sequence=secrets.randbits(16), timestamp=secrets.randbits(32))
        self._timeline: Timeline | None = None
        self._stats = StreamStats()
        self._close: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()
        self._seen_rejects: set[str] = set()
        self._log = log.bind(pbx=request.pbx, stream_id=request.stream_id, call_id=request.call_id)

    # -- media, called by the audio loop ------------------------------------------------------------------------

    def attach(self, now_s: float) -> Timeline:
        """The call is answered: the bot is told, and its clock starts. Gives the receive side of this stream."""
        if self._timeline is None:
            self._timeline = Timeline(now_s)
            for message in self._dialect.opened():
                self._control(message)
        return self._timeline

    def hear(self, payload: bytes, timestamp_ms: int) -> None:
        """A frame of the caller, for the bot."""
        message = self._dialect.audio(payload, timestamp_ms)
        if self._socket.full:
            self._outbox.put_audio(message)
        else:
            self._socket.send(message)

    def step(self) -> bytes | None:
        """A frame of the bot, for the caller; None when it says nothing."""
        frame, marks = self._playout.read()
        if marks:
            self._return_marks(marks)
        return frame

    def dtmf(self, digit: str) -> None:
        """The caller pressed a digit."""
        if self._timeline is not None:
            self._control(self._dialect.dtmf(digit))

    def rejected_rtp(self, cause: RtpReject) -> None:
        """A datagram from the caller's address that is not used; the first of its cause is logged."""
        self._log_once("rtp_rejected", cause, "")

    def close(self, cause: EndCause) -> None:
        """Ends `run` with this cause; the first one counts."""
        if not self._close.done():
            self._close.set_result(cause)

    @property
    def counted(self) -> StreamStats:
        """The counters as `stats` last gave them."""
        return self._stats

    def stats(self) -> StreamStats:
        """The counters as they stand; the audio loop's part as it was last synced."""
        stats = self._stats
        stats.packets_out = self.packets_out
        if self._timeline is not None:
            counts = self._timeline.counts
            stats.packets_in = counts.received
            stats.packets_lost = counts.lost
            stats.packets_late = counts.late
            stats.silence_filled = counts.filled_samples // FRAME_BYTES
        stats.playout_dropped_bytes = self._playout.dropped_bytes
        stats.underruns = self._playout.underruns
        stats.send_dropped = self._outbox.dropped
        return stats

    # -- the bot -----------------------------------------------------------------------------------------------

    async def run(self, opened: Callable[[StreamOpened], None]) -> StreamEnded:
        """Dials the bot and carries the stream until one side ends it.

        Args:
            opened: Called once, when the bot has accepted.
        """
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            reached = await self._dial()
        except DialFailed as failure:
            return self._ended(failure.cause, failure.detail)
        if not reached:
            return self._ended(self._close.result(), "closed while the bot was being dialled")
        opened(StreamOpened(self.stream_id, (loop.time() - started_s) * 1000))
        return self._ended(*await self._carry())

    async def _dial(self) -> bool:
        """Opens the WebSocket; False when the stream is closed meanwhile."""
        dialling = asyncio.create_task(
            dial(
                self._request.url,
                self._socket,
                headers=self._request.headers,
                tls=self._tls,
                timeout_s=self._request.connect_timeout_ms / 1000,
                max_message_bytes=self._request.max_message_bytes,
            )
        )
        reached = False
        try:
            await asyncio.wait((dialling, self._close), return_when=asyncio.FIRST_COMPLETED)
            if not self._close.done():
                await dialling
                reached = True
            return reached
        finally:
            if not reached:
                await self._abandon(dialling)

    async def _abandon(self, dialling: asyncio.Task[None]) -> None:
        """Waits for a dial that is wanted no more; closes what it may have opened in the same moment."""
        dialling.cancel()
        (failure,) = await asyncio.gather(dialling, return_exceptions=True)
        if failure is None:
            self._socket.abort()

    async def _carry(self) -> End:
        watching = asyncio.create_task(self._socket.watch(self._ping_interval_s, self._ping_timeout_s))
        self._socket.full = False
        self._flush()
        try:
            await asyncio.wait((watching, self._close), return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                await self._goodbye()
                return self._close.result(), ""
            return watching.result()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._socket.abort()

    async def _goodbye(self) -> None:
        """Says `stop` and closes with 1000; a bot that does not listen is left after a short while."""
        if self._timeline is not None:
            for message in self._dialect.closing():
                self._control(message)
        if self._outbox:
            self._flushed.clear()
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await self._flushed.wait()
            except TimeoutError:
                pass  # what it has not read by now it will not miss
        await self._socket.close()

    def _flush(self) -> None:
        """Sends what waits, as far as there is room: so nothing waits while there is."""
        while not self._socket.full and (message := self._outbox.take()) is not None:
            self._socket.send(message)
        if not self._outbox:
            self._flushed.set()

    def _receive_message(self, message: WireMessage) -> None:
        self._stats.bot_messages += 1
        if len(message) > self._request.max_message_bytes:
            self._reject(Rejected(RejectCause.TOO_LARGE, f"{len(message)} bytes"))
            return
        parsed = self._dialect.decode(message)
        if isinstance(parsed, BotAudio):
            self._stats.bot_audio_bytes += len(parsed.payload)
            self._playout.write(parsed.payload)
            return
        match parsed:
            case BotMark(name):
                dropped = self._playout.marks_dropped
                self._return_marks(self._playout.mark(name))
                self._totals.add(counters.BOT_MARKS_DROPPED, self._playout.marks_dropped - dropped)
            case BotClear():
                self._stats.clears += 1
                self._return_marks(self._playout.clear())
            case Rejected():
                self._reject(parsed)

    def _reject(self, rejected: Rejected) -> None:
        self._stats.bot_rejected += 1
        self._totals.add(counters.bot_rejected(rejected.cause))
        self._log_once("bot_message_rejected", rejected.cause, rejected.detail)

    def _return_marks(self, names: list[str]) -> None:
        for name in names:
            self._stats.marks += 1
            self._control(self._dialect.mark_played(name))

    def _control(self, message: WireMessage | None) -> None:
        if message is None:
            return
        if self._socket.full:
            self._outbox.put_control(message)
        else:
            self._socket.send(message)

    def _log_once(self, event: str, cause: str, detail: str) -> None:
        """The first of a cause is a change of state; the counters tell the rest."""
        key = f"{event} {cause}"
        if key not in self._seen_rejects:
            self._seen_rejects.add(key)
            self._log.warning(event, cause=cause, detail=detail)

    def _ended(self, cause: EndCause, detail: str) -> StreamEnded:
        return StreamEnded(self.stream_id, cause, detail, self.stats())
