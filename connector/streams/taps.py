"""The taps of one PBX: started and stopped by whoever wants audio of a call that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from connector.asterisk.ari import Ari
from connector.asterisk.pbx_facts import RtpRange
from connector.config import ProfileSettings, Settings
from connector.dialects.base import Track
from connector.events import LegChanged, LegEnded, LegHeld
from connector.media.control import EndCause
from connector.media.engine import MediaEngine
from connector.media.recorder import RecordTo
from connector.net.reach import origin_of
from connector.records import StreamBegan, StreamRecord
from connector.streams.admission import Admission, Refusal
from connector.streams.book import ProfileBook
from connector.streams.dialling import Dialler
from connector.streams.listening import TRACKS, Hear, Listening, Voice
from connector.streams.recordings import Recordings
from connector.streams.tapcall import TapCall, TapEnding, TapOrder
from connector.streams.watch import QualityWatch, quality_record
from connector.telemetry.metrics import StreamCounters

log = structlog.get_logger()


RECORDED_ONLY = ProfileSettings.model_construct(url="", record=True, max_session_minutes=1_440)
"""In place of the profile of a call that is recorded and heard by nobody."""


class TapRefused(Exception):
    """A tap was not started; nothing was created."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class CallView(Protocol):
    """What the taps need to know of the PBX beyond ARI."""

    @property
    def rtp_range(self) -> RtpRange | None:
        """Its RTP ports, None until they were read."""
        ...

    @property
    def rtp_channels_up(self) -> int:
        """Channels up that hold RTP ports."""
        ...

    def held(self, uniqueid: str) -> bool:
        """Whether a device holds the call that a channel belongs to."""
        ...

    def linkedid_of(self, uniqueid: str) -> str | None:
        """Of a channel that is up: the name of its call."""
        ...

    def caller_of(self, linkedid: str) -> str:
        """Uniqueid of the caller's channel in a call that goes on; empty if there is no such call."""
        ...


