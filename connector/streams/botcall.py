"""What is known of a call with a bot when it begins, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from connector.media.control import EndCause, StreamStats
from connector.records import CallHandedOver, StreamBegan
from connector.streams.handover import Handover, Place


@dataclass(frozen=True, slots=True)
class BotCall:
    """What is known when a call enters Stasis.

    Attributes:
        pbx: Name of the PBX.
        channel_id: Uniqueid of the caller's channel.
        stream_id: Our id of the stream.
        profile: Name of the profile.
        place: Where the call entered Stasis.
        queue: That the dialplan named, or that the caller left last; empty if none.
        started_at: Unix time.
        caller: For the bot: who called.
        parameters: For the bot: those of the dialplan and of the profile, the most important first. `to`, where none
            of them sets it, is the number that the caller dialled.
    """

    pbx: str
    channel_id: str
    stream_id: str
    profile: str
    place: Place = field(default_factory=Place)
    queue: str = ""
    started_at: float = 0.0
    caller: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def call_id(self) -> str:
        """Unique over all PBXs."""
        return f"{self.pbx}:{self.channel_id}"

    def began(self, at: float) -> StreamBegan:
        """Said of it when its audio begins to flow, at this Unix time."""
        return StreamBegan(
            pbx=self.pbx, at=at, stream_id=self.stream_id, uniqueid=self.channel_id, profile=self.profile
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call with a bot ended.

    Attributes:
        cause: Why.
        detail: One sentence for the operator.
        handover: What became of the call, unless the caller had left.
        stats: What the stream carried.
        setup_s: StasisStart to audio, None where it never came to that.
        lasted_s: Audio to its end.
    """

    cause: EndCause
    detail: str
    handover: Handover
    stats: StreamStats | None = None
    setup_s: float | None = None
    lasted_s: float = 0.0


def handed_over(call: BotCall, ending: Ending, at: float) -> CallHandedOver:
    """What is told of a call that its bot handed over."""
    return CallHandedOver(
        pbx=call.pbx,
        at=at,
        uniqueid=call.channel_id,
        profile=call.profile,
        target=str(ending.handover.target),
        reason=ending.handover.reason,
        summary=ending.handover.summary,
        headers=dict(ending.handover.headers),
        number=call.caller.get("from", ""),
        name=call.caller.get("fromName", ""),
    )


def added(one: StreamStats, other: StreamStats) -> StreamStats:
    """Counters of two connections of one stream together."""
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return StreamStats(*(mine + theirs for mine, theirs in pairs))
