"""One stream inside the worker: the caller's audio to one bot, and the bot's back. Its life is `run`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from connector.dialects import registry
from connector.dialects.base import BotAudio, BotClear, BotMark, RejectCause, Rejected, StreamStart, WireMessage
from connector.media import counters
from connector.media.botsocket import CLOSE_TIMEOUT_S, DialFailed, dial
from connector.media.control import EndCause, OpenStream, StreamEnded, StreamOpened, StreamStats
from connector.media.counters import Counters
from connector.media.frames import FRAME_BYTES, SILENCE_FRAME
from connector.media.outbox import Outbox
from connector.media.playout import Playout
from connector.media.rtp import RtpPacket, RtpReject, RtpSender
from connector.media.timeline import Frame, Timeline

GOODBYE_S = 0.5
"""For what still waits to be sent when we close, `stop` being the last of it."""
MESSAGES_PER_TURN = 32
"""So many messages of one bot, then the others have their turn: a flood must not hold the event loop."""

log = structlog.get_logger()


class Stream:
    """One stream.

    Args:
        request: What the control process asked for.
        totals: The worker's counters.
        ping_interval_s: Towards the bot.
        ping_timeout_s: Towards the bot.

    Raises:
        KeyError: There is no such dialect.
    """

    def __init__(self, request: OpenStream, *, totals: Counters, ping_interval_s: float, ping_timeout_s: float) -> None:
        self.stream_id = request.stream_id
        self._request = request
        self._totals = totals
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        start = StreamStart(request.stream_id, request.call_id, request.parameters)
        self._dialect = registry.create(request.dialect, start)
        self._playout = Playout(max_ms=request.playout_max_ms, prebuffer_ms=request.prebuffer_ms)
        self._outbox = Outbox()
        self._rtp = RtpSender(ssrc=secrets.randbits(32), sequence=secrets.randbits(16), timestamp=secrets.randbits(32))
        self._timeline: Timeline | None = None
        self._stats = StreamStats()
        self._close: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()
        self._seen_rejects: set[str] = set()
        self._log = log.bind(pbx=request.pbx, stream_id=request.stream_id, call_id=request.call_id)

    # -- media, called by the worker ---------------------------------------------------------------------------

    def attach(self, now_s: float) -> None:
        """The call is answered: the bot is told, and its clock starts."""
        if self._timeline is None:
            self._timeline = Timeline(now_s)
            for message in self._dialect.opened():
                self._outbox.put_control(message)

    def receive(self, packet: RtpPacket, now_s: float) -> None:
        """A packet of the caller."""
        if self._timeline is not None:
            self._to_bot(self._timeline.receive(packet, now_s))

    def step(self, now_s: float, skipped: int) -> bytes:
        """One 20 ms step: the datagram for the caller. Silence when the bot says nothing, so RTP never stops."""
        frame, marks = self._playout.read()
        self._return_marks(marks)
        if self._timeline is not None:
            self._to_bot(self._timeline.tick(now_s))
        self._stats.packets_out += 1
        return self._rtp.next(frame or SILENCE_FRAME, skipped * FRAME_BYTES)

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

    def stats(self) -> StreamStats:
        """The counters as they stand."""
        stats = self._stats
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
            socket = await self._dial()
        except DialFailed as failure:
            return self._ended(failure.cause, failure.detail)
        if socket is None:
            return self._ended(self._close.result(), "closed while the bot was being dialled")
        opened(StreamOpened(self.stream_id, (loop.time() - started_s) * 1000))
        return self._ended(*await self._carry(socket))

    async def _dial(self) -> ClientConnection | None:
        """The open WebSocket, or None when the stream is closed meanwhile."""
        dialling = asyncio.create_task(
            dial(
                self._request.url,
                headers=self._request.headers,
                timeout_s=self._request.connect_timeout_ms / 1000,
                max_message_bytes=self._request.max_message_bytes,
                ping_interval_s=self._ping_interval_s,
                ping_timeout_s=self._ping_timeout_s,
            )
        )
        wanted = False
        try:
            await asyncio.wait((dialling, self._close), return_when=asyncio.FIRST_COMPLETED)
            wanted = not self._close.done()
            return dialling.result() if wanted else None
        finally:
            if not wanted:
                await _abandon(dialling)

    async def _carry(self, socket: ClientConnection) -> tuple[EndCause, str]:
        reading = asyncio.create_task(self._read(socket))
        sending = asyncio.create_task(self._send(socket))
        try:
            await asyncio.wait((reading, sending, self._close), return_when=asyncio.FIRST_COMPLETED)
            if self._close.done() and not reading.done():
                await self._goodbye(socket, sending)
                return self._close.result(), ""
            if sending.done() and (end := sending.result()) is not None:
                return end
            return await reading  # when sending finds the connection broken, reading knows how
        finally:
            for task in (reading, sending):
                task.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)
            socket.transport.abort()

    async def _goodbye(self, socket: ClientConnection, sending: asyncio.Task[tuple[EndCause, str] | None]) -> None:
        """Says `stop` and closes with 1000; a bot that does not listen is left after a short while."""
        if self._timeline is not None:
            for message in self._dialect.closing():
                self._outbox.put_control(message)
        self._outbox.finish()
        await asyncio.wait((sending,), timeout=GOODBYE_S)
        sending.cancel()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await socket.close(1000)
        except TimeoutError:
            pass  # `_carry` aborts the connection

    async def _send(self, socket: ClientConnection) -> tuple[EndCause, str] | None:
        """Sends what is queued; an end only if the bot has stopped to read.

        The library's own ping cannot tell that: it would wait for room to send the ping.
        """
        while (message := await self._outbox.get()) is not None:
            try:
                async with asyncio.timeout(self._ping_timeout_s):
                    await socket.send(message)
            except TimeoutError:
                return EndCause.BOT_LOST, f"the bot has read nothing for {self._ping_timeout_s:g} s"
            except ConnectionClosed:
                break
        return None

    async def _read(self, socket: ClientConnection) -> tuple[EndCause, str]:
        turn = 0
        try:
            while True:
                self._receive_message(await socket.recv())
                turn += 1
                if turn % MESSAGES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except ConnectionClosed as closed:
            return _end_of(closed)

    def _receive_message(self, message: WireMessage) -> None:
        self._stats.bot_messages += 1
        if len(message) > self._request.max_message_bytes:
            self._reject(Rejected(RejectCause.TOO_LARGE, f"{len(message)} bytes"))
            return
        parsed = self._dialect.decode(message)
        match parsed:
            case BotAudio(payload):
                self._stats.bot_audio_bytes += len(payload)
                self._playout.write(payload)
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

    def _to_bot(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._outbox.put_audio(self._dialect.audio(frame.payload, frame.timestamp_ms))

    def _return_marks(self, names: list[str]) -> None:
        for name in names:
            self._stats.marks += 1
            self._control(self._dialect.mark_played(name))

    def _control(self, message: WireMessage | None) -> None:
        if message is not None:
            self._outbox.put_control(message)

    def _log_once(self, event: str, cause: str, detail: str) -> None:
        """The first of a cause is a change of state; the counters tell the rest."""
        key = f"{event} {cause}"
        if key not in self._seen_rejects:
            self._seen_rejects.add(key)
            self._log.warning(event, cause=cause, detail=detail)

    def _ended(self, cause: EndCause, detail: str) -> StreamEnded:
        return StreamEnded(self.stream_id, cause, detail, self.stats())


def _end_of(closed: ConnectionClosed) -> tuple[EndCause, str]:
    """Who closed, and how (RFC 6455 section 7.4)."""
    if closed.rcvd is not None and (closed.sent is None or closed.rcvd_then_sent):
        reason = f" {closed.rcvd.reason!r}" if closed.rcvd.reason else ""
        return EndCause.BOT_CLOSED, f"the bot closed with code {closed.rcvd.code}{reason}"
    if closed.sent is not None:
        return EndCause.BOT_LOST, f"we closed with code {closed.sent.code}: {closed.sent.reason or 'protocol error'}"
    return EndCause.BOT_LOST, f"the connection broke: {closed.__cause__ or 'no close frame'}"


async def _abandon(dialling: asyncio.Task[ClientConnection]) -> None:
    """Waits for a dial that is wanted no more; closes what it may have opened in the same moment."""
    dialling.cancel()
    (result,) = await asyncio.gather(dialling, return_exceptions=True)
    if isinstance(result, ClientConnection):
        result.transport.abort()
