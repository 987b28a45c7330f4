"""`/api/v1/state`: everything at once, for a page that asks every second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from connector.events import Caller, LinkState, Member, Outcome
from connector.media.control import StreamStats
from connector.web.rest.endpoint import Call, Endpoint, Nothing


class LinkHealth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connection to a PBX: its state since when, and what was missed."""

    state: LinkState
    since: float
    detail: str
    gaps: int
    gap_s: float


class StateQueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A queue with its callers by position, its members by interface, and how attempts ended."""

    name: str
    strategy: str
    callers: tuple[Caller, ...]
    members: tuple[Member, ...]
    outcomes: dict[Outcome, int]


class StateStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that is streamed to a bot."""

    profile: str
    call_id: str
    stream_id: str
    stats: StreamStats
    quality: dict[str, Any]
    """How it sounds, and which faults were named, as docs/quality.md says; empty before audio."""


class StatePbx(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One PBX; `calls` is how many go on."""

    links: dict[str, LinkHealth]
    event_lag_s: float
    calls: int
    queues: tuple[StateQueue, ...]
    streams: tuple[StateStream, ...]


class StateMedia(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The media worker: the largest lateness of a tick in the last second, and its totals by name."""

    tick_late_ms: float
    totals: dict[str, int]


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything."""

    at: float
    pbx: dict[str, StatePbx]
    media: StateMedia


class StateApi:
    """Answers with the whole state.

    Args:
        state: It, as plain values.
    """

    def __init__(self, state: Callable[[], dict[str, Any]]) -> None:
        self._state = state

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [Endpoint("GET", "/state", "get_state", "Everything at once", "live", self._get, State)]

    async def _get(self, _call: Call[Nothing, Nothing, None]) -> dict[str, Any]:
        return self._state()
