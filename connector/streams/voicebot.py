"""One call with a bot, from its StasisStart to its return to the dialplan or the caller's hang-up.

The bot is dialled first, while the caller still hears what the dialplan left: if it fails, nothing was created in
Asterisk and the call goes on unanswered. Then ARI answers, makes a mixing bridge and an ExternalMedia channel, and
puts both channels in the bridge once ExternalMedia is in Stasis itself (before that addChannel is refused with 422).
Whatever happens, the call ends in exactly one `Ending`, and nothing of ours stays behind in Asterisk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from connector.asterisk.ari import Ari, AriError
from connector.audio.wire import WIRES
from connector.config import MediaSettings, PbxSettings, ProfileSettings
from connector.dialects.commands import Command, HangUp, Reconnected, SendDigits, Transfer, Transferred, TransferState
from connector.media.control import Address, AudioSocketPeer, EndCause, StreamStats, WebSocketPeer
from connector.media.engine import StreamFailed, StreamHandle
from connector.media.quality import Quality
from connector.media.recorder import RecordTo
from connector.net.reach import origin_of
from connector.streams.botcall import BotCall, Ending, added
from connector.streams.dialling import Dialler
from connector.streams.facts import DIALLED_NUMBER, sip_headers
from connector.streams.handover import BadHandover, Handover, OnItsWay, asked_handover, handover_after, variables
from connector.streams.leaving import send_on
from connector.streams.mediachannel import open_media_channel
from connector.streams.opening import open_message
from connector.streams.parameters import bounded
from connector.streams.phone_rtp import PhoneRtp, phone_at_end

log = structlog.get_logger()

MEDIA_START_DEADLINE_S = 2.0
"""From the answer of POST externalMedia to its StasisStart; 1 ms on a healthy Asterisk 22, up to 200 ms on 16."""

GONE_GRACE_S = 0.5
"""How long the events of a channel may lag behind the REST answer that it no longer exists."""

T = TypeVar("T")


class _CallerGone(Exception):
    """The caller's channel left Stasis while a step was under way."""


