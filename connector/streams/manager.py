"""The streams of one PBX: takes calls in from Stasis, routes the events of their channels, clears up after gaps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

import structlog

from connector.asterisk.ari import Ari, AriError
from connector.asterisk.ari_models import (
    Channel,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    Event,
    StasisEnd,
    StasisStart,
)
from connector.config import PbxSettings, Settings
from connector.config_profiles import STEPS, Mode
from connector.media.control import EndCause
from connector.media.engine import MediaEngine
from connector.media.recorder import RecordTo
from connector.records import CallHandedOver, StreamBegan, StreamRecord
from connector.streams.admission import Admission, Refusal
from connector.streams.before import LastStreams
from connector.streams.book import ProfileBook
from connector.streams.botcall import BotCall, handed_over
from connector.streams.dialling import Dialler
from connector.streams.facts import call_facts
from connector.streams.handover import Place
from connector.streams.leaving import hand_back
from connector.streams.listeners import Calls, Listeners
from connector.streams.match import CallFacts, find_profile
from connector.streams.monitor import Monitors
from connector.streams.ondemand import LISTEN, UNLISTEN, OnDemand
from connector.streams.parameters import split_arguments
from connector.streams.recordedcalls import RecordedCalls
from connector.streams.recordings import Recordings
from connector.streams.steps import Step, Steps
from connector.streams.sweep import Leftovers, find_leftovers, remove
from connector.streams.tapcall import TapCall
from connector.streams.taps import Taps
from connector.streams.telling import stream_record
from connector.streams.voicebot import VoicebotCall
from connector.streams.watch import QualityWatch, Watched, quality_record
from connector.telemetry.metrics import StreamCounters

log = structlog.get_logger()

LOOK_S = 1.0
"""Between two looks at how a stream sounds; the workers tell it as often."""
SWEEP_GRACE_S = 1.0
"""Between the two looks of a sweep: a call that is just being set up has its place by then."""


class PbxView(Calls, Protocol):
    """What the manager needs to know of the PBX beyond ARI."""

    def left_queue(self, uniqueid: str) -> tuple[str, int]:
        """The queue that a channel left last without having been answered, and its position there; or nothing."""
        ...


class StreamManager:
    """Owns the calls with bots of one PBX."""

    def __init__(
        self,
        *,
        pbx: str,
        settings: Settings,
        book: ProfileBook,
        ari: Ari,
        engine: MediaEngine,
        dialler: Dialler,
        admission: Admission,
        view: PbxView,
        counters: StreamCounters,
        new_id: Callable[[str], str],
        is_ours: Callable[[str], bool],
        monotonic: Callable[[], float],
        clock: Callable[[], float],
        publish: Callable[[StreamRecord | StreamBegan | CallHandedOver], None],
        recordings: Recordings,
    ) -> None:
        self.pbx = pbx
        self._settings = settings
        self._book = book
        self._ari = ari
        self._engine = engine
        self._dialler = dialler
        self._admission = admission
        self._view = view
        self._counters = counters
        self._new_id = new_id
        self._is_ours = is_ours
        self._monotonic = monotonic
        self._clock = clock
        self._publish = publish
        self._recordings = recordings
        self._arriving: dict[str, asyncio.Event] = {}
        """Callers whose profile is being found; set when they have left."""
        self.watch = QualityWatch(pbx, ari, counters)
        """Names what is wrong with the audio."""
        self.taps = Taps(
            pbx=pbx,
            settings=settings,
            book=book,
            ari=ari,
            engine=engine,
            dialler=dialler,
            admission=admission,
            view=view,
            counters=counters,
            new_id=new_id,
            monotonic=monotonic,
            clock=clock,
            publish=publish,
            watch=self.watch,
            recordings=recordings,
        )
        """For listening to calls that are not the connector's."""
        self.listeners = Listeners(pbx=pbx, book=book, taps=self.taps, calls=view)
        """Servers that listen to calls."""
        self.on_demand = OnDemand(pbx, self.listeners)
        self._monitors = Monitors(book, self.listeners)
        self.recorded = RecordedCalls(pbx, lambda: self._by_media.values(), self.taps, recordings, view)
        """Recordings of calls, by whoever wants one."""
        self._steps = Steps(
            pbx=pbx,
            app=settings.pbx[pbx].ari.app,
            ari=ari,
            book=book,
            dialler=dialler,
            counters=counters,
            clock=clock,
            start=self._start,
        )
        self._last = LastStreams(settings.recording)
        self._by_caller: dict[str, VoicebotCall] = {}
        self._by_media: dict[str, VoicebotCall] = {}
        self._stopping = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def calls(self) -> Mapping[str, VoicebotCall]:
        """Running calls by the id of their ExternalMedia channel: a caller may be with the next bot already."""
        return self._by_media

    @property
    def arriving(self) -> int:
        """Callers whose profile is being found."""
        return len(self._arriving)

    async def run(self) -> None:
        """Owns the calls until `stop`; then hands every one back to the dialplan and returns."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self.taps.run())
            watching = self._tasks.create_task(self._watch())
            await self._stopping.wait()
            for call in self._by_media.values():
                call.stop(EndCause.SHUTDOWN)
            watching.cancel()

    async def _watch(self) -> None:
        """Looks at how each stream sounds."""
        while True:
            await asyncio.sleep(LOOK_S)
            for call in list(self._by_media.values()):
                await self.watch.look(self._watched(call))
            for tap in list(self.taps.active.values()):
                if isinstance(tap, TapCall):
                    for watched in tap.watched(self._view.held(tap.order.channel_id)):
                        await self.watch.look(watched)
            await self.watch.ask_next()

    def _watched(self, call: VoicebotCall) -> Watched:
        return Watched(
            stream_id=call.call.stream_id,
            channel_id=call.call.channel_id,
            profile=call.call.profile,
            settings=call.profile,
            quality=call.quality,
            stats=call.stats,
            held=self._view.held(call.call.channel_id),
            caller_hz=call.wire.heard.rate_hz,
        )

    def held(self, channel_id: str) -> bool:
        """Whether a device holds the call that a channel belongs to."""
        return self._view.held(channel_id)

    def stop(self) -> None:
        """Takes no more calls and hands the running ones back."""
        self._stopping.set()
        self._steps.stop()
        self.taps.stop()

    # -- events of ARI --------------------------------------------------------------------------------------------

    def on_connected(self) -> None:
        """The events connection is up (again): what happened meanwhile is found out by looking."""
        self._start(self._resync())

    def on_event(self, event: Event) -> None:
        """One event of our application, in order."""
        match event:
            case StasisStart():
                self._on_stasis_start(event)
            case StasisEnd():
                self._on_stasis_end(event.channel.id)
            case ChannelHangupRequest():
                if call := self._by_caller.get(event.channel.id):
                    call.on_hangup_requested()
            case ChannelDtmfReceived():
                if call := self._by_caller.get(event.channel.id):
                    call.on_dtmf(event.digit)
            case _:
                pass

    def _on_stasis_start(self, event: StasisStart) -> None:
        channel = event.channel
        if call := self._by_media.get(channel.id):
            call.on_media_started()
        elif self.taps.on_started(channel.id):
            pass
        elif self._is_ours(channel.id):
            # The answer to its creation came after its call had ended.
            self._start(self._remove(Leftovers(callers=(), channels=(channel.id,), bridges=())))
        elif channel.id not in self._by_caller and ((here := self._arriving.get(channel.id)) is None or here.is_set()):
            self._arriving[channel.id] = asyncio.Event()  # the dialplan may send it in again at once
            self._start(self._take(channel, event.args))

    def _on_stasis_end(self, channel_id: str) -> None:
        if call := self._by_caller.pop(channel_id, None):  # the dialplan may send it in again at once
            call.on_caller_left()
        elif call := self._by_media.get(channel_id):
            call.on_media_left()
        elif left := self._arriving.get(channel_id):
            left.set()
        else:
            self.taps.on_left(channel_id)

    # -- a call ---------------------------------------------------------------------------------------------------

    async def _take(self, channel: Channel, args: list[str]) -> None:
        """Finds the profile of a call that entered Stasis, and begins its stream or hands it back."""
        profiles = self._book.profiles
        left = self._arriving[channel.id]
        try:
            if args and args[0] in (LISTEN, UNLISTEN):
                await hand_back(self._ari, channel.id, self.on_demand.asked_by_dialplan(channel.id, args))
                return
            facts = await call_facts(
                self._ari,
                channel,
                args,
                pbx=self.pbx,
                direction=self._view.direction(channel.id),
                profiles=profiles,
            )
            if not left.is_set() and (step := self._begin(channel, args, facts)) is not None:
                await self._steps.take(step)
        finally:
            if self._arriving.get(channel.id) is left:
                del self._arriving[channel.id]

    def _begin(self, channel: Channel, args: list[str], facts: CallFacts) -> Step | None:
        """Begins a stream; gives the step where the call comes to one."""
        profiles = self._book.profiles
        name = find_profile(profiles, facts, STEPS | {Mode.VOICEBOT})
        if name is None:
            if facts.name and facts.name not in profiles:
                self._refuse(channel.id, "", Refusal.UNKNOWN_PROFILE, asked_for=facts.name)
            else:
                self._refuse(channel.id, facts.name, Refusal.NOT_MATCHED)
            return None
        given = split_arguments(args[1:])
        place = self._place_of(channel)
        if profiles[name].mode in STEPS:
            return Step(
                channel=channel,
                name=name,
                profile=profiles[name],
                place=place,
                direction=facts.direction,
                given=given,
                left=self._arriving[channel.id],
                before=partial(self._last.of, channel.id, recordings_url=profiles[name].passthru.recordings_url),
            )
        refusal = self._admit()
        if refusal is not None:
            self._refuse(channel.id, name, refusal)
            return None
        bot_call = BotCall(
            pbx=self.pbx,
            channel_id=channel.id,
            stream_id=self._new_id("stream"),
            profile=name,
            place=place,
            queue=facts.queue or place.queue,
            started_at=self._clock(),
            caller={"from": channel.caller.number, "fromName": channel.caller.name},
            # First what the dialplan says, also in order: where a vendor's limit cuts, it cuts the profile's.
            parameters={**given, **profiles[name].parameters, **given},
        )
        call = VoicebotCall(
            call=bot_call,
            profile=profiles[name],
            pbx=self._pbx_settings,
            media=self._settings.media,
            ari=self._ari,
            dialler=self._dialler,
            trusted=self._book.is_trusted(name),
            record=self._recording(bot_call) if profiles[name].record else None,
            new_id=self._new_id,
            monotonic=self._monotonic,
            began=partial(self._began, bot_call, facts),
        )
        self._by_caller[channel.id] = call
        self._by_media[call.media_channel_id] = call
        self._last.put(call)
        self._start(self._run_call(call))
        return None

    def _began(self, call: BotCall, facts: CallFacts) -> None:
        self._publish(call.began(self._clock()))
        self._monitors.begin(call, facts)

    def _place_of(self, channel: Channel) -> Place:
        queue, position = self._view.left_queue(channel.id)
        return Place(
            context=channel.dialplan.context,
            extension=channel.dialplan.exten,
            priority=channel.dialplan.priority,
            queue=queue,
            position=position,
        )

    def _recording(self, call: BotCall) -> RecordTo | None:
        return self._recordings.try_to_begin(
            pbx=call.pbx,
            channel_id=call.channel_id,
            stream_id=call.stream_id,
            profile=call.profile,
            linkedid=self._view.linkedid_of(call.channel_id) or "",
        )

    def _admit(self) -> Refusal | None:
        if self._stopping.is_set():
            return Refusal.DRAINING
        if not self._engine.ready.is_set():
            return Refusal.WORKER_DOWN
        if not self._engine.has_room:
            return Refusal.WORKER_FULL
        return self._admission.admit(
            self.pbx,
            rtp=self._view.rtp_range,
            configured=self._pbx_settings.max_streams,
            rtp_channels_up=self._view.rtp_channels_up,
        )

    @property
    def _pbx_settings(self) -> PbxSettings:
        return self._settings.pbx[self.pbx]

    async def _run_call(self, call: VoicebotCall) -> None:
        bot_call = call.call
        with structlog.contextvars.bound_contextvars(
            pbx=self.pbx, call_id=bot_call.call_id, stream_id=bot_call.stream_id
        ):
            try:
                ending = await call.run()
            finally:
                self._monitors.end(bot_call)
                self._admission.release(self.pbx)
                del self._by_media[call.media_channel_id]
                if self._by_caller.get(bot_call.channel_id) is call:
                    del self._by_caller[bot_call.channel_id]
            phone = call.phone or self.watch.phone(bot_call.stream_id)
            found = self.watch.end(self._watched(call))
            log.info("stream_ended", profile=bot_call.profile, cause=ending.cause.value, detail=ending.detail)
            kind = (self.pbx, bot_call.profile, call.profile.dialect.name, call.profile.mode.value)
            self._counters.ended(*kind, ending.cause, ending.setup_s)
            if ending.cause is EndCause.HANDED_OVER:  # who takes the call may want to know what the bot has found out
                self._publish(handed_over(bot_call, ending, self._clock()))
            self._publish(stream_record(call, ending, quality_record(call.quality, found, phone), at=self._clock()))

    def _refuse(self, channel_id: str, profile: str, refusal: Refusal, **context: str) -> None:
        log.warning("call_refused", pbx=self.pbx, call_id=f"{self.pbx}:{channel_id}", refusal=refusal.value, **context)
        self._counters.refused(self.pbx, profile, refusal.value)
        self._start(hand_back(self._ari, channel_id, refusal.value))

    # -- after a gap ----------------------------------------------------------------------------------------------

    async def _resync(self) -> None:
        # Before the look, which cannot know who comes during it.
        known, tapping = dict(self._by_caller), self.taps.started_channel_ids
        try:
            first, in_application = await self._look()
            for channel_id, call in known.items():
                if channel_id not in in_application:  # hung up, or taken out of Stasis
                    call.on_caller_left()
                    self._by_caller.pop(channel_id, None)
            for channel_id in tapping - in_application:
                self.taps.on_left(channel_id)
            if not first:
                return
            await asyncio.sleep(SWEEP_GRACE_S)
            second, _ = await self._look()
        except AriError as error:
            log.warning("sweep_failed", pbx=self.pbx, error=str(error))
            return
        await self._remove(first.still(second))

    async def _look(self) -> tuple[Leftovers, set[str]]:
        application = await self._ari.application()
        channels = {channel.id for channel in await self._ari.channels()}
        bridges = {bridge.id for bridge in await self._ari.bridges()}
        live = {
            *self._arriving,
            *self._by_caller,
            *self._by_media,
            *(call.bridge_id for call in self._by_media.values()),
        }
        live |= self.taps.object_ids
        found = find_leftovers(
            in_application=application.channel_ids, channels=channels, bridges=bridges, ours=self._is_ours, live=live
        )
        return found, set(application.channel_ids)

    async def _remove(self, leftovers: Leftovers) -> None:
        await remove(leftovers, self._ari, pbx=self.pbx, counters=self._counters)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "run() owns the tasks"
        self._tasks.create_task(coroutine)
