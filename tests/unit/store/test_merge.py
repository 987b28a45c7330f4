"""Live and recovered accounts of a call become one, in whichever order and how often they come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec

from connector.events import Outcome
from connector.records import CallRecord, Direction, QueueVisit, TimelineEntry
from connector.store.merge import merge


def visit(joined_at: float, outcome: Outcome, **more: Any) -> QueueVisit:
    return QueueVisit(
        **{"queue": "q", "uniqueid": "u", "joined_at": joined_at, "ended_at": joined_at + 5, "outcome": outcome, **more}
    )


def call(*visits: QueueVisit, recovered: bool = False, **more: Any) -> CallRecord:
    values = {"pbx": "main", "at": 200.0, "linkedid": "l", "started_at": 100.0, "direction": Direction.INBOUND}
    values |= {"number": "1", "name": "Ann", "dialled": "2", "answered_at": None, "timeline": (), "legs": 3}
    return CallRecord(**{**values, "visits": visits, "recovered": recovered, **more})


def settled(*accounts: CallRecord) -> CallRecord:
    """What is kept after the accounts came in this order, and each once more."""
    kept = accounts[0]
    for account in (*accounts[1:], *accounts):
        kept = merge(kept, account)
    return kept


def test_of_two_live_accounts_the_new_one_counts() -> None:
    old, new = call(visit(101, Outcome.ANSWERED), name="An"), call(visit(101, Outcome.ANSWERED, talk_s=5.0))
    assert merge(old, new) == new


def test_a_call_over_a_restart_keeps_what_was_heard_before() -> None:
    before, after = call(visit(101, Outcome.TIMED_OUT), at=110.0), call(visit(120, Outcome.ANSWERED, queue="r"))
    assert settled(before, after) == call(*before.visits, *after.visits)


def test_a_talk_that_a_list_ended_after_the_gap_has_its_length_from_the_log() -> None:
    live = call(visit(101.4, Outcome.ANSWERED, agent="ann", wait_s=4.6, talk_s=50.0, hold_s=40.0, wrap_up_s=3.0))
    read = call(visit(101, Outcome.ANSWERED, agent="ann", wait_s=5.0, talk_s=30.0, transferred=True), recovered=True)
    for order in permutations((live, read)):
        kept = settled(*order).visits[0]
        assert (kept.wait_s, kept.talk_s, kept.hold_s, kept.wrap_up_s, kept.transferred) == (4.6, 30.0, 30.0, 3.0, True)
    short = call(visit(101, Outcome.ANSWERED, agent="ann"), recovered=True)
    assert settled(live, short).visits[0].talk_s == 0.0, "less than a second"
    near = call(visit(101, Outcome.ANSWERED, agent="ann", talk_s=48.0), recovered=True)
    assert settled(live, near) == live


def test_a_phone_that_rang_in_vain_within_the_gap_counts_though_the_answer_was_heard() -> None:
    def rang(at: float, agent: str) -> TimelineEntry:
        return TimelineEntry(at=at, what="rang_in_vain", detail=agent)

    heard = visit(101.4, Outcome.ANSWERED, agent="ann", wait_s=20.0, rang_in_vain=1)
    live = call(heard, timeline=(rang(118.2, "Local/bob@x"),))
    told = visit(101, Outcome.ANSWERED, agent="ann", wait_s=20.0, rang_in_vain=2)
    read = call(told, timeline=(rang(106, "Bob"), rang(118, "Bob")), recovered=True)
    for order in permutations((live, read)):
        kept = settled(*order)
        assert [entry.at for entry in kept.timeline] == [106, 118.2]
        assert kept.visits[0].rang_in_vain == 2
        assert kept.recovered


def test_two_phones_that_ring_in_vain_within_a_second_are_told_apart() -> None:
    def rang(at: float, agent: str) -> TimelineEntry:
        return TimelineEntry(at=at, what="rang_in_vain", detail=agent)

    heard = visit(101.4, Outcome.ANSWERED, agent="ann", wait_s=20.0)
    live = call(heard, timeline=(rang(118.2, "busy"),))
    read = call(heard, timeline=(rang(118, "deaf"), rang(118.1, "busy")), recovered=True)
    for order in permutations((live, read)):
        assert sorted(entry.detail for entry in settled(*order).timeline) == ["busy", "deaf"]


def test_heard_whole_live_stays_as_it_was_heard() -> None:
    live = call(visit(101.4, Outcome.REDIRECTED, wait_s=4.6))
    read = call(visit(101, Outcome.ABANDONED, wait_s=5.0), recovered=True, name="", at=106.0)
    for order in permutations((live, read)):
        assert settled(*order) == live


def test_an_end_that_was_not_heard_comes_from_the_log() -> None:
    live = call(visit(101.4, Outcome.UNKNOWN), timeline=(TimelineEntry(at=101.4, what="joined"),))
    entries = (TimelineEntry(at=101, what="joined"), TimelineEntry(at=107, what="left", detail="abandoned"))
    read = call(visit(101, Outcome.ABANDONED, wait_s=6.0), recovered=True, name="", at=107.0, timeline=entries)
    for order in permutations((live, read)):
        kept = settled(*order)
        assert kept.recovered
        assert kept.name == "Ann"
        assert kept.visits == (visit(101.4, Outcome.ABANDONED, wait_s=6.0, ended_at=106),)
        assert [entry.what for entry in kept.timeline] == ["joined", "left"]


def test_a_talk_whose_end_was_not_heard_has_its_length_from_the_log() -> None:
    live = call(visit(101.4, Outcome.ANSWERED, agent="ann"))
    read = call(visit(101, Outcome.ANSWERED, agent="ann", talk_s=30.0), recovered=True)
    for order in permutations((live, read)):
        assert settled(*order).visits[0].talk_s == 30.0


def test_visits_that_only_one_side_knows_are_kept_once() -> None:
    live = call(
        visit(150.7, Outcome.ANSWERED, talk_s=5.0), visit(149.0, Outcome.JOIN_EMPTY, queue="e"), answered_at=155.0
    )
    read = call(visit(101, Outcome.TIMED_OUT), visit(150, Outcome.ANSWERED, talk_s=5.0), recovered=True, at=160.0)
    for order in permutations((live, read)):
        kept = settled(*order)
        assert [(each.joined_at, each.outcome.value) for each in kept.visits] == [
            (101, "timed_out"),
            (149.0, "join_empty"),
            (150.7, "answered"),
        ]


def test_as_many_attempts_are_the_same_ones_whatever_the_clocks_say() -> None:
    live = call(visit(141, Outcome.TIMED_OUT), visit(151, Outcome.UNKNOWN))
    read = call(visit(101, Outcome.TIMED_OUT), visit(111, Outcome.ABANDONED), recovered=True)
    kept = settled(live, read)
    assert [(each.joined_at, each.outcome.value) for each in kept.visits] == [(141, "timed_out"), (151, "abandoned")]


def test_a_call_that_ended_in_the_gap_and_was_never_heard() -> None:
    read = call(visit(101, Outcome.ABANDONED), recovered=True)
    assert settled(read) == read
    more = msgspec.structs.replace(read, visits=(*read.visits, visit(120, Outcome.TIMED_OUT)), at=210.0)
    assert settled(read, more).visits == more.visits
    assert settled(read, more).at == 210.0


def test_what_both_tell_stands_once_in_the_timeline() -> None:
    """queue_log cuts seconds off, and rings follow each other closely."""
    heard = tuple(TimelineEntry(at=at, what="rang_in_vain", detail="a") for at in (102.6, 104.7))
    told = tuple(TimelineEntry(at=at, what="rang_in_vain", detail="a") for at in (102.0, 104.0, 106.0, 108.0))
    live = call(visit(101.4, Outcome.UNKNOWN), timeline=heard)
    read = call(visit(101, Outcome.ABANDONED), recovered=True, timeline=told)
    for order in permutations((live, read)):
        assert [entry.at for entry in settled(*order).timeline] == [102.6, 104.7, 106.0, 108.0]