class VoicebotCall:
    """Drives one call. The manager feeds the events of its channels; `run` is awaited once.

    Attributes:
        wire: How audio goes between Asterisk and us.
        phone: What Asterisk counted of the caller's phone, once the call is over; None where it is not known.
    """

    def __init__(
        self,
        *,
        call: BotCall,
        profile: ProfileSettings,
        pbx: PbxSettings,
        media: MediaSettings,
        ari: Ari,
        dialler: Dialler,
        trusted: bool,
        record: RecordTo | None,
        new_id: Callable[[str], str],
        monotonic: Callable[[], float],
        began: Callable[[], None] = lambda: None,
    ) -> None:
        self.call = call
        self.media_channel_id = new_id("em")
        self.bridge_id = new_id("bridge")
        self._profile = profile
        self._pbx = pbx
        self._media = media
        self._ari = ari
        self._dialler = dialler
        self._trusted = trusted
        self._record = record
        self._monotonic = monotonic
        self._began = began
        self._stream: StreamHandle | None = None
        self.wire = WIRES[profile.audio or pbx.audio]
        self._hangup_requested = False
        loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._media_started: asyncio.Future[None] = loop.create_future()
        self._media_gone: asyncio.Future[None] = loop.create_future()
        self._stopped: asyncio.Future[EndCause] = loop.create_future()
        self._decided: asyncio.Future[tuple[EndCause, Handover]] = loop.create_future()
        self.phone: PhoneRtp | None = None
        self.ending: asyncio.Future[Ending] = loop.create_future()
        """How it ended, once it has: the caller is on the way, and nothing of ours is left."""
        self._past = StreamStats()  # of connections that broke
        self._reconnects = 0
        self.live_since: float | None = None
        """When audio began to flow, in seconds of `monotonic`; None before."""

    @property
    def profile(self) -> ProfileSettings:
        """What the call began with."""
        return self._profile

    @property
    def peer(self) -> str:
        """Where the bot is: scheme, host and port."""
        return self._stream.peer if self._stream is not None else origin_of(self._profile.url)

    @property
    def stats(self) -> StreamStats:
        """What the stream carried so far, at most a second old."""
        return added(self._past, self._stream.stats) if self._stream is not None else self._past

    @property
    def quality(self) -> Quality | None:
        """How the stream sounds, at most a second old; None before audio."""
        return self._stream.quality if self._stream is not None else None

    # -- events of the call's channels, in the order Asterisk sent them -----------------------------------------

    def on_hangup_requested(self) -> None:
        """The caller hangs up; StasisEnd follows."""
        self._hangup_requested = True

    def on_caller_left(self) -> None:
        """StasisEnd of the caller, or a resync that no longer finds it."""
        _resolve(self._gone, None)

    def on_media_started(self) -> None:
        """StasisStart of our ExternalMedia channel."""
        _resolve(self._media_started, None)

    def on_media_left(self) -> None:
        """StasisEnd of our ExternalMedia channel."""
        _resolve(self._media_gone, None)

    def on_dtmf(self, digit: str) -> None:
        """The caller pressed a digit."""
        if self._stream is not None:
            self._stream.send_dtmf(digit)

    @property
    def recorded(self) -> RecordTo | None:
        """Where it is recorded."""
        return self._record

    @property
    def recording_paused(self) -> bool:
        """Whether what is said is left out of the recording."""
        return self._stream is not None and self._stream.recording_paused

    def start_recording(self, to: RecordTo) -> None:
        """Records it from now on."""
        self._record = to
        if self._stream is not None:
            self._stream.start_recording(to)

    def stop_recording(self) -> None:
        """Records it no more."""
        self._record = None
        if self._stream is not None:
            self._stream.stop_recording()

    def pause_recording(self, paused: bool) -> None:
        """Leaves what is said out of the recording, or no longer."""
        if self._stream is not None:
            self._stream.pause_recording(paused)

    def stop(self, cause: EndCause) -> None:
        """Ends the stream and hands the call back to the dialplan."""
        _resolve(self._stopped, cause)

    async def order(self, command: Command, *, trusted: bool = True) -> None:
        """Does what the bot, or a user of the API, asks for.

        Args:
            command: Hang up, hand over, press keys; others are the bot's business alone.
            trusted: It comes from a user of the API.

        Raises:
            BadHandover: It cannot be done.
            AriError: Asterisk does not do it.
        """
        match command:
            case HangUp(reason):
                self._decide(EndCause.BOT_HUNG_UP, handover_after(EndCause.BOT_HUNG_UP, self._profile.handover), reason)
            case Transfer():
                handover = asked_handover(self._profile.handover, command, trusted=trusted)
                self._decide(EndCause.HANDED_OVER, handover, str(handover.target))
            case SendDigits(digits):
                await self._ari.send_dtmf(self.call.channel_id, digits)
            case _:
                pass

    def _decide(self, cause: EndCause, handover: Handover, detail: str) -> None:
        if self._decided.done():
            raise OnItsWay(f"the call is on its way already: {self._decided.result()[1].target}")
        log.info("call_decided", cause=cause.value, detail=detail)
        _resolve(self._decided, (cause, handover))

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Runs the call to its end. Never raises but on cancellation."""
        started = self._monotonic()
        setup_s: float | None = None
        try:
            parameters = await self._unless_gone(self._parameters())
            self._stream = await self._unless_gone(self._dial(parameters))
            await self._connect_media(self._stream)
            self.live_since = self._monotonic()
            setup_s = self.live_since - started
            self._began()
            log.info("stream_started", profile=self.call.profile, setup_ms=round(setup_s * 1000, 1))
            cause, detail = await self._live()
        except _CallerGone:
            cause, detail = self._why_gone()
        except StreamFailed as failure:
            cause, detail = failure.cause, failure.detail
        except AriError as error:
            # A caller who hangs up between two requests makes them fail; the event that says so is on its way.
            await asyncio.wait({self._gone}, timeout=GONE_GRACE_S)
            cause, detail = self._why_gone() if self._gone.done() else (EndCause.ASTERISK_ERROR, str(error))
        except Exception as error:  # a defect of ours must cost this stream, not the caller
            log.exception("stream_defect")
            cause, detail = EndCause.ASTERISK_ERROR, f"defect: {type(error).__name__}"
        decided = self._decided.done() and cause is self._decided.result()[0]
        lasted_s = 0.0 if self.live_since is None else self._monotonic() - self.live_since
        handover = self._decided.result()[1] if decided else handover_after(cause, self._profile.handover)
        stats = await self._leave(cause, handover)
        self.ending.set_result(Ending(cause, detail, handover, stats, setup_s, lasted_s))
        return self.ending.result()

    async def _parameters(self) -> dict[str, str]:
        custom = dict(self.call.parameters)
        caller = dict(self.call.caller)
        headers = await sip_headers(self._ari, self.call.channel_id, self._profile.sip_headers)
        custom |= {name: value for name, value in headers.items() if value and name not in custom}
        if "to" not in custom:
            try:
                dialled = await self._ari.get_variable(self.call.channel_id, DIALLED_NUMBER)
            except AriError:
                dialled = ""  # a channel that nobody dialled in on, or one that is gone, of which an event tells
            caller["to"] = dialled or self.call.place.extension
        parameters, dropped = bounded(
            caller,
            custom,
            most=self._profile.max_parameters,
            characters=self._profile.max_parameter_characters,
        )
        if dropped:
            log.warning("parameters_dropped", profile=self.call.profile, dropped=dropped)
        return parameters

    async def _dial(self, parameters: dict[str, str], near: StreamHandle | None = None) -> StreamHandle:
        request = open_message(
            self._profile,
            self._media,
            stream_id=self.call.stream_id,
            pbx=self.call.pbx,
            call_id=self.call.call_id,
            record=self._record,
            parameters=parameters,
            audio=self.wire.name,
        )
        return await self._dialler.open(request, self.call.profile, self._profile, trusted=self._trusted, near=near)

    async def _connect_media(self, stream: StreamHandle) -> None:
        # Not cancelled when the caller leaves meanwhile: a request under way would create its bridge or channel
        # after it was cleared away. Each has its deadline.
        results = await asyncio.gather(
            self._ari.answer(self.call.channel_id),
            self._ari.create_bridge(self.bridge_id, name=self.bridge_id),
            open_media_channel(
                self._ari,
                self.wire,
                channel_id=self.media_channel_id,
                ours=self._media.external_host(stream.rtp.port),
                rtp_host=self._pbx.rtp_host,
                tls_ca_file=str(self._pbx.ari.tls_ca_file or ""),
            ),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        remote = results[2]
        assert isinstance(remote, Address | AudioSocketPeer | WebSocketPeer)
        stream.attach(remote)
        await self._unless_gone(self._media_in_stasis())
        await self._ari.add_channel(self.bridge_id, [self.call.channel_id, self.media_channel_id])

    async def _media_in_stasis(self) -> None:
        try:
            async with asyncio.timeout(MEDIA_START_DEADLINE_S):
                await self._media_started
        except TimeoutError:
            raise StreamFailed(
                EndCause.ASTERISK_ERROR,
                f"no StasisStart of the ExternalMedia channel within {MEDIA_START_DEADLINE_S} s: see Asterisk's log",
            ) from None

    async def _live(self) -> tuple[EndCause, str]:
        until_s = self._monotonic() + self._profile.max_session_minutes * 60
        while True:
            stream = self._stream
            assert stream is not None
            asked = asyncio.ensure_future(stream.commands.get())
            ends = (self._gone, asked, self._decided, self._media_gone, self._stopped, stream.ended)
            try:
                await asyncio.wait(
                    ends, timeout=max(0.0, until_s - self._monotonic()), return_when=asyncio.FIRST_COMPLETED
                )
                if self._gone.done():
                    return self._why_gone()
                if asked.done():  # before the end of the stream: a bot may ask for something and close at once
                    await self._obey(stream, asked.result())
                    continue
            finally:
                asked.cancel()
            end = await self._ended(stream)
            if end is not None:
                return end

    async def _ended(self, stream: StreamHandle) -> tuple[EndCause, str] | None:
        """Why the stream is over; None if it goes on."""
        if self._decided.done():
            cause, handover = self._decided.result()
            return cause, str(handover.target)
        if self._stopped.done():
            return self._stopped.result(), "stopped by the connector"
        if stream.ended.done():
            ended = stream.ended.result()
            again = ended.cause is EndCause.BOT_LOST and self._reconnects < self._profile.reconnect.attempts
            # Over RTP alone: the other ways end with the connection that Asterisk has with the stream's worker.
            if not again or not isinstance(stream.remote, Address):
                return ended.cause, ended.detail
            await self._reconnect(stream)
            return None
        if self._media_gone.done():
            return EndCause.ASTERISK_ERROR, "Asterisk ended the ExternalMedia channel"
        return EndCause.SESSION_LIMIT, f"longer than {self._profile.max_session_minutes} minutes"

    async def _obey(self, stream: StreamHandle, command: Command) -> None:
        try:
            await self.order(command, trusted=False)
        except OnItsWay:
            pass  # what came first counts
        except BadHandover as error:
            log.warning("handover_refused", profile=self.call.profile, error=str(error))
            stream.notify(Transferred(TransferState.FAILED, reason=str(error)))
        except AriError as error:
            log.warning("command_failed", profile=self.call.profile, error=str(error))
        else:
            if isinstance(command, Transfer):
                stream.notify(Transferred(TransferState.STARTED, target=command.target, reason=command.reason))

    async def _reconnect(self, stream: StreamHandle) -> None:
        """Dials the bot again while the caller hears music or nothing.

        Raises:
            StreamFailed: It is not there.
        """
        self._reconnects += 1
        lost_s = self._monotonic()
        log.warning("bot_lost", profile=self.call.profile, detail=stream.ended.result().detail)
        self._past = added(self._past, stream.stats)
        self._stream = None
        music = self._profile.reconnect.meanwhile == "music"
        if music:
            await self._ari.start_bridge_music(self.bridge_id)
        try:
            parameters = await self._unless_gone(self._parameters())
            self._stream = await self._unless_gone(self._dial(parameters, near=stream))
        finally:
            if music and not self._gone.done():
                await self._ari.stop_bridge_music(self.bridge_id)
        if stream.remote is not None:
            self._stream.attach(stream.remote)
        if stream.recording_paused:
            self._stream.pause_recording(True)
        gap_ms = round((self._monotonic() - lost_s) * 1000)
        self._stream.notify(Reconnected(gap_ms=gap_ms, attempt=self._reconnects))
        log.info("bot_reconnected", profile=self.call.profile, attempt=self._reconnects, gap_ms=gap_ms)

    async def _leave(self, cause: EndCause, handover: Handover) -> StreamStats | None:
        """Sends the caller on, then clears away what is ours. The caller comes first."""
        if not self._gone.done():
            settings = self._profile.handover
            await send_on(
                self._ari,
                self.call.channel_id,
                handover,
                variables(
                    handover,
                    settings,
                    self.call.place,
                    result=cause.value,
                    app=self._pbx.ari.app,
                    profile=self.call.profile,
                ),
                context=settings.context,
            )
        stats: StreamStats | None = None
        if self._stream is not None:
            self._stream.close(cause)
            stats = added(self._past, (await self._stream.ended).stats)
            self.phone = await phone_at_end(
                self._ari, self.call.channel_id, self.media_channel_id, hung_up=self._gone.done()
            )
        for removal in (
            self._ari.hangup(self.media_channel_id, missing_ok=True),
            self._ari.delete_bridge(self.bridge_id, missing_ok=True),
        ):
            try:
                await removal
            except AriError as error:
                # The sweep after the next connect finds it by its name.
                log.warning("left_behind", error=str(error))
        return stats

    async def _unless_gone(self, step: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(step)
        try:
            first: set[asyncio.Future[Any]] = {task, self._gone, self._stopped}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            if self._gone.done():
                raise _CallerGone
            raise StreamFailed(self._stopped.result(), "stopped by the connector")
        return task.result()

    def _why_gone(self) -> tuple[EndCause, str]:
        if self._hangup_requested:
            return EndCause.CALLER_HUNG_UP, "the caller hung up"
        return EndCause.CALL_MOVED, "the call was taken out of Stasis"


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
