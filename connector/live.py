"""The live state of everything as plain values: what `/api/v1/state` answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from connector.asterisk.link import PbxLink
from connector.events import Outcome
from connector.media.engine import EngineStats
from connector.streams.manager import StreamManager
from connector.streams.watch import quality_record


def live_state(
    at: float, links: Mapping[str, PbxLink], managers: Mapping[str, StreamManager], media: EngineStats
) -> dict[str, Any]:
    """The shape is that of docs/schemas/state.json.

    Args:
        at: Seconds since the epoch.
        links: The PBXs by name.
        managers: Who has the calls with bots, by PBX.
        media: Of the media workers.
    """
    return {
        "at": at,
        "pbx": {name: _pbx(link, managers[name]) for name, link in links.items()},
        "media": {"tick_late_ms": media.tick_late_ms, "totals": media.counters},
    }


def _pbx(link: PbxLink, manager: StreamManager) -> dict[str, Any]:
    state = link.state
    return {
        "links": {
            key: {
                "state": each.state.value,
                "since": each.since,
                "detail": each.detail,
                "gaps": each.gaps,
                "gap_s": each.gap_s,
            }
            for key, each in state.links.items()
        },
        "event_lag_s": link.event_lag_s,
        "calls": len(state.calls),
        "queues": [
            {
                "name": queue_name,
                "strategy": queue.params.strategy,
                "callers": [msgspec.to_builtins(caller) for caller in queue.callers()],
                "members": [msgspec.to_builtins(member) for _, member in sorted(queue.members.items())],
                "outcomes": {outcome.value: state.outcomes.get(queue_name, {}).get(outcome, 0) for outcome in Outcome},
            }
            for queue_name, queue in sorted(state.queues.items())
        ],
        "streams": [
            {
                "profile": call.call.profile,
                "call_id": call.call.channel_id,
                "stream_id": call.call.stream_id,
                "stats": msgspec.to_builtins(call.stats),
                "quality": quality_record(
                    call.quality,
                    manager.watch.faults(call.call.stream_id),
                    manager.watch.phone(call.call.stream_id),
                ),
            }
            for call in manager.calls.values()
        ],
    }
