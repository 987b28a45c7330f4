"""Two accounts of one call become one: what was heard live, and what queue_log says after a gap.

Either may come first, or again; the result is the same. Live knows fractions of a second, people and legs; queue_log
knows the outcome of what ended while nobody listened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from connector.events import Outcome
from connector.records import CallRecord, QueueVisit

MATCH_EARLIER_S = 1.5
MATCH_LATER_S = 3.0
"""How far a live join may lie before and after that of queue_log: its seconds are cut off, a list's waits too."""


def merge(known: CallRecord, new: CallRecord) -> CallRecord:
    """What is to be kept of a call that is known already.

    Two live accounts: the new one, which the same events made again, or more of them. Otherwise the live one, with
    the visits it lacks or whose end it did not hear taken from the recovered one.
    """
    if not known.recovered and not new.recovered:
        return new
    if known.recovered and not new.recovered:
        base, other = new, known
    else:
        base, other = known, new  # a record merged before counts as live for what it has
    visits, taken = _visits(base.visits, other.visits)
    if not taken:
        return base
    heard = {(round(entry.at), entry.what) for entry in base.timeline}
    entries = [*base.timeline, *(each for each in other.timeline if (round(each.at), each.what) not in heard)]
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
        recovered=True,
    )


def _visits(base: tuple[QueueVisit, ...], other: tuple[QueueVisit, ...]) -> tuple[tuple[QueueVisit, ...], bool]:
    """The visits of `base` with what `other` knows better, and whether anything was taken."""
    merged = list(base)
    taken = False
    for visit, index in _pairs(base, other):
        if index is None:
            merged.append(visit)
            taken = True
        elif _knows_more(visit, merged[index]):
            merged[index] = msgspec.structs.replace(visit, joined_at=merged[index].joined_at)
            taken = True
    merged.sort(key=lambda visit: visit.joined_at)
    return tuple(merged), taken


def _pairs(base: tuple[QueueVisit, ...], other: tuple[QueueVisit, ...]) -> Iterator[tuple[QueueVisit, int | None]]:
    """Each visit of `other` with the place of the same one in `base`, None where there is none.

    As many attempts at a queue on both sides are the same ones in order, whatever the clocks say.
    """
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    theirs: defaultdict[tuple[str, str], list[QueueVisit]] = defaultdict(list)
    for index, visit in enumerate(base):
        places[visit.uniqueid, visit.queue].append(index)
    for visit in other:
        theirs[visit.uniqueid, visit.queue].append(visit)
    for key, visits in theirs.items():
        free = places[key]
        if len(free) == len(visits):
            yield from zip(visits, free, strict=True)
            continue
        for visit in visits:
            near = [
                (abs(base[index].joined_at - visit.joined_at), index) for index in free if _may_be(base[index], visit)
            ]
            if near:
                free.remove(nearest := min(near)[1])
                yield visit, nearest
            else:
                yield visit, None


def _may_be(mine: QueueVisit, visit: QueueVisit) -> bool:
    return -MATCH_EARLIER_S <= mine.joined_at - visit.joined_at <= MATCH_LATER_S


def _knows_more(visit: QueueVisit, than: QueueVisit) -> bool:
    if than.outcome is Outcome.UNKNOWN:
        return visit.outcome is not Outcome.UNKNOWN
    # Answered and still talking when the gap began: the end of the conversation is in queue_log alone.
    return than.outcome is Outcome.ANSWERED is visit.outcome and than.talk_s == 0.0 < visit.talk_s
