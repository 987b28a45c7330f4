"""One tapped call, from the order to the end: the bot is dialled, then the call is listened to, then all is removed.

The tapped call is somebody else's: whatever happens here, to it nothing happens. It may be put on hold or passed on;
the tap stays with its channel, and ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from connector.asterisk.ari import Ari
from connector.asterisk.ids import Kind
from connector.config import MediaSettings, PbxSettings, ProfileSettings
from connector.dialects.base import Track
from connector.dialects.commands import Hold
from connector.media.control import EndCause, StreamEnded, StreamStats
from connector.media.engine import StreamFailed, StreamHandle
from connector.media.recorder import RecordTo
from connector.streams.dialling import Dialler
from connector.streams.opening import open_message
from connector.streams.tap import Tap, TapFailed
from connector.streams.watch import Watched

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TapOrder:
    """What is to be listened to, and for whom.

    Attributes:
        channel_id: Uniqueid of the channel. A caller's channel stays over holds and transfers; an agent's ends with
            the agent's part of the call.
        profile: Name of the profile whose bot or server gets the audio; empty: it is only recorded.
        tracks: Whose audio; one stream for all, or one for each, as the dialect can carry it.
        speaker: Whose channel it is.
        parameters: For the bot, beside those of the profile.
        settings: In place of a profile's, for a server that somebody names with the order; `profile` is then a label.
    """

    channel_id: str
    profile: str
    tracks: tuple[Track, ...] = (Track.CALLER, Track.AGENT)
    speaker: Track = Track.CALLER
    parameters: dict[str, str] = field(default_factory=dict)
    settings: ProfileSettings | None = None

    @property
    def queue(self) -> str:
        """That the conversation came from; empty if it came from none."""
        return self.parameters.get("queue", "")


@dataclass(frozen=True, slots=True)
class TapEnding:
    """How a tap ended. `setup_s` is the order to audio, None where it never came to that."""

    cause: EndCause
    detail: str
    setup_s: float | None
    streams: tuple[StreamEnded, ...]


class TapCall:
    """Drives one tap; `run` is awaited once.

    Attributes:
        tap_id: Our id of it.
        order: What it was asked for.
        stream_ids: Of its streams.
        paused: The tapped call is on hold.
        started_at: Unix time of the order.
        started: Set once audio flows.
        over: Set once it has ended.
    """

    def __init__(
        self,
        order: TapOrder,
        *,
        pbx_name: str,
        profile: ProfileSettings,
        pbx: PbxSettings,
        media: MediaSettings,
        ari: Ari,
        dialler: Dialler,
        trusted: bool,
        new_id: Callable[[str], str],
        monotonic: Callable[[], float],
        started_at: float,
        record: Callable[[str], RecordTo | None] | None = None,
        audible: bool = False,
        began: Callable[[tuple[str, ...]], None] = lambda _: None,
    ) -> None:
        self.order = order
        self.tap_id = new_id(Kind.TAP)
        mixes = not order.profile or profile.dialect.mixes
        self._groups = [order.tracks] if mixes else [(track,) for track in order.tracks]
        """The tracks of each stream."""
        self._record = record
        self.stream_ids = tuple(new_id(Kind.STREAM) for _ in self._groups)
        self.paused = False
        self.over = asyncio.Event()
        self.started_at = started_at
        self.started = asyncio.Event()
        self.tap = Tap(
            order.channel_id,
            order.tracks,
            speaker=order.speaker,
            ari=ari,
            rtp_host=pbx.rtp_host,
            new_id=new_id,
            whisper="both" if audible else "none",
        )
        self._pbx_name, self._profile, self._media = pbx_name, profile, media
        self._dialler, self._trusted = dialler, trusted
        self._monotonic = monotonic
        self._began = began
        self._handles: list[StreamHandle] = []
        self._stopped: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()

    @property
    def profile(self) -> ProfileSettings:
        """What it began with."""
        return self._profile

    @property
    def handles(self) -> Sequence[StreamHandle]:
        """Its streams, as far as they were opened."""
        return self._handles

    @property
    def call_id(self) -> str:
        """Of the tapped channel, unique over all PBXs."""
        return f"{self._pbx_name}:{self.order.channel_id}"

    @property
    def stats(self) -> tuple[StreamStats, ...]:
        """What each stream carried so far, at most a second old."""
        return tuple(handle.stats for handle in self._handles)

    @property
    def recorded(self) -> RecordTo | None:
        """Where it is recorded."""
        return self._handles[0].recorded if self._handles else None

    @property
    def recording_paused(self) -> bool:
        """Whether what is said is left out of the recording."""
        return bool(self._handles) and self._handles[0].recording_paused

    @property
    def can_record(self) -> bool:
        """Whether both sides are heard, and by one media worker."""
        return set(self.order.tracks) == set(Track) and len({handle.worker for handle in self._handles}) == 1

    def start_recording(self, to: RecordTo) -> None:
        """Records all its streams in one file from now on."""
        for handle in self._handles:
            handle.start_recording(to)

    def stop_recording(self) -> None:
        """Records it no more; one that is only there for that ends."""
        if not self.order.profile:
            self.stop()
        for handle in self._handles:
            handle.stop_recording()

    def pause_recording(self, paused: bool) -> None:
        """Leaves what is said out of the recording, or no longer."""
        for handle in self._handles:
            handle.pause_recording(paused)

    def watched(self, held: bool) -> list[Watched]:
        """Its streams as they are looked at."""
        return [
            Watched(
                stream_id=handle.stream_id,
                channel_id=self.order.channel_id,
                profile=self.order.profile,
                settings=self._profile,
                quality=handle.quality,
                stats=handle.stats,
                # A track has silence while the other side speaks, or is not there yet.
                held=held or handle.stream_id != self.stream_ids[0],
                bot_speaks=False,
            )
            for handle in self._handles
        ]

    def stop(self, cause: EndCause = EndCause.STOPPED) -> None:
        """Ends it."""
        if not self._stopped.done():
            self._stopped.set_result(cause)

    def pause(self, paused: bool) -> None:
        """The tapped call is on hold, or no longer: the bots are told, if their protocol has a word for it."""
        if paused is not self.paused:
            self.paused = paused
            for handle in self._handles:
                handle.notify(Hold(paused))
            log.info("tap_paused" if paused else "tap_resumed", tap_id=self.tap_id)

    async def run(self) -> TapEnding:
        """Runs the tap to its end. Never raises but on cancellation."""
        began_s = self._monotonic()
        setup_s: float | None = None
        try:
            self._handles = await self._open_streams()
            handles = {
                track: handle for tracks, handle in zip(self._groups, self._handles, strict=True) for track in tracks
            }
            await self.tap.open(
                {track: self._media.external_host(handle.rtp.port) for track, handle in handles.items()},
                lambda track, remote: handles[track].attach(remote, track),
            )
            setup_s = self._monotonic() - began_s
            self.started.set()
            self._began(self.stream_ids)
            log.info("tap_started", profile=self.order.profile, setup_ms=round(setup_s * 1000, 1))
            following = asyncio.create_task(self.tap.keep())
            try:
                cause, detail = await self._live()
            finally:
                self.tap.stop()
                await following
        except StreamFailed as failure:
            cause, detail = failure.cause, failure.detail
        except TapFailed as failure:
            cause, detail = EndCause.CALL_ENDED if failure.gone else EndCause.ASTERISK_ERROR, str(failure)
        except Exception as error:  # a defect of ours must cost this tap alone
            log.exception("tap_defect")
            cause, detail = EndCause.ASTERISK_ERROR, f"defect: {type(error).__name__}"
        finally:
            ended = await self._leave(self._stopped.result() if self._stopped.done() else EndCause.SHUTDOWN)
            self.over.set()
        return TapEnding(cause, detail, setup_s, ended)

    async def _open_streams(self) -> list[StreamHandle]:
        record = self._record(self.stream_ids[0]) if self._record is not None else None
        whole = list(zip(self.stream_ids, self._groups, strict=True))
        if record is not None:
            # What goes to one file has to be in one media worker.
            self._handles = [await self._open_stream(*whole.pop(0), record)]
        opening = [asyncio.create_task(self._open_stream(*each, record)) for each in whole]
        if opening:
            await asyncio.wait(opening)
        self._handles += [each.result() for each in opening if each.exception() is None]
        for each in opening:
            each.result()  # raises the first failure
        return self._handles

    def _open_stream(
        self, stream_id: str, tracks: tuple[Track, ...], record: RecordTo | None
    ) -> Coroutine[Any, Any, StreamHandle]:
        return self._dialler.open(
            open_message(
                self._profile,
                self._media,
                stream_id=stream_id,
                pbx=self._pbx_name,
                call_id=self.call_id,
                tracks=tracks,
                two_way=False,
                parameters={
                    **self._profile.parameters,
                    **self.order.parameters,
                    "track": tracks[0].value if len(tracks) == 1 else "both",
                },
                record=record,
            ),
            self.order.profile,
            self._profile,
            trusted=self._trusted,
            near=self._handles[0] if self._handles else None,
        )

    async def _live(self) -> tuple[EndCause, str]:
        ends: set[asyncio.Future[Any]] = {self.tap.ended, self._stopped, *(handle.ended for handle in self._handles)}
        await asyncio.wait(
            ends,
            timeout=self._profile.max_session_minutes * 60,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self.tap.ended.done():
            return EndCause.CALL_ENDED, self.tap.ended.result()
        if self._stopped.done():
            return self._stopped.result(), ""
        for handle in self._handles:
            if handle.ended.done():
                ended = handle.ended.result()
                return ended.cause, ended.detail
        return EndCause.SESSION_LIMIT, f"longer than {self._profile.max_session_minutes} minutes"

    async def _leave(self, cause: EndCause) -> tuple[StreamEnded, ...]:
        for handle in self._handles:
            handle.close(cause)
        await self.tap.close()
        return tuple([await handle.ended for handle in self._handles])
