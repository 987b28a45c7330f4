"""Two accounts of one call become one: what was heard live, and what queue_log says after a gap.

Either may come first, or again; the result is the same. Live knows fractions of a second, people and legs; queue_log
knows the outcome of what ended while nobody listened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from connector.events import Outcome
from connector.records import CallRecord, QueueVisit, TimelineEntry

MATCH_EARLIER_S = 1.5
MATCH_LATER_S = 3.0
"""How far a live join may lie before and after that of queue_log: its seconds are cut off, a list's waits too."""
TALK_DIFFERS_S = 3.0
"""queue_log's talk is in whole seconds. A live one that is longer by more was ended by a list, after a gap."""


class Attempt(Protocol):
    """What two accounts of an attempt at a queue are matched by."""

    @property
    def uniqueid(self) -> str:
        """Of the caller's channel."""

    @property
    def queue(self) -> str:
        """Name."""

    @property
    def joined_at(self) -> float:
        """Seconds since the epoch."""


Mine = TypeVar("Mine", bound=Attempt)
Theirs = TypeVar("Theirs", bound=Attempt)


def merge(known: CallRecord, new: CallRecord) -> CallRecord:
    """What is to be kept of a call that is known already.

    Of two live accounts the new one, which the same events made again or more of them, or others after a restart; of
    a live and a recovered one the live. It gets the visits that it lacks, or whose end it did not hear, from the other.
    """
    if new.recovered:
        base, other = known, new  # a record merged before counts as live for what it has
    else:
        base, other = new, known
    visits, taken = _visits(base.visits, other.visits, other.recovered)
    unheard = _unheard(base.timeline, other.timeline)
    if not taken:
        # Answered live after the gap, yet a phone may have rung in vain within it.
        rings = [entry for entry in unheard if entry.what == "rang_in_vain"] if other.recovered else []
        return _with_rings(base, rings) if rings else base
    entries = [*base.timeline, *unheard]
    answered = [at for at in (base.answered_at, other.answered_at) if at is not None]
    return msgspec.structs.replace(
        base,
        at=max(base.at, other.at),
        started_at=min(base.started_at, other.started_at),
        number=base.number or other.number,
        name=base.name or other.name,
        answered_at=min(answered) if base.answered_at is None and answered else base.answered_at,
        visits=visits,
        timeline=tuple(sorted(entries, key=lambda entry: entry.at)),
        recovered=base.recovered or other.recovered,
    )


def _visits(
    base: tuple[QueueVisit, ...], other: tuple[QueueVisit, ...], recovered: bool
) -> tuple[tuple[QueueVisit, ...], bool]:
    """The visits of `base` with what `other` knows better, and whether anything was taken."""
    merged = list(base)
    taken = False
    for visit, index in pairs(base, other):
        if index is None:
            merged.append(visit)
            taken = True
        elif (better := _completed(merged[index], visit, recovered)) is not None:
            merged[index] = better
            taken = True
    merged.sort(key=lambda visit: visit.joined_at)
    return tuple(merged), taken


def _with_rings(base: CallRecord, rings: Sequence[TimelineEntry]) -> CallRecord:
    """The call with phones that rang in vain while nobody listened; each counts for the attempt it was part of."""
    visits = list(base.visits)
    for ring in rings:
        for index, visit in enumerate(visits):
            if visit.joined_at - MATCH_EARLIER_S <= ring.at <= visit.joined_at + visit.wait_s + MATCH_EARLIER_S:
                visits[index] = msgspec.structs.replace(visit, rang_in_vain=visit.rang_in_vain + 1)
                break
    return msgspec.structs.replace(
        base,
        visits=tuple(visits),
        timeline=tuple(sorted([*base.timeline, *rings], key=lambda entry: entry.at)),
        recovered=True,
    )


def _unheard(base: Sequence[TimelineEntry], other: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """What `other` tells and `base` does not; each entry of `base` stands for one.

    Two phones may ring in vain within a second, so the one of the same name is looked for first; who is known by
    another name in queue_log comes after.
    """
    free, unheard = list(base), list(other)
    for same_name in (True, False):
        left = []
        for entry in unheard:
            near = [
                mine
                for mine in free
                if mine.what == entry.what
                and abs(mine.at - entry.at) <= MATCH_EARLIER_S
                and (mine.detail == entry.detail or not same_name)
            ]
            if near:
                free.remove(min(near, key=lambda mine: abs(mine.at - entry.at)))
            else:
                left.append(entry)
        unheard = left
    return unheard


def pairs(base: Sequence[Mine], other: Sequence[Theirs]) -> Iterator[tuple[Theirs, int | None]]:
    """Each visit of `other` with the place of the same one in `base`, None where there is none.

    As many attempts at a queue on both sides are the same ones in order, whatever the clocks say.
    """
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    theirs: defaultdict[tuple[str, str], list[Theirs]] = defaultdict(list)
    for index, mine in enumerate(base):
        places[mine.uniqueid, mine.queue].append(index)
    for visit in other:
        theirs[visit.uniqueid, visit.queue].append(visit)
    for key, visits in theirs.items():
        free = places[key]
        if len(free) == len(visits):
            yield from zip(visits, free, strict=True)
            continue
        for visit in visits:
            near = [
                (abs(base[index].joined_at - visit.joined_at), index)
                for index in free
                if may_be(base[index].joined_at, visit.joined_at)
            ]
            if near:
                free.remove(nearest := min(near)[1])
                yield visit, nearest
            else:
                yield visit, None


def may_be(mine: float, theirs: float) -> bool:
    """Whether a time of joining, heard live, and one that is told in whole seconds can be the same."""
    return -MATCH_EARLIER_S <= mine - theirs <= MATCH_LATER_S


def _completed(mine: QueueVisit, visit: QueueVisit, recovered: bool) -> QueueVisit | None:
    """Mine with what the other account of it knows better; None where that is nothing."""
    if mine.outcome is Outcome.UNKNOWN:
        return None if visit.outcome is Outcome.UNKNOWN else msgspec.structs.replace(visit, joined_at=mine.joined_at)
    # Answered and still talking when the gap began: the end of the conversation is in queue_log alone.
    if mine.outcome is Outcome.ANSWERED is visit.outcome and talk_is_better(visit.talk_s, mine.talk_s, recovered):
        return msgspec.structs.replace(
            mine,
            talk_s=visit.talk_s,
            hold_s=min(mine.hold_s, visit.talk_s),
            transferred=mine.transferred or visit.transferred,
        )
    return None


def talk_is_better(told_s: float, heard_s: float, recovered: bool) -> bool:
    """Whether to believe another account about the length of a talk; in queue_log, if `recovered`, 0 is short."""
    if heard_s == 0.0:
        return told_s > 0
    return (recovered or told_s > 0) and told_s < heard_s - TALK_DIFFERS_S
