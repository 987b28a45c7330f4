"""What is streamed now, as it is shown: on the pages, over REST and the push connection, and in Prometheus."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connector.media.control import StreamStats
from connector.media.diagnosis import Diagnosis
from connector.media.quality import Quality
from connector.net.reach import origin_of
from connector.streams.book import ProfileBook
from connector.streams.manager import StreamManager
from connector.streams.phone_rtp import PhoneRtp
from connector.streams.tapcall import TapCall
from connector.streams.voicebot import VoicebotCall

Kind = tuple[str, str, str, str]
"""PBX, profile, dialect, mode: what streams are counted by."""


class Stage(enum.StrEnum):
    """How far a stream is."""

    CONNECTING = "connecting"
    """The bot is dialled, or Asterisk makes the media channel."""
    LIVE = "live"
    HELD = "held"
    """The call is on hold."""


@dataclass(frozen=True, slots=True)
class LiveStream:
    """A stream that runs or is being set up.

    Attributes:
        pbx: Name of the PBX.
        stream_id: Its id.
        uniqueid: Of the channel whose audio it is.
        profile: Name of its profile.
        dialect: The wire protocol.
        mode: How it stands to its call, see `config_profiles.Mode`.
        peer: Scheme, host and port of the bot; paths and parameters may hold secrets.
        stage: How far it is.
        started_at: Unix time.
        queue: That the call was in, or is answered from; empty if the call is of none.
        faults: Found so far.
        stats: Counters.
        quality: As measured, at most a second old; None before audio.
        phone: What Asterisk counted of the caller's phone when it was asked last; None if it was not, or has none.
    """

    pbx: str
    stream_id: str
    uniqueid: str
    profile: str
    dialect: str
    mode: str
    peer: str
    stage: Stage
    started_at: float
    queue: str
    faults: tuple[Diagnosis, ...]
    stats: StreamStats
    quality: Quality | None
    phone: PhoneRtp | None


class Seen:
    """The streams of all PBXs.

    Args:
        managers: By PBX.
        book: The profiles.
    """

    def __init__(self, managers: Mapping[str, StreamManager], book: ProfileBook) -> None:
        self._managers = managers
        self._book = book

    def streams(self, pbx: str) -> Iterator[LiveStream]:
        """Those of a PBX, by id."""
        manager = self._managers[pbx]
        found = [_of_call(manager, call) for call in manager.calls.values()]
        for tap in manager.taps.active.values():
            if isinstance(tap, TapCall):
                found += _of_tap(manager, tap)
        yield from sorted(found, key=lambda each: each.stream_id)

    def bot(self, pbx: str, stream_id: str) -> VoicebotCall | None:
        """The call of a stream; None where there is none, or the stream only listens."""
        calls = self._managers[pbx].calls.values()
        return next((call for call in calls if call.call.stream_id == stream_id), None)

    def counted(self) -> Mapping[Kind, int]:
        """How many there are of each kind; also where there are none, for each profile."""
        counts: Counter[Kind] = Counter()
        for pbx in self._managers:
            for name, profile in self._book.profiles.items():
                counts[pbx, name, profile.dialect.name, profile.mode.value] = 0
            counts.update((pbx, each.profile, each.dialect, each.mode) for each in self.streams(pbx))
        return counts


def _of_call(manager: StreamManager, call: VoicebotCall) -> LiveStream:
    known = call.call
    return LiveStream(
        pbx=known.pbx,
        stream_id=known.stream_id,
        uniqueid=known.channel_id,
        profile=known.profile,
        dialect=call.profile.dialect.name,
        mode=call.profile.mode.value,
        peer=call.peer,
        stage=_stage(call.live_since is not None, manager.held(known.channel_id)),
        started_at=known.started_at,
        queue=known.queue,
        faults=tuple(manager.watch.faults(known.stream_id)),
        stats=call.stats,
        quality=call.quality,
        phone=manager.watch.phone(known.stream_id),
    )


def _of_tap(manager: StreamManager, tap: TapCall) -> Iterator[LiveStream]:
    handles = {handle.stream_id: handle for handle in tap.handles}
    for stream_id in tap.stream_ids:
        handle = handles.get(stream_id)
        yield LiveStream(
            pbx=manager.pbx,
            stream_id=stream_id,
            uniqueid=tap.order.channel_id,
            profile=tap.order.profile,
            dialect=tap.profile.dialect.name,
            mode=tap.profile.mode.value,
            peer=handle.peer if handle is not None else origin_of(tap.profile.url),
            stage=_stage(tap.started.is_set(), tap.paused),
            started_at=tap.started_at,
            queue=tap.order.queue,
            faults=tuple(manager.watch.faults(stream_id)),
            stats=handle.stats if handle is not None else StreamStats(),
            quality=handle.quality if handle is not None else None,
            phone=manager.watch.phone(stream_id),
        )


def _stage(live: bool, held: bool) -> Stage:
    if not live:
        return Stage.CONNECTING
    return Stage.HELD if held else Stage.LIVE
