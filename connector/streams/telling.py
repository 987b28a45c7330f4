"""What history keeps of a call with a bot."""

from __future__ import annotations

from typing import Any

import msgspec

from connector.records import StreamRecord
from connector.streams.botcall import Ending
from connector.streams.voicebot import VoicebotCall


def stream_record(call: VoicebotCall, ending: Ending, quality: dict[str, Any], *, at: float) -> StreamRecord:
    """Of its stream, once it has ended."""
    known = call.call
    return StreamRecord(
        pbx=known.pbx,
        at=at,
        stream_id=known.stream_id,
        uniqueid=known.channel_id,
        profile=known.profile,
        dialect=call.profile.dialect.name,
        mode=call.profile.mode.value,
        peer=call.peer,
        queue=known.queue,
        cause=ending.cause.value,
        detail=ending.detail,
        started_at=known.started_at,
        setup_s=ending.setup_s,
        stats={} if ending.stats is None else msgspec.to_builtins(ending.stats),
        quality=quality,
    )
