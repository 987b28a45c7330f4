"""The live state of one PBX: queues, their members and waiting callers, calls and their legs, links.

Containers are mutable and belong to `acd.apply`; the values in them are frozen. Everybody else reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connector.events import Caller, Leg, LinkState, Member, Outcome, QueueParams


@dataclass(slots=True)
class Stay:
    """One caller's time in one queue, from the join until the outcome is known.

    Attributes:
        queue: Name.
        caller: As joined or listed; its `position` is the one at that time, see `Queue.callers`.
        location: The dialplan's place while in Queue(), empty until an event told it.
        abandoned: QueueCallerAbandon was seen.
        ended_at: When the waiting ended; None while waiting.
        lost: A snapshot, not an event, said that the caller no longer waits.
    """

    queue: str
    caller: Caller
    location: str = ""
    abandoned: bool = False
    ended_at: float | None = None
    lost: bool = False


@dataclass(slots=True)
class Queue:
    """One queue. `waiting` is by uniqueid, in order of position: the first is next."""

    params: QueueParams
    members: dict[str, Member] = field(default_factory=dict)
    waiting: dict[str, Stay] = field(default_factory=dict)

    def callers(self) -> Iterator[Caller]:
        """Those who wait, with their positions as they are now."""
        for position, stay in enumerate(self.waiting.values(), start=1):
            caller = stay.caller
            yield caller if caller.position == position else msgspec.structs.replace(caller, position=position)


@dataclass(slots=True)
class Track:
    """A living channel and what its next queue event must be judged by.

    Attributes:
        leg: The channel.
        hangup_requested: Somebody wants it gone.
        entering: Queue that the dialplan named last.
        refused_at: Time of the last refusal, so that the same one is not counted twice.
    """

    leg: Leg
    hangup_requested: bool = False
    entering: str = ""
    refused_at: float = -1.0


@dataclass(slots=True)
class Call:
    """Legs that share a linkedid; `legs` holds their uniqueids in order of appearance."""

    linkedid: str
    started_at: float
    legs: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Link:
    """A connection to the PBX: its state since when, and what was missed."""

    state: LinkState
    since: float
    detail: str = ""
    gaps: int = 0
    gap_s: float = 0.0


Suspect = tuple[str, str, str]
"""Kind of drift, queue (empty for a leg), uniqueid or interface."""


@dataclass(slots=True)
class PbxState:
    """Everything known of one PBX.

    Attributes:
        pbx: Name in the settings.
        queues: By name.
        where: Queue in which a caller waits, by uniqueid.
        leaving: Callers who wait no more and whose outcome is not known yet, by uniqueid, oldest first.
        outcomes: Own counters by queue name; never reset, never touched by a snapshot.
        legs: By uniqueid.
        calls: By linkedid.
        links: By `ami` or `ari`.
        queues_current: A QueuesSnapshot has come since the last gap.
        legs_current: A LegsSnapshot has come since the last gap.
        drift: Own state proved wrong by a snapshot, by kind; see `acd.resync`.
        suspects: Differences to the last snapshot that an event under way may still explain.
    """

    pbx: str
    queues: dict[str, Queue] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    leaving: dict[str, Stay] = field(default_factory=dict)
    outcomes: dict[str, dict[Outcome, int]] = field(default_factory=dict)
    legs: dict[str, Track] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    queues_current: bool = False
    legs_current: bool = False
    drift: dict[str, int] = field(default_factory=dict)
    suspects: set[Suspect] = field(default_factory=set)

    def queue(self, name: str) -> Queue:
        """The queue of that name, made if it is new: a realtime queue appears with its first caller."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(
                QueueParams(
                    name=name,
                    strategy="",
                    max_callers=0,
                    service_level_s=0,
                    weight=0,
                    completed=0,
                    abandoned=0,
                    hold_s=0.0,
                    talk_s=0.0,
                )
            )
        return queue

    def waiting(self, uniqueid: str) -> Stay | None:
        """The stay of a caller who waits, in whichever queue."""
        name = self.where.get(uniqueid)
        return None if name is None else self.queues[name].waiting[uniqueid]


def to_jsonable(state: PbxState, now: float) -> dict[str, Any]:
    """The state as plain values, in a form for pages, files and tests.

    Args:
        state: Read, not changed.
        now: Seconds since the epoch, for what is still running.

    Returns:
        Dicts, lists, strings, numbers; the same events give the same value.
    """
    return {
        "pbx": state.pbx,
        "queues": {name: _queue(state, queue, now) for name, queue in state.queues.items()},
        "outcomes": {name: {str(o): n for o, n in counts.items()} for name, counts in state.outcomes.items()},
        "leaving": [_stay(stay) for stay in state.leaving.values()],
        "calls": {
            call.linkedid: {
                "started_at": call.started_at,
                "legs": [msgspec.to_builtins(state.legs[uniqueid].leg) for uniqueid in call.legs],
            }
            for call in state.calls.values()
        },
        "links": {
            name: {
                "state": str(link.state),
                "since": link.since,
                "detail": link.detail,
                "gaps": link.gaps,
                "gap_s": link.gap_s,
            }
            for name, link in state.links.items()
        },
        "queues_current": state.queues_current,
        "legs_current": state.legs_current,
        "drift": dict(state.drift),
    }


def encode(state: PbxState, now: float) -> bytes:
    """`to_jsonable` as JSON with sorted keys: the same events give the same bytes."""
    return msgspec.json.encode(to_jsonable(state, now), order="sorted")


def _queue(state: PbxState, queue: Queue, now: float) -> dict[str, Any]:
    callers = [
        {**msgspec.to_builtins(caller), "wait_s": max(0.0, round(now - caller.joined_at, 6))}
        for caller in queue.callers()
    ]
    return {
        "params": msgspec.to_builtins(queue.params),
        "members": [msgspec.to_builtins(queue.members[interface]) for interface in sorted(queue.members)],
        "callers": callers,
        "longest_wait_s": max((caller["wait_s"] for caller in callers), default=0.0),
    }


def _stay(stay: Stay) -> dict[str, Any]:
    return {
        "queue": stay.queue,
        "uniqueid": stay.caller.uniqueid,
        "joined_at": stay.caller.joined_at,
        "ended_at": stay.ended_at,
        "abandoned": stay.abandoned,
        "lost": stay.lost,
    }
