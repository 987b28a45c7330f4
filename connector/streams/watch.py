"""Names the faults of the streams of one PBX, once a second, as they come up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from connector.asterisk.ari import Ari
from connector.audio.levels import EMPTY_DBFS, describe
from connector.audio.wire import PLAIN
from connector.config import ProfileSettings
from connector.media.control import StreamStats
from connector.media.diagnosis import Diagnosis, Fault, Known, diagnose
from connector.media.quality import Quality
from connector.streams.phone_rtp import PhoneRtp, phone_now
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
    channel_id: str
    faults: dict[Fault, Diagnosis] = field(default_factory=dict)
    phone: PhoneRtp | None = None
    asked: int = 0
    """In which turn Asterisk was asked of the phone; 0: not yet."""


class QualityWatch:
    """Of one PBX.

    Args:
        pbx: Its name.
        ari: To ask Asterisk what it has of the callers' phones.
        counters: Counts faults.
    """

    def __init__(self, pbx: str, ari: Ari, counters: StreamCounters) -> None:
        self._pbx = pbx
        self._ari = ari
        self._counters = counters
        self._seen: dict[str, _Seen] = {}
        self._turn = 0

    def faults(self, stream_id: str) -> list[Diagnosis]:
        """What was found in a stream so far, in the order in which it came up."""
        seen = self._seen.get(stream_id)
        return [] if seen is None else list(seen.faults.values())

    def phone(self, stream_id: str) -> PhoneRtp | None:
        """What Asterisk counted of the phone when it was asked last."""
        seen = self._seen.get(stream_id)
        return None if seen is None else seen.phone

    async def ask_next(self) -> None:
        """Asks Asterisk of the phone of one stream, the one whose turn it is: a request each time, however many."""
        if self._seen:
            await self._ask(min(self._seen.values(), key=lambda seen: seen.asked))

    async def _ask(self, seen: _Seen) -> None:
        self._turn += 1
        seen.asked = self._turn
        seen.phone = await phone_now(self._ari, seen.channel_id) or seen.phone

    async def look(self, stream: Watched) -> None:
        """Looks at a stream; a fault that is new is logged and counted."""
        if stream.quality is None:
            return
        seen = self._seen.setdefault(stream.stream_id, _Seen(stream.channel_id))
        if stream.stats.packets_in == 0 and stream.quality.age_s > 2 and not seen.asked:
            await self._ask(seen)
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
        seen = self._seen.pop(stream.stream_id, _Seen(stream.channel_id))
        if stream.quality is not None:
            self._counters.heard(
                self._pbx,
                stream.profile,
                mos=stream.quality.mos,
                jitter_s=stream.quality.jitter_ms / 1000,
                loss=stream.quality.loss_percent / 100,
            )
            for side, sound in (("caller", stream.quality.caller), ("bot", stream.quality.bot)):
                if sound.level_dbfs > EMPTY_DBFS:
                    self._counters.loud(self._pbx, stream.profile, side, sound.level_dbfs)
        return list(seen.faults.values())


def _known(stream: Watched, seen: _Seen) -> Known:
    options = stream.settings.dialect
    return Known(
        caller_audio=describe(options.to_bot),
        bot_audio=describe(options.from_bot),
        bot_speaks=stream.bot_speaks,
        held=stream.held,
        caller_sends=None if seen.phone is None else seen.phone.packets_from_phone,
        caller_lost=None if seen.phone is None else seen.phone.lost_from_phone,
        caller_widened=options.to_bot.rate_hz > stream.caller_hz,
    )


def as_plain(found: list[Diagnosis]) -> list[dict[str, str]]:
    """As JSON shows them."""
    return [{"fault": each.fault.value, "evidence": each.evidence, "remedy": each.remedy} for each in found]


def quality_record(quality: Quality | None, found: list[Diagnosis], phone: PhoneRtp | None = None) -> dict[str, Any]:
    """What history keeps of how a stream sounded, whole; empty where audio never began.

    Args:
        quality: As measured.
        found: Its faults.
        phone: What Asterisk counted of the caller's phone; None where it is not known.
    """
    if quality is None:
        return {}
    fields = {name: getattr(quality, name) for name in quality.__struct_fields__}
    sounds = {name: msgspec.structs.asdict(fields[name]) for name in ("caller", "bot")}
    for sound in sounds.values():
        del sound["now_dbfs"]  # a meter, no property of the stream
    asterisk = {} if phone is None else msgspec.structs.asdict(phone)
    return {**fields, **sounds, "phone": asterisk, "faults": as_plain(found)}
