"""Each figure by its formula, on numbers that can be worked out by hand."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from connector.acd.buckets import Day, Tally
from connector.acd.figures import Figures
from connector.acd.model import Agent, PbxState, Queue, Stay, Visit
from connector.config_people import QueueSettings, parse_open, queue_settings
from connector.events import Caller, CallOutcome, Member, Outcome, QueueParams, RangInVain, TalkEnded, WrapUpEnded
from connector.records import AgentInterval, AgentState, CallRecord, Direction, QueueVisit

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()
"""A Wednesday."""


def outcome(kind: Outcome, wait_s: float = 10.0, at: float = NOON, agent: str = "", queue: str = "q") -> CallOutcome:
    return CallOutcome(pbx="main", at=at, queue=queue, uniqueid="u", outcome=kind, wait_s=wait_s, agent=agent)


def talk(talk_s: float, hold_s: float = 0.0, at: float = NOON, transferred: bool = False) -> TalkEnded:
    return TalkEnded(
        pbx="main",
        at=at,
        queue="q",
        uniqueid="u",
        agent="a",
        talk_s=talk_s,
        hold_s=hold_s,
        transferred=transferred,
    )


def interval(state: AgentState, begin: float, end: float, agent: str = "a") -> AgentInterval:
    return AgentInterval(pbx="main", at=end, agent=agent, state=state, reason="", started_at=begin)


def live(*agents: tuple[str, AgentState, float], queues: tuple[str, ...] = ("q",)) -> PbxState:
    """Agents with their state and since when, all members of all queues."""
    state = PbxState("main")
    for name in queues:
        params = QueueParams(
            name=name,
            strategy="",
            max_callers=0,
            service_level_s=20,
            weight=0,
            completed=7,
            abandoned=3,
            hold_s=1,
            talk_s=2,
            service_level_percent=80.0,
            service_level2_percent=70.0,
        )
        state.queues[name] = Queue(params, {agent: Member(interface=agent, name=agent) for agent, _, _ in agents})
    for agent, what, since in agents:
        state.agents[agent] = Agent(agent, agent, what, since, members={(name, agent): None for name in queues})
    return state


def wait(state: PbxState, *joined_at: float) -> None:
    for n, at in enumerate(joined_at, start=1):
        caller = Caller(uniqueid=str(n), channel="", position=n, joined_at=at)
        state.queues["q"].waiting[str(n)] = Stay("q", caller, Visit("q", str(n), at))


def shown(figures: Figures, state: PbxState | None = None, now: float = NOON) -> dict[str, Any]:
    queue: dict[str, Any] = figures.view(state or live(), now)["queues"]["q"]
    return queue


def test_outcomes_add_up_to_what_was_offered() -> None:
    figures = Figures("main")
    for n, kind in enumerate(Outcome, start=1):
        for _ in range(n):
            figures.take(outcome(kind))
    figures.take(CallOutcome(pbx="other", at=NOON, queue="q", uniqueid="u", outcome=Outcome.ANSWERED, wait_s=0.0))
    figures.take("something else on the bus")
    for window in ("today", "m15", "m30", "m60"):
        counts = shown(figures)[window]
        assert [counts[kind.value] for kind in Outcome] == list(range(1, len(Outcome) + 1))
        assert counts["offered"] == sum(range(1, len(Outcome) + 1))


def test_service_level() -> None:
    """Answered within the target, of all answered and all who gave up later than at once."""
    figures = Figures("main", lambda _: QueueSettings(target_seconds=20, short_abandon_seconds=5))
    for wait_s in (1.0, 20.0, 20.1):
        figures.take(outcome(Outcome.ANSWERED, wait_s))
    for wait_s in (5.0, 5.1):
        figures.take(outcome(Outcome.ABANDONED, wait_s))
    figures.take(outcome(Outcome.TIMED_OUT, 60.0))
    counts = shown(figures)["today"]
    assert counts["service_level"] == pytest.approx(2 / 4)
    assert (counts["abandoned"], counts["short_abandoned"], counts["abandoned_without_short"]) == (2, 1, 1)
    assert counts["answer_wait_mean_s"] == pytest.approx(41.1 / 3)
    assert (counts["answer_wait_max_s"], counts["abandon_wait_max_s"]) == (20.1, 5.1)
    assert counts["abandon_wait_mean_s"] == pytest.approx(5.05)
    assert shown(figures)["asterisk"]["service_level_percent"] == 80.0


def test_nothing_to_divide_by_is_none() -> None:
    counts = shown(Figures("main"))["today"]
    assert counts["service_level"] is counts["answer_wait_mean_s"] is counts["handle_mean_s"] is None
    assert counts["occupancy"] is counts["utilisation"] is None
    state = live()
    state.queues["q"].params = QueueParams(
        name="q",
        strategy="",
        max_callers=0,
        service_level_s=0,
        weight=0,
        completed=7,
        abandoned=3,
        hold_s=1,
        talk_s=2,
        service_level_percent=100.0,
    )
    assert shown(Figures("main"), state)["asterisk"]["service_level_percent"] is None  # of a target of 0 s


def test_handle_time_is_talk_with_hold_and_wrap_up() -> None:
    figures = Figures("main")
    figures.take(talk(100.0, hold_s=20.0))
    figures.take(talk(50.0, transferred=True))
    figures.take(WrapUpEnded(pbx="main", at=NOON, queue="q", uniqueid="u", agent="a", wrap_up_s=30.0))
    figures.take(RangInVain(pbx="main", at=NOON, queue="q", uniqueid="u", agent="a", ring_s=12.0))
    figures.take(outcome(Outcome.ANSWERED, agent="a"))
    state = live(("a", AgentState.AVAILABLE, NOON))
    view = figures.view(state, NOON)
    for counts in (view["queues"]["q"]["today"], view["agents"]["a"]["m15"]):
        assert (counts["talks"], counts["talk_s"], counts["hold_s"], counts["wrap_up_s"]) == (2, 150.0, 20.0, 30.0)
        assert (counts["talk_mean_s"], counts["hold_mean_s"], counts["handle_mean_s"]) == (75.0, 10.0, 90.0)
        assert (counts["transfers"], counts["rang_in_vain"]) == (1, 1)
    assert view["agents"]["a"]["today"]["ring_in_vain_s"] == 12.0
    assert view["agents"]["a"]["today"]["answered"] == 1


def test_windows_slide_by_the_minute() -> None:
    figures = Figures("main")
    for minutes in (200, 60, 59, 30, 29, 15, 14, 0):
        figures.take(outcome(Outcome.ANSWERED, at=NOON - minutes * 60))
    counts = shown(figures)
    assert [counts[window]["answered"] for window in ("m15", "m30", "m60", "today")] == [2, 4, 6, 8]
    assert shown(figures, now=NOON + 60)["m15"]["answered"] == 1
    assert shown(figures, now=NOON + 3600)["m60"]["answered"] == 0
    assert shown(figures, now=NOON + 12 * 3600)["today"]["answered"] == 0


def test_what_is_late_goes_where_it_belongs() -> None:
    figures = Figures("main")
    figures.take(outcome(Outcome.ANSWERED, at=NOON))
    figures.take(outcome(Outcome.ANSWERED, at=NOON - 20 * 60))
    assert [shown(figures)[window]["answered"] for window in ("m15", "m30")] == [1, 2]
    midnight = NOON + 12 * 3600
    figures.take(outcome(Outcome.ANSWERED, at=midnight + 60))
    figures.take(outcome(Outcome.ANSWERED, at=midnight - 60))
    assert [shown(figures, now=midnight + 60)[window]["answered"] for window in ("today", "m15")] == [1, 2]


def test_what_comes_hours_late_leaves_the_windows_alone() -> None:
    figures = Figures("main")
    figures.take(outcome(Outcome.ANSWERED, at=NOON))
    figures.take(outcome(Outcome.ANSWERED, at=NOON - 5 * 3600))
    figures.take(outcome(Outcome.ANSWERED, at=NOON - 30 * 3600))
    assert [shown(figures)[window]["answered"] for window in ("m15", "today")] == [1, 2]


def test_a_clock_set_back_does_not_stop_the_counting() -> None:
    figures = Figures("main")
    figures.take(outcome(Outcome.ANSWERED, at=NOON + 30 * 86400))
    figures.take(outcome(Outcome.ANSWERED, at=NOON))
    assert [shown(figures)[window]["answered"] for window in ("m15", "today")] == [1, 1]


def test_memory_is_bounded() -> None:
    tally = Tally(3, frozenset(), Day(QueueSettings()))
    for minute in range(10_000):
        tally.add(minute * 60.0, 0)
        tally.add_time(0.0, minute * 60.0, 1)
    assert len(tally._minutes) <= 120
    assert len(tally._days) <= 3


# -- the day and its hours ----------------------------------------------------------------------------------------


def berlin(*when: int) -> float:
    return datetime(*when, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("at", "starts", "began"),
    [
        ((2026, 3, 18, 12, 0), "00:00", (2026, 3, 18, 0, 0)),
        ((2026, 3, 18, 3, 59), "04:00", (2026, 3, 17, 4, 0)),
        ((2026, 3, 18, 4, 0), "04:00", (2026, 3, 18, 4, 0)),
        ((2026, 3, 29, 12, 0), "00:00", (2026, 3, 29, 0, 0)),  # 23 hours long
        ((2026, 10, 25, 23, 30), "00:00", (2026, 10, 25, 0, 0)),  # 25 hours long
    ],
)
def test_when_the_day_began(at: tuple[int, ...], starts: str, began: tuple[int, ...]) -> None:
    day = Day(QueueSettings(time_zone="Europe/Berlin", day_starts=starts))
    assert day.began(berlin(*at)) == berlin(*began)
    assert day.began(berlin(*at) - 90 * 86400) < day.began(berlin(*at))


def test_business_hours() -> None:
    day = Day(QueueSettings(time_zone="Europe/Berlin", open="mon-fri 08:00-18:00; sat 10:00-14:00"))
    for when, is_open in {
        (2026, 3, 18, 7, 59): False,
        (2026, 3, 18, 8, 0): True,
        (2026, 3, 18, 18, 0): False,
        (2026, 3, 21, 13, 59): True,
        (2026, 3, 22, 12, 0): False,
        (2026, 7, 1, 8, 0): True,  # in summer time
    }.items():
        assert day.is_open(berlin(*when)) is is_open
    assert parse_open("fri-mon 00:00-24:00") == ((frozenset({4, 5, 6, 0}), 0, 1440),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"open": "daily"},
        {"open": "mon 18:00-08:00"},
        {"open": "mon 08:00-25:00"},
        {"time_zone": "Mars/North"},
        {"time_zone": "../etc/passwd"},
        {"day_starts": "24:00"},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        QueueSettings(**wrong)  # type: ignore[arg-type]


def test_who_calls_outside_business_hours_is_counted_but_not_in_the_service_level() -> None:
    figures = Figures("main", lambda _: QueueSettings(open="wed 09:00-12:00"))
    figures.take(outcome(Outcome.ANSWERED, 30.0, at=NOON + 10))  # joined before the end
    figures.take(outcome(Outcome.ANSWERED, 5.0, at=NOON + 10))
    figures.take(outcome(Outcome.ABANDONED, 9.0, at=NOON + 10))
    counts = shown(figures)["today"]
    assert (counts["answered"], counts["abandoned"], counts["outside_hours"]) == (2, 1, 2)
    assert counts["service_level"] == 0.0
    assert shown(figures, now=NOON - 1)["now"]["open"]
    assert not shown(figures, now=NOON)["now"]["open"]


def test_a_queues_own_settings_come_before_the_default() -> None:
    default = QueueSettings(target_seconds=30, time_zone="Europe/Berlin")
    queues = {"q": QueueSettings(target_seconds=10)}
    assert queue_settings(default, queues, "q") == QueueSettings(target_seconds=10, time_zone="Europe/Berlin")
    assert queue_settings(default, queues, "other") is default


# -- people -------------------------------------------------------------------------------------------------------


def test_occupancy_and_utilisation() -> None:
    figures = Figures("main")
    begin = NOON - 600
    for state, seconds in (
        *((AgentState.ON_CALL, 100), (AgentState.ON_HOLD, 20), (AgentState.WRAP_UP, 30)),
        *((AgentState.RINGING, 10), (AgentState.AVAILABLE, 140), (AgentState.PAUSED, 200)),
    ):
        figures.take(interval(state, begin, begin + seconds))
        begin += seconds
    view = figures.view(live(("a", AgentState.UNAVAILABLE, begin)), NOON)
    counts = view["agents"]["a"]["m15"]
    assert counts["occupancy"] == pytest.approx(150 / 290)
    assert counts["utilisation"] == pytest.approx(150 / 500)
    assert counts["state_s"]["paused"] == pytest.approx(200)
    assert counts["state_s"]["unavailable"] == pytest.approx(100)


def test_an_agent_in_three_queues_counts_once_over_all() -> None:
    figures = Figures("main")
    figures.take(interval(AgentState.ON_CALL, NOON - 300, NOON))
    state = live(("a", AgentState.AVAILABLE, NOON - 0), ("b", AgentState.AVAILABLE, NOON - 300), queues=("q", "r", "s"))
    view = figures.view(state, NOON)
    assert view["all"]["m15"]["state_s"]["on_call"] == pytest.approx(300)
    assert view["all"]["m15"]["occupancy"] == pytest.approx(0.5)
    assert view["all"]["now"]["agents"]["available"] == 2
    assert [view["queues"][name]["m15"]["occupancy"] for name in "qrs"] == [0.5, 0.5, 0.5]


def test_a_state_that_lasts_counts_up_to_now_and_only_within_the_window() -> None:
    view = Figures("main").view(live(("a", AgentState.PAUSED, NOON - 86400)), NOON + 30)
    counts = view["agents"]["a"]
    assert counts["m15"]["state_s"]["paused"] == 14 * 60 + 30
    assert counts["today"]["state_s"]["paused"] == 12 * 3600 + 30
    assert counts["now"]["state_s"] == 86400 + 30


def test_a_long_interval_is_shared_out() -> None:
    figures = Figures("main")
    figures.take(interval(AgentState.AVAILABLE, NOON - 86400, NOON))
    counts = figures.view(live(("a", AgentState.PAUSED, NOON)), NOON)["agents"]["a"]
    assert counts["m30"]["state_s"]["available"] == 29 * 60
    assert counts["today"]["state_s"]["available"] == 12 * 3600


def test_waiting_and_estimated_wait() -> None:
    figures = Figures("main")
    busy = live(("a", AgentState.ON_CALL, NOON), ("b", AgentState.WRAP_UP, NOON), ("c", AgentState.PAUSED, NOON))
    assert shown(figures, busy)["now"]["estimated_wait_s"] is None  # no call yet to tell how long one takes
    figures.take(talk(80.0, at=NOON - 7000))
    figures.take(WrapUpEnded(pbx="main", at=NOON - 7000, queue="q", uniqueid="u", agent="a", wrap_up_s=20.0))
    wait(busy, NOON - 40, NOON - 10)
    now = shown(figures, busy)["now"]
    assert (now["waiting"], now["longest_wait_s"]) == (2, 40.0)
    assert now["estimated_wait_s"] == pytest.approx(3 * 100 / 2)  # of today, for the hour has none
    figures.take(talk(40.0, at=NOON - 60))
    assert shown(figures, busy)["now"]["estimated_wait_s"] == pytest.approx(3 * 40 / 2)
    free = live(("a", AgentState.AVAILABLE, NOON))
    assert shown(figures, free)["now"]["estimated_wait_s"] == 0.0
    wait(free, NOON)  # who is free will take the one who waits
    assert shown(figures, free)["now"]["estimated_wait_s"] == pytest.approx(1 * 40 / 1)
    nobody = live(("a", AgentState.PAUSED, NOON))
    assert shown(figures, nobody)["now"]["estimated_wait_s"] is None


def test_history_counts_as_if_it_had_been_heard() -> None:
    visit = QueueVisit(
        queue="q",
        uniqueid="u",
        joined_at=NOON - 40,
        ended_at=NOON - 30,
        outcome=Outcome.ANSWERED,
        wait_s=10.0,
        agent="a",
        talk_s=20.0,
        hold_s=5.0,
        wrap_up_s=4.0,
        transferred=True,
    )
    record = CallRecord(
        pbx="main",
        at=NOON,
        linkedid="u",
        started_at=NOON - 40,
        direction=Direction.INBOUND,
        number="",
        name="",
        dialled="",
        answered_at=NOON - 30,
        visits=(visit,),
        timeline=(),
        legs=2,
    )
    recalled, heard = Figures("main"), Figures("main")
    recalled.recall(record, NOON)
    recalled.recall(interval(AgentState.PAUSED, NOON - 60, NOON), NOON)
    for item in (
        outcome(Outcome.ANSWERED, at=NOON - 30, agent="a"),
        talk(20.0, 5.0, at=NOON - 10, transferred=True),
        WrapUpEnded(pbx="main", at=NOON - 6, queue="q", uniqueid="u", agent="a", wrap_up_s=4.0),
        interval(AgentState.PAUSED, NOON - 60, NOON),
    ):
        heard.take(item)
    state = live(("a", AgentState.AVAILABLE, NOON))
    assert recalled.view(state, NOON) == heard.view(state, NOON)


def test_windows_agree_with_plain_counting() -> None:
    """Of many random waits, however they are spread: what a list of them gives."""
    dice = random.Random(7)
    figures = Figures("main")
    items = sorted((NOON - dice.random() * 4000, dice.random() * 60) for _ in range(500))
    for at, wait_s in items:
        figures.take(outcome(Outcome.ANSWERED, wait_s, at=at))
    for window, minutes in (("m15", 15), ("m30", 30), ("m60", 60)):
        expected = [wait_s for at, wait_s in items if at // 60 > NOON // 60 - minutes]
        counts = shown(figures)[window]
        assert counts["answered"] == len(expected)
        assert counts["answer_wait_mean_s"] == pytest.approx(sum(expected) / len(expected))
        assert counts["answer_wait_max_s"] == max(expected)
        assert counts["service_level"] == pytest.approx(sum(w <= 20 for w in expected) / len(expected))
