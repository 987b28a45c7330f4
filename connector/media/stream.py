"""One stream inside the worker: the caller's audio to one bot, and the bot's back. Its life is `run`."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Sequence

import structlog

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.opus import DECODED_HZ
from connector.audio.transcode import Transcoder
from connector.audio.wire import PCMU, WIRES
from connector.dialects import registry
from connector.dialects.base import (
    MAX_DETAIL,
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    BotReply,
    Dialect,
    RejectCause,
    Rejected,
    StreamStart,
    Track,
    Upgrade,
    WireMessage,
)
from connector.dialects.commands import Command, Ended, Failed, HangUp, Notice, Transfer
from connector.media import counters
from connector.media.botsocket import End
from connector.media.carrier import Carrier
from connector.media.complaints import Complaints
from connector.media.control import (
    BotCommand,
    EndCause,
    OpenStream,
    StreamEnded,
    StreamOpened,
    StreamStats,
    stop_reason,
)
from connector.media.counters import Counters
from connector.media.dial import DialFailed, dial_unless, new_socket
from connector.media.fastpath import FastPath
from connector.media.fastplayout import FastPlayout
from connector.media.gauge import Gauge
from connector.media.outbox import Outbox
from connector.media.playout import AfterAudio, playout_for
from connector.media.rtp import RtpReject, RtpSender
from connector.media.side import Side
from connector.media.timeline import Timeline, timeline_for

_UNPACKED = AudioFormat(Encoding.L16, DECODED_HZ)
GOODBYE_S = 0.5
"""For what still waits to be sent when we close, `stop` being the last of it, and for the bot's last word."""
NOT_AGREED = "the bot did not answer the close of the WebSocket"

log = structlog.get_logger()


