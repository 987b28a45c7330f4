"""Names the faults of the streams of one PBX, once a second, as they come up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from connector.asterisk.ari import Ari, AriError
from connector.audio.levels import describe
from connector.audio.wire import PLAIN
from connector.config import ProfileSettings
from connector.media.control import StreamStats
from connector.media.diagnosis import Diagnosis, Fault, Known, diagnose
from connector.media.quality import Quality
from connector.telemetry.metrics import StreamCounters

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Watched:
    """A stream as it is looked at.

    Attributes:
        stream_id: Its id.
        channel_id: Of the call's channel in Asterisk.
        profile: Name of its profile.
        settings: The profile.
        quality: As measured; None before audio.
        stats: Its counters.
        held: The call is on hold.
        bot_speaks: The bot is meant to.
        caller_hz: Rate of the caller's audio as it comes from Asterisk.
    """

    stream_id: str
    channel_id: str
    profile: str
    settings: ProfileSettings
    quality: Quality | None
    stats: StreamStats
    held: bool = False
    bot_speaks: bool = True
    caller_hz: int = PLAIN.heard.rate_hz


@dataclass(slots=True)
class _Seen:
    faults: dict[Fault, Diagnosis] = field(default_factory=dict)
    caller_sends: int | None = None


class QualityWatch:
    """Of one PBX.

    Args:
        pbx: Its name.
        ari: To ask Asterisk what it has of a phone from which nothing comes.
        counters: Counts faults.
    """

    def __init__(self, pbx: str, ari: Ari, counters: StreamCounters) -> None:
        self._pbx = pbx
        self._ari = ari
        self._counters = counters
        self._seen: dict[str, _Seen] = {}

    def faults(self, stream_id: str) -> list[Diagnosis]:
        """What was found in a stream so far, in the order in which it came up."""
        seen = self._seen.get(stream_id)
        return [] if seen is None else list(seen.faults.values())

    async def look(self, stream: Watched) -> None:
        """Looks at a stream; a fault that is new is logged and counted."""
        if stream.quality is None:
            return
        seen = self._seen.setdefault(stream.stream_id, _Seen())
        if stream.stats.packets_in == 0 and stream.quality.age_s > 2 and seen.caller_sends is None:
            seen.caller_sends = await self._packets_of_phone(stream.channel_id)
        for found in diagnose(stream.quality, stream.stats, _known(stream, seen)):
            if found.fault not in seen.faults:
                self._counters.fault(self._pbx, stream.profile, found.fault.value)
                log.warning(
                    "stream_fault",
                    pbx=self._pbx,
                    call_id=f"{self._pbx}:{stream.channel_id}",
                    stream_id=stream.stream_id,
                    fault=found.fault.value,
                    evidence=found.evidence,
                    remedy=found.remedy,
                )
            seen.faults[found.fault] = found

    def end(self, stream: Watched) -> list[Diagnosis]:
        """The last look at a stream, which is forgotten then; gives all that was found."""
        seen = self._seen.pop(stream.stream_id, _Seen())
        if stream.quality is not None:
            self._counters.heard(
                self._pbx,
                stream.profile,
                mos=stream.quality.mos,
                jitter_s=stream.quality.jitter_ms / 1000,
                loss=stream.quality.loss_percent / 100,
            )
        return list(seen.faults.values())

    async def _packets_of_phone(self, channel_id: str) -> int | None:
        try:
            return (await self._ari.rtp_statistics(channel_id)).rxcount
        except AriError:
            return None  # gone, or no channel with RTP


def _known(stream: Watched, seen: _Seen) -> Known:
    options = stream.settings.dialect
    return Known(
        caller_audio=describe(options.to_bot),
        bot_audio=describe(options.from_bot),
        bot_speaks=stream.bot_speaks,
        held=stream.held,
        caller_sends=seen.caller_sends,
        caller_widened=options.to_bot.rate_hz > stream.caller_hz,
    )


def as_plain(found: list[Diagnosis]) -> list[dict[str, str]]:
    """As JSON shows them."""
    return [{"fault": each.fault.value, "evidence": each.evidence, "remedy": each.remedy} for each in found]


def quality_record(quality: Quality | None, found: list[Diagnosis]) -> dict[str, Any]:
    """What history keeps of how a stream sounded, whole; empty where audio never began."""
    if quality is None:
        return {}
    fields = {name: getattr(quality, name) for name in quality.__struct_fields__}
    sounds = {name: msgspec.structs.asdict(fields[name]) for name in ("caller", "bot")}
    for sound in sounds.values():
        del sound["now_dbfs"]  # a meter, no property of the stream
    return {**fields, **sounds, "faults": as_plain(found)}
