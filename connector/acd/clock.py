"""What time alone will change: a heap of deadlines. Events and `acd.apply.tick` bring the time."""

from __future__ import annotations

import heapq

from connector.acd.model import PbxState


def at_time(state: PbxState, when: float, kind: str, key: str) -> None:
    """Has `acd.apply` look at something when that time has come; whether anything is due then is decided then."""
    heapq.heappush(state.deadlines, (when, kind, key))


def due(state: PbxState, now: float) -> tuple[float, str, str] | None:
    """Takes the next deadline that has come; None if there is none."""
    if state.deadlines and state.deadlines[0][0] <= now:
        return heapq.heappop(state.deadlines)
    return None