class Taps:
    """Owns the taps of one PBX: `run` until cancelled or stopped."""

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
        view: CallView,
        counters: StreamCounters,
        new_id: Callable[[str], str],
        monotonic: Callable[[], float],
        clock: Callable[[], float],
        publish: Callable[[StreamRecord | StreamBegan], None],
        watch: QualityWatch,
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
        self._monotonic = monotonic
        self._clock = clock
        self._publish = publish
        self._watch = watch
        self._recordings = recordings
        self._active: dict[str, TapCall | Listening] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Owns the taps until `stop`; then ends them all and returns."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._stopping.wait()
            for tap in self._active.values():
                tap.stop(EndCause.SHUTDOWN)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Owns what has to be found out before a tap is ordered."""
        if self._tasks is None or self._stopping.is_set():
            work.close()
        else:
            self._tasks.create_task(work)

    def stop(self) -> None:
        """Takes no more orders and ends what runs."""
        self._stopping.set()

    @property
    def active(self) -> Mapping[str, TapCall | Listening]:
        """Running taps by id."""
        return self._active

    @property
    def object_ids(self) -> set[str]:
        """All channels and bridges that taps have, or are about to have, in Asterisk."""
        return {each for tap in self._active.values() for each in tap.tap.object_ids}

    @property
    def started_channel_ids(self) -> set[str]:
        """The channels of taps whose audio flows."""
        return {each for tap in self._active.values() if tap.started.is_set() for each in tap.tap.channel_ids}

    def start(self, order: TapOrder) -> TapCall:
        """Begins to listen; returns at once. `stop` on what it returns ends it.

        Raises:
            TapRefused: There is no room for it, or no such profile.
        """
        assert self._tasks is not None, "run() owns the tasks"
        kept = self._book.profiles.get(order.profile) if order.profile else RECORDED_ONLY
        profile = order.settings or kept
        refusal = Refusal.UNKNOWN_PROFILE if profile is None else self._admit(len(order.tracks))
        if profile is None or refusal is not None:
            assert refusal is not None
            self._counters.refused(self.pbx, order.profile if profile else "", refusal.value)
            raise TapRefused(refusal)
        tap = TapCall(
            order,
            pbx_name=self.pbx,
            profile=profile,
            pbx=self._settings.pbx[self.pbx],
            media=self._settings.media,
            ari=self._ari,
            dialler=self._dialler,
            trusted=order.settings is None and self._book.is_trusted(order.profile),
            new_id=self._new_id,
            monotonic=self._monotonic,
            started_at=self._clock(),
            record=partial(self._begin_recording, order) if profile.record else None,
            audible=profile.record and self._recordings.beeps,
            began=lambda stream_ids: self._tell_began(order, stream_ids),
        )
        self._active[tap.tap_id] = tap
        self._tasks.create_task(self._run(tap))
        return tap

    def _begin_recording(self, order: TapOrder, stream_id: str) -> RecordTo | None:
        return self._recordings.try_to_begin(
            pbx=self.pbx,
            channel_id=order.channel_id,
            stream_id=stream_id,
            profile=order.profile,
            linkedid=self._view.linkedid_of(order.channel_id) or "",
            tap=True,
        )

    def listen(self, channel_id: str, hear: Hear, *, speaker: Track, voice: Voice = Voice.NOBODY) -> Listening:
        """Begins to listen to a channel for somebody of the house; returns at once.

        Args:
            channel_id: Its uniqueid.
            hear: Gets the audio.
            speaker: Whose channel it is.
            voice: Who hears the listener.

        Raises:
            TapRefused: There is no room for it.
        """
        assert self._tasks is not None, "run() owns the tasks"
        refusal = self._admit(len(TRACKS))
        if refusal is not None:
            raise TapRefused(refusal)
        listening = Listening(
            channel_id,
            hear,
            speaker=speaker,
            voice=voice,
            pbx_name=self.pbx,
            rtp_host=self._settings.pbx[self.pbx].rtp_host,
            media=self._settings.media,
            ari=self._ari,
            new_id=self._new_id,
            monotonic=self._monotonic,
            started_at=self._clock(),
        )
        self._active[listening.tap_id] = listening
        self._tasks.create_task(self._run(listening))
        return listening

    def _admit(self, channels: int) -> Refusal | None:
        if self._stopping.is_set():
            return Refusal.DRAINING
        if not self._engine.ready.is_set():
            return Refusal.WORKER_DOWN
        return self._admission.admit(
            self.pbx,
            rtp=self._view.rtp_range,
            configured=self._settings.pbx[self.pbx].max_streams,
            rtp_channels_up=self._view.rtp_channels_up,
            streams=channels,
        )

    async def _run(self, tap: TapCall | Listening) -> None:
        with structlog.contextvars.bound_contextvars(pbx=self.pbx, call_id=tap.call_id, tap_id=tap.tap_id):
            try:
                ending = await tap.run()
            finally:
                self._admission.release(self.pbx, streams=len(tap.order.tracks))
                del self._active[tap.tap_id]
            log.info("tap_ended", profile=tap.order.profile, cause=ending.cause.value, detail=ending.detail)
            if tap.order.profile:
                self._keep(tap, ending)

    def _tell_began(self, order: TapOrder, stream_ids: tuple[str, ...]) -> None:
        for stream_id in stream_ids:
            self._publish(
                StreamBegan(
                    pbx=self.pbx,
                    at=self._clock(),
                    stream_id=stream_id,
                    uniqueid=order.channel_id,
                    profile=order.profile,
                )
            )

    def _keep(self, tap: TapCall | Listening, ending: TapEnding) -> None:
        if not isinstance(tap, TapCall):
            return  # it had no stream
        ended = {each.stream_id: each for each in ending.streams}
        watched = {each.stream_id: each for each in tap.watched(held=False)}
        peers = {handle.stream_id: handle.peer for handle in tap.handles}
        for stream_id in tap.stream_ids:
            last = ended.get(stream_id)
            heard = watched.get(stream_id)
            found = [] if heard is None else self._watch.end(heard)
            kind = (self.pbx, tap.order.profile, tap.profile.dialect.name, tap.profile.mode.value)
            self._counters.ended(*kind, ending.cause, ending.setup_s)
            self._publish(
                StreamRecord(
                    pbx=self.pbx,
                    at=self._clock(),
                    stream_id=stream_id,
                    uniqueid=tap.order.channel_id,
                    profile=tap.order.profile,
                    dialect=tap.profile.dialect.name,
                    mode=tap.profile.mode.value,
                    peer=peers.get(stream_id, origin_of(tap.profile.url)),
                    queue=tap.order.queue,
                    cause=ending.cause.value,
                    detail=ending.detail,
                    started_at=tap.started_at,
                    setup_s=ending.setup_s,
                    stats={} if last is None else msgspec.to_builtins(last.stats),
                    quality=quality_record(None if heard is None else heard.quality, found),
                )
            )

    # -- events ---------------------------------------------------------------------------------------------------

    def on_started(self, channel_id: str) -> bool:
        """StasisStart; whether the channel is one of a tap."""
        tap = self._with(channel_id)
        if tap is not None:
            tap.tap.on_started(channel_id)
        return tap is not None

    def on_left(self, channel_id: str) -> None:
        """StasisEnd of any channel, or a resync that finds it no more."""
        if (tap := self._with(channel_id)) is not None:
            tap.tap.on_left(channel_id)

    def on_event(self, event: object) -> None:
        """Takes the bus: a tap is paused while a device holds its call, and goes along when its call is passed on."""
        if not isinstance(event, LegHeld | LegEnded | LegChanged) or event.pbx != self.pbx:
            return
        for tap in self._active.values():
            tapped = tap.order.channel_id
            match event:
                case LegChanged(linkedid=linkedid):
                    if linkedid == self._view.linkedid_of(tapped):
                        tap.tap.on_moved()
                case LegEnded(uniqueid=uniqueid) if uniqueid == tapped:
                    tap.tap.on_gone()
                case _:
                    tap.pause(self._view.held(tapped))

    def _with(self, channel_id: str) -> TapCall | Listening | None:
        return next((tap for tap in self._active.values() if channel_id in tap.tap.channel_ids), None)
