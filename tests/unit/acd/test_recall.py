"""Live events, history and queue_log may tell of the same attempt in any order and as often as they like."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.acd import ledger as ledger_module
from connector.acd.agents import running
from connector.acd.figures import Figures
from connector.acd.ledger import Ledger
from connector.acd.model import Agent, PbxState, Queue
from connector.config_people import QueueSettings
from connector.events import CallOutcome, Member, Outcome, QueueParams, RangInVain, TalkEnded, WrapUpEnded
from connector.records import AgentInterval, AgentState, CallRecord, Direction, QueueVisit, TimelineEntry

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()


def visit(joined_at: float, outcome: Outcome, ended_at: float, **more: Any) -> QueueVisit:
    values: dict[str, Any] = {"queue": "q", "uniqueid": "u", "wait_s": ended_at - joined_at, **more}
    return QueueVisit(joined_at=joined_at, ended_at=ended_at, outcome=outcome, **values)


def call(*visits: QueueVisit, at: float = NOON, **more: Any) -> CallRecord:
    values: dict[str, Any] = {"direction": Direction.INBOUND, "number": "", "name": "", "dialled": "", "timeline": ()}
    return CallRecord(
        pbx="main", at=at, linkedid="u", started_at=NOON - 90, answered_at=None, visits=visits, legs=2, **values | more
    )


def outcome(kind: Outcome, wait_s: float, at: float, agent: str = "") -> CallOutcome:
    return CallOutcome(pbx="main", at=at, queue="q", uniqueid="u", outcome=kind, wait_s=wait_s, agent=agent)


def talk(talk_s: float, at: float) -> TalkEnded:
    return TalkEnded(
        pbx="main", at=at, queue="q", uniqueid="u", agent="a", talk_s=talk_s, hold_s=0.0, transferred=False
    )


def state(since: float = NOON) -> PbxState:
    made = PbxState("main")
    params = QueueParams(
        name="q", strategy="", max_callers=0, service_level_s=0, weight=0, completed=0, abandoned=0, hold_s=0, talk_s=0
    )
    made.queues["q"] = Queue(params, {"a": Member(interface="a", name="a")})
    made.agents["a"] = Agent("a", "a", AgentState.AVAILABLE, since, members={("q", "a"): None})
    return made


def shown(figures: Figures, window: str = "today") -> dict[str, Any]:
    found: dict[str, Any] = figures.view(state(), NOON)["queues"]["q"][window]
    return found


def agent(figures: Figures) -> dict[str, Any]:
    found: dict[str, Any] = figures.view(state(), NOON)["agents"]["a"]["today"]
    return found


LIVE = [
    outcome(Outcome.ANSWERED, 10.4, NOON - 49.6, agent="a"),
    talk(20.3, NOON - 29.3),
    WrapUpEnded(pbx="main", at=NOON - 25, queue="q", uniqueid="u", agent="a", wrap_up_s=4.0),
]
KEPT = call(visit(NOON - 60, Outcome.ANSWERED, NOON - 49.6, agent="a", talk_s=20.3, wrap_up_s=4.0))
READ = call(visit(NOON - 60, Outcome.ANSWERED, NOON - 49, agent="a", talk_s=20.0), recovered=True)


@pytest.mark.parametrize("order", list(permutations(("live", "kept", "read"))))
def test_whoever_tells_first_it_counts_once(order: tuple[str, ...]) -> None:
    figures = Figures("main")
    for teller in (*order, "kept", "read"):
        if teller == "live":
            for item in LIVE:
                figures.take(item)
        else:
            figures.recall(KEPT if teller == "kept" else READ, NOON)
    counts = shown(figures)
    assert (counts["offered"], counts["answered"], counts["talks"]) == (1, 1, 1)
    assert counts["talk_s"] == pytest.approx(20.3, abs=0.5)
    assert (agent(figures)["answered"], agent(figures)["talks"]) == (1, 1)
    if order.index("read") > 0:
        assert counts["wrap_up_s"] == 4.0


def test_a_talk_over_a_restart_counts_once_whole() -> None:
    """Its answer was heard by the process before; queue_log tells it while they talk, and again at the end."""
    figures = Figures("main")
    so_far = call(visit(NOON - 60, Outcome.ANSWERED, NOON - 49, agent="a"), recovered=True)
    figures.recall(so_far, NOON, over=False)
    assert (shown(figures)["answered"], shown(figures)["talks"]) == (1, 0)
    figures.take(outcome(Outcome.ANSWERED, 10.0, NOON - 50, agent="a"))
    figures.take(talk(20.0, NOON - 29))
    figures.recall(READ, NOON)
    assert (shown(figures)["answered"], shown(figures)["talks"], shown(figures)["talk_s"]) == (1, 1, 20.0)


def test_a_talk_of_no_seconds_is_one() -> None:
    figures = Figures("main")
    figures.recall(call(visit(NOON - 60, Outcome.ANSWERED, NOON - 49, agent="a"), recovered=True), NOON)
    assert (shown(figures)["talks"], shown(figures)["talk_s"]) == (1, 0.0)


def test_what_was_unknown_becomes_known() -> None:
    figures = Figures("main", lambda _: QueueSettings(open="thu 00:00-24:00"))
    figures.take(outcome(Outcome.UNKNOWN, 30.0, NOON - 20))
    figures.recall(call(visit(NOON - 50, Outcome.ABANDONED, NOON - 40), recovered=True), NOON)
    counts = shown(figures)
    assert (counts["unknown"], counts["abandoned"], counts["offered"], counts["outside_hours"]) == (0, 1, 1, 1)
    assert counts["abandon_wait_max_s"] == 10.0


def test_a_talk_that_a_list_ended_gets_its_true_length() -> None:
    figures = Figures("main")
    figures.take(LIVE[0])
    figures.take(talk(45.0, NOON - 4.6))
    figures.recall(READ, NOON)
    assert (shown(figures)["talks"], shown(figures)["talk_s"], agent(figures)["talk_s"]) == (1, 20.0, 20.0)


def test_attempts_at_the_same_queue_are_told_apart() -> None:
    figures = Figures("main")
    figures.take(outcome(Outcome.TIMED_OUT, 10.0, NOON - 20))  # the second; the first was before the restart
    first, second = visit(NOON - 50, Outcome.TIMED_OUT, NOON - 40), visit(NOON - 30, Outcome.TIMED_OUT, NOON - 20)
    for _ in range(2):
        figures.recall(call(first, second, recovered=True), NOON)
    assert shown(figures)["timed_out"] == 2


def test_phones_that_rang_in_vain_count_once_for_queue_and_agent() -> None:
    figures = Figures("main")
    figures.take(RangInVain(pbx="main", at=NOON - 40.2, queue="q", uniqueid="u", agent="a", ring_s=5.0))
    timeline = tuple(
        TimelineEntry(at=NOON - before, what=what, detail=detail)
        for before, what, detail in (
            *((60, "joined", "q"), (57, "rang", "a"), (52, "rang_in_vain", "a"), (45, "rang", "a")),
            *((40, "rang_in_vain", "a"), (38, "rang", "b"), (36, "rang_in_vain", "b")),
        )
    )
    record = call(visit(NOON - 60, Outcome.ABANDONED, NOON - 30, rang_in_vain=3), timeline=timeline, recovered=True)
    for _ in range(2):
        figures.recall(record, NOON)
    assert shown(figures)["rang_in_vain"] == 3
    assert (agent(figures)["rang_in_vain"], agent(figures)["ring_in_vain_s"]) == (2, 10.0)


def test_a_ring_in_the_second_of_the_join_is_not_lost() -> None:
    figures = Figures("main")
    vain = TimelineEntry(at=NOON - 60, what="rang_in_vain", detail="a")
    figures.recall(call(visit(NOON - 59.6, Outcome.ABANDONED, NOON - 30), timeline=(vain,), recovered=True), NOON)
    assert shown(figures)["rang_in_vain"] == 1


def test_old_history_counts_for_its_day_and_spares_the_windows() -> None:
    figures = Figures("main")
    figures.take(outcome(Outcome.ABANDONED, 10.0, NOON - 10))
    for minute in range(200, 719):
        at = NOON - minute * 60
        figures.recall(call(visit(at - 10, Outcome.ABANDONED, at, uniqueid=f"u{minute}"), at=at), NOON)
        interval = AgentInterval(
            pbx="main", at=at, agent="a", state=AgentState.PAUSED, reason="", started_at=NOON - 12 * 3600
        )
        figures.recall(interval, NOON)
    assert (shown(figures, "m15")["abandoned"], shown(figures)["abandoned"]) == (1, 520)
    assert agent(figures)["state_s"]["paused"] == pytest.approx(12 * 3600 - 200 * 60)


def test_another_pbx_is_another_matter() -> None:
    figures = Figures("other")
    figures.recall(KEPT, NOON)
    assert not figures.queues


def test_memory_of_what_was_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "CALLERS_MAX", 10)
    ledger = Ledger()
    for number in range(100):
        ledger.heard(str(number), "q", NOON)
    assert len(ledger) == 10


# -- what people did ----------------------------------------------------------------------------------------------


def interval(what: AgentState, begin: float, end: float) -> AgentInterval:
    return AgentInterval(pbx="main", at=end, agent="a", state=what, reason="", started_at=begin)


def test_a_pause_that_lasts_over_a_restart_counts_once() -> None:
    """After the restart Asterisk says since when, and history has told a part of it."""
    figures = Figures("main")
    for _ in range(2):
        figures.recall(interval(AgentState.PAUSED, NOON - 600.3, NOON - 300), NOON)
    paused = state()
    paused.agents["a"].state, paused.agents["a"].since = AgentState.PAUSED, NOON - 601
    seconds = figures.view(paused, NOON)["agents"]["a"]["m15"]["state_s"]
    assert seconds["paused"] == pytest.approx(600.3)
    figures.take(interval(AgentState.PAUSED, NOON - 601, NOON))
    assert agent(figures)["state_s"]["paused"] == pytest.approx(600.3)


def test_what_people_do_now_is_given_as_if_it_ended_but_not_what_is_old() -> None:
    made = state(NOON - 60)
    made.agents["b"] = Agent("b", "b", AgentState.UNAVAILABLE, NOON - 2 * 86_400)
    made.agents["c"] = Agent("c", "c", AgentState.AVAILABLE, NOON + 5)
    assert list(running(made, NOON)) == [interval(AgentState.AVAILABLE, NOON - 60, NOON)]