class Stream:
    """One stream.

    Args:
        request: What the control process asked for.
        totals: The worker's counters.
        ping_interval_s: Towards the bot.
        ping_timeout_s: Towards the bot.
        tls: For bots at wss://.
        fast: For bots at ws://; None: picows for them too.
        tell: Takes what the bot asks of the control process.

    Raises:
        ValueError: There is no such dialect, or it has no such options.
        OpusMissing: The dialect carries Opus, and its library is not installed.
    """

    def __init__(
        self,
        request: OpenStream,
        *,
        totals: Counters,
        ping_interval_s: float,
        ping_timeout_s: float,
        tls: ssl.SSLContext,
        fast: FastPath | None,
        tell: Callable[[BotCommand], None],
    ) -> None:
        self.stream_id = request.stream_id
        self._request = request
        self._totals = totals
        self._ping_interval_s = ping_interval_s
        self._ping_timeout_s = ping_timeout_s
        self._tls = tls
        self._tell = tell
        start = StreamStart(request.stream_id, request.call_id, request.parameters, request.tracks, request.two_way)
        self._dialect = registry.create(request.dialect, start, request.dialect_options)
        options = registry.read_options(request.dialect, request.dialect_options)
        self.bot_hears, self.bot_says = options.to_bot, options.from_bot
        self.wire = WIRES[request.audio]
        Transcoder(self.bot_hears, PCMU)  # a library that is missing is missed before the call is answered
        self._unpack: Transcoder | None = None
        if self.bot_says.encoding is Encoding.OPUS:  # packets of any duration: the playout holds samples
            self._unpack = Transcoder(self.bot_says, _UNPACKED)
            self.bot_says = _UNPACKED
        self._playout = playout_for(request, self.bot_says, FastPlayout)
        self._outbox = Outbox()
        if not request.url.lower().startswith("ws:"):
            fast = None  # TLS is the library's
        self._socket = new_socket(self, request.url, request.max_message_bytes, fast)
        self._heard = asyncio.Event()
        """Something came from the bot that may have made it ready, or done; or it has read what waited."""
        self._greeted = False
        self.row: int | None = None
        self.lends = False  # to the fast path, which then paces what the bot says
        self.carrier: Carrier | None = None
        self.sends_silence = request.send_silence
        self.packets_out = 0
        self.rtp = RtpSender(ssrc=secrets.randbits(32), sequence=secrets.randbits(16), timestamp=secrets.randbits(32))
        self._timeline: Timeline | None = None
        self._stats = StreamStats()
        self._track, *more = request.tracks
        self._sides = [Side(self, track) for track in more]
        self.gauge = Gauge(self.bot_hears, self.bot_says, self._stats, self._playout)
        self._close: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()
        self._detail = ""
        self._complaints = Complaints(log.bind(pbx=request.pbx, stream_id=request.stream_id, call_id=request.call_id))

    # -- media, called by the audio loop ------------------------------------------------------------------------

    def attach(self, now_s: float) -> Timeline:
        """The call is answered: the bot is told, and its clock starts. Gives the receive side of this stream."""
        if self._timeline is None:
            self._timeline = timeline_for(self._request, self.wire, now_s)
            self.gauge.begin(now_s, self._timeline)
            self._greeted = True
            self._say(self._numbered().opened())
        return self._timeline

    @property
    def legs(self) -> dict[Track, Stream | Side]:
        """Where the audio of each track comes in; of the first one the stream itself."""
        return {self._track: self, **{side.track: side for side in self._sides}}

    def hear(self, payload: bytes, timestamp_ms: int, track: Track | None = None) -> None:
        """A frame for the bot, of the first track if it is not said of which."""
        message = self._numbered().audio(payload, timestamp_ms, track or self._track)
        if message is None:
            return
        if self._socket.full:
            self._outbox.put_audio(message)
            return
        self._socket.send(message)
        if self._socket.line is not None and (template := self._dialect.template()) is not None:
            self._socket.line.write(template)

    @property
    def line(self) -> int:
        """Number of the stream's line in the fast path, which writes for it when it can; -1 when it has none."""
        return -1 if self._socket.line is None else self._socket.line.number

    def step(self) -> bytes | None:
        """A frame of the bot, for the caller; None when it says nothing."""
        frame, marks = self._playout.read()
        frame = self.gauge.say(frame)
        if marks:
            self._pass_marks(marks)
        if self.lends and self._socket.line is not None and self.gauge.recording is None:
            self._playout.lend(self._socket.line)
        return frame

    def dtmf(self, digit: str) -> None:
        """The caller pressed a digit."""
        if self._timeline is not None:
            self._control(self._numbered().dtmf(digit))

    def notify(self, notice: Notice) -> None:
        """Something the bot may want to know."""
        if self._timeline is not None:
            self._say(self._numbered().notify(notice))

    def rejected_rtp(self, cause: RtpReject, payload_type: int = -1) -> None:
        """A datagram from the caller's address that is not used; the first of its cause is logged."""
        self.gauge.rejected(cause, payload_type)
        self._complaints.note("rtp_rejected", cause, "")

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
        stats.send_dropped = self._outbox.dropped
        self._playout.add_to(stats)
        self.gauge.count()
        for side in self._sides:
            side.add_to(stats)
        return stats

    # -- the bot -----------------------------------------------------------------------------------------------

    async def run(self, opened: Callable[[StreamOpened], None]) -> StreamEnded:
        """Dials the bot and carries the stream until one side ends it.

        Args:
            opened: Called once, when the bot has accepted.
        """
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        deadline_s = started_s + self._request.connect_timeout_ms / 1000
        try:
            if not await self._dial():
                return self._ended(self._close.result(), "closed while the bot was being dialled")
            return self._ended(*await self._converse(opened, started_s, deadline_s))
        except DialFailed as failure:
            return self._ended(failure.cause, failure.detail)
        finally:
            self._socket.let_go()

    async def _dial(self) -> bool:
        """Opens the WebSocket; False when the stream is closed meanwhile."""
        upgrade = self._dialect.upgrade(
            Upgrade(self._request.url, self._request.headers), unix_s=time.time(), nonce=secrets.token_urlsafe(16)
        )
        return await dial_unless(
            self._close,
            upgrade,
            self._socket,
            tls=self._tls,
            timeout_s=self._request.connect_timeout_ms / 1000,
            max_message_bytes=self._request.max_message_bytes,
            reach=self._request.reach,
        )

    async def _converse(self, opened: Callable[[StreamOpened], None], started_s: float, deadline_s: float) -> End:
        """From the open WebSocket to its end."""
        self._socket.full = False
        self.on_writable()
        watching = asyncio.create_task(self._socket.watch(self._ping_interval_s, self._ping_timeout_s))
        beating = asyncio.create_task(self._beat())
        try:
            await self._shake_hands(deadline_s)
            if not self._close.done() and not watching.done():
                opened(StreamOpened(self.stream_id, (asyncio.get_running_loop().time() - started_s) * 1000))
            await asyncio.wait((watching, self._close), return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                await self._goodbye()
                return self._close.result(), self._detail
            return watching.result()
        finally:
            for task in (watching, beating):
                task.cancel()
            await asyncio.gather(watching, beating, return_exceptions=True)
            self._socket.abort()

    async def _shake_hands(self, deadline_s: float) -> None:
        """What the protocol says before audio, for as long as the bot may take to be reached.

        Raises:
            DialFailed: The bot did not agree in time, or left.
        """
        first = self._dialect.connected()
        self._greeted = bool(first)
        self._say(first)
        left_s = deadline_s - asyncio.get_running_loop().time()
        if not await self._until(lambda: self._dialect.ready, left_s):
            raise DialFailed(EndCause.BOT_TIMEOUT, "the bot has not finished the protocol's handshake in time")
        if self._dialect.ready or (self._close.done() and not self._detail):
            return
        # It has ended before it began: by closing, or in the words of its protocol.
        detail = self._detail if self._close.done() else self._socket.ended.result()[1]
        raise DialFailed(EndCause.BOT_REJECTED, f"the bot refused the protocol's handshake: {detail}")

    async def _until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until the bot has brought the dialect so far, or the stream ends; False when time is up."""
        ends = (self._socket.ended,) if self._close.done() else (self._socket.ended, self._close)
        try:
            async with asyncio.timeout(timeout_s):
                while not reached() and not any(end.done() for end in ends):
                    self._heard.clear()
                    hearing = asyncio.ensure_future(self._heard.wait())
                    try:
                        await asyncio.wait((hearing, *ends), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        hearing.cancel()
        except TimeoutError:
            return False
        return True

    async def _beat(self) -> None:
        """What the protocol sends by itself."""
        while self._dialect.heartbeat_s is not None:
            await asyncio.sleep(self._dialect.heartbeat_s)
            self._take(self._numbered().heartbeat())

    async def _goodbye(self) -> None:
        """Says `stop` and closes with 1000; a bot that does not listen is left after a short while."""
        if self._greeted:
            self._say(self._numbered().closing(stop_reason(self._close.result())))
        await self._until(lambda: not self._outbox, GOODBYE_S)  # what it has not read by then it will not miss
        await self._until(lambda: self._dialect.done, GOODBYE_S)
        if not await self._socket.close():
            self._detail = self._detail or NOT_AGREED

    # -- called by the WebSocket -------------------------------------------------------------------------------

    def on_audio(self, audio: bytes) -> None:
        """A message of the bot that the fast path has read."""
        self._stats.bot_messages += 1
        self._play(audio)

    def on_full(self) -> None:
        """What waits is not to be overtaken."""
        self._numbered()

    def _numbered(self) -> Dialect:
        """The dialect, for what is to bear the next number: the fast path writes no more until the next frame."""
        line = self._socket.line
        if line is not None and line.writes:
            self._dialect.sent(line.stop_writing())
        return self._dialect

    def on_writable(self) -> None:
        """Sends what waits, as far as there is room: so nothing waits while there is."""
        while not self._socket.full and (message := self._outbox.take()) is not None:
            self._socket.send(message)
        if not self._outbox:
            self._heard.set()

    def on_message(self, message: WireMessage) -> None:
        """Any other message of the bot."""
        self._stats.bot_messages += 1
        if len(message) > self._request.max_message_bytes:
            self._reject(Rejected(RejectCause.TOO_LARGE, f"{len(message)} bytes"))
            return
        self._take(self._dialect.decode(message))
        self._socket.learn(self._dialect.pattern(), self._request.max_message_bytes)
        if not self._heard.is_set():
            self._heard.set()

    def _take(self, said: Sequence[BotMessage]) -> None:
        for each in said:
            if isinstance(each, BotAudio):
                self._play(each.payload)
            else:
                self._numbered()  # it may change what audio messages look like
                self._take_other(each)

    def _play(self, audio: bytes) -> None:
        self._stats.bot_audio_bytes += len(audio)
        self._playout.write(audio if self._unpack is None else self._unpacked(audio))

    def _unpacked(self, packet: bytes) -> bytes:
        assert self._unpack is not None
        try:
            return self._unpack.convert_one(packet) if packet else b""
        except ValueError as error:
            self._reject(Rejected(RejectCause.BAD_FORMAT, str(error)[:MAX_DETAIL]))
            return b""

    def _take_other(self, said: BotMark | BotClear | BotReply | Rejected | Command) -> None:
        match said:
            case BotMark(name):
                dropped = self._playout.marks_dropped
                self._pass_marks(self._playout.mark(name))
                self._totals.add(counters.BOT_MARKS_DROPPED, self._playout.marks_dropped - dropped)
            case BotClear():
                self._stats.clears += 1
                played_ms = self._playout.played_ms
                waiting = [] if self.carrier is None else self.carrier.clear()
                back = waiting + self._playout.clear()
                returned = self._request.return_cleared
                self._return_marks([name for name in back if returned or isinstance(name, AfterAudio)])
                self._say(self._numbered().cleared(played_ms))
            case BotReply(messages):
                self._say(messages)
            case Rejected():
                self._reject(said)
            case HangUp() | Transfer() | Ended() if self._playout.queued_bytes:
                # A goodbye that was sent before is heard first; a bot that does not want that clears.
                dropped = self._playout.marks_dropped
                self._playout.mark(AfterAudio(said))
                if self._playout.marks_dropped != dropped:
                    self._ask(said)
            case _:
                self._ask(said)

    def _ask(self, command: Command) -> None:
        """What the bot wants of the control process; what it says of its own end, ends the stream as well."""
        self._stats.bot_commands += 1
        self._tell(BotCommand(self.stream_id, command))
        match command:
            case Ended(reason):
                self._detail = self._detail or f"the bot ended: {reason[:200]!r}"
                self.close(EndCause.BOT_CLOSED)
            case Failed(code, message, fatal=True):
                self._detail = self._detail or f"the bot failed: {code[:64]} {message[:200]!r}"
                self.close(EndCause.BOT_FAILED)
            case Failed(code, message):
                self._complaints.note("bot_reports_error", code[:64], message[:200])

    def _reject(self, rejected: Rejected) -> None:
        self._stats.bot_rejected += 1
        self._totals.add(counters.bot_rejected(rejected.cause))
        self._complaints.note("bot_message_rejected", rejected.cause, rejected.detail)

    def played(self, name: str) -> None:
        """A mark that the carrier was given has been reached."""
        self._return_marks([name])

    def _pass_marks(self, names: list[str]) -> None:
        """What was before these marks has left us: they are due, unless a carrier still holds it."""
        carrier = self.carrier
        self._return_marks(names if carrier is None else [name for name in names if not carrier.mark(name)])

    def _return_marks(self, names: list[str]) -> None:
        for name in names:
            if isinstance(name, AfterAudio):
                self._ask(name.command)
                continue
            self._stats.marks += 1
            self._control(self._numbered().mark_played(name))

    def _say(self, messages: Sequence[WireMessage]) -> None:
        for message in messages:
            self._control(message)

    def _control(self, message: WireMessage | None) -> None:
        if message is None:
            return
        if self._socket.full:
            self._outbox.put_control(message)
        else:
            self._socket.send(message)

    def _ended(self, cause: EndCause, detail: str) -> StreamEnded:
        return StreamEnded(self.stream_id, cause, detail, self.stats(), complaints=self._complaints.first)
