"""The figures in Prometheus: right by hand-made numbers, never going back, and of agents only where wanted."""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from connector.acd.figures import Figures
from connector.acd.model import Agent, PbxState, Queue, Stay, Visit
from connector.config_people import QueueSettings
from connector.events import (
    AgentChanged,
    Caller,
    CallOutcome,
    Event,
    Member,
    Outcome,
    QueueParams,
    RangInVain,
    TalkEnded,
    WrapUpEnded,
)
from connector.records import AgentState
from connector.telemetry.figures import FigureCounters, FiguresCollector

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()
DOCUMENT = Path(__file__).parents[3] / "docs" / "figures.md"


class Scene:
    """Figures, counters and a state of one queue with two agents."""

    def __init__(self, *, per_agent: bool = False, **settings: Any) -> None:
        self.now = NOON
        self.figures = Figures("main", lambda _: QueueSettings(**settings))
        self.counters = FigureCounters({"main": self.figures}, lambda: self.now, per_agent=per_agent)
        self.state = PbxState("main")
        params = QueueParams(
            name="q", strategy="", max_callers=0, service_level_s=0, weight=0, completed=0, abandoned=0, hold_s=0,
            talk_s=0,
        )  # fmt: skip
        self.state.queues["q"] = Queue(params, {who: Member(interface=who, name=who) for who in "ab"})
        for who in "ab":
            self.state.agents[who] = Agent(who, who, AgentState.ON_CALL, NOON)
        self.registry = CollectorRegistry()
        self.registry.register(
            FiguresCollector({"main": self.figures}, self.counters, lambda: {"main": self.state}, lambda: self.now)
        )

    def take(self, *events: Event) -> None:
        for event in events:
            self.figures.take(event)
            self.counters.on_event(event)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"connector_{name}", {"pbx": "main", **labels})

    def of_queue(self, name: str) -> float | None:
        return self.value(f"queue_{name}", queue="q")


def outcome(kind: Outcome, wait_s: float, agent: str = "") -> CallOutcome:
    return CallOutcome(pbx="main", at=NOON, queue="q", uniqueid="u", outcome=kind, wait_s=wait_s, agent=agent)


def talk(talk_s: float, agent: str = "a") -> TalkEnded:
    return TalkEnded(
        pbx="main", at=NOON, queue="q", uniqueid="u", agent=agent, talk_s=talk_s, hold_s=5.0, transferred=True
    )


def test_a_queue_before_its_first_call_has_counters_at_zero_and_no_shares() -> None:
    scene = Scene()
    assert scene.of_queue("service_level_calls_total") == scene.of_queue("transfers_total") == 0.0
    for name in ("service_level_ratio", "answer_wait_mean_seconds", "abandoned_ratio", "estimated_wait_seconds"):
        assert scene.of_queue(name) is None


def test_of_queues() -> None:
    scene = Scene(target_seconds=20, short_abandon_seconds=5, target_share=0.9)
    scene.take(outcome(Outcome.ANSWERED, 10.0, "a"), outcome(Outcome.ANSWERED, 30.0, "b"))
    scene.take(outcome(Outcome.ABANDONED, 5.0), outcome(Outcome.ABANDONED, 50.0), outcome(Outcome.TIMED_OUT, 60.0))
    scene.take(talk(100.0), RangInVain(pbx="main", at=NOON, queue="q", uniqueid="u", agent="a", ring_s=9.0))
    scene.take(WrapUpEnded(pbx="main", at=NOON, queue="q", uniqueid="u", agent="a", wrap_up_s=20.0))
    caller = Caller(uniqueid="w", channel="", position=1, joined_at=NOON)
    scene.state.queues["q"].waiting["w"] = Stay("q", caller, Visit("q", "w", NOON))
    found = {
        name: scene.of_queue(name)
        for name in (
            *("service_level_calls_total", "service_level_met_total", "short_abandons_total", "closed_calls_total"),
            *("hold_seconds_total", "wrap_up_seconds_total", "transfers_total", "ring_no_answer_total"),
            *("service_level_ratio", "abandoned_ratio", "answer_wait_mean_seconds", "estimated_wait_seconds", "open"),
            *("service_level_target_seconds", "service_level_target_ratio"),
        )
    }
    assert found == {
        "service_level_calls_total": 3, "service_level_met_total": 1, "short_abandons_total": 1,
        "closed_calls_total": 0, "hold_seconds_total": 5, "wrap_up_seconds_total": 20, "transfers_total": 1,
        "ring_no_answer_total": 1, "service_level_ratio": pytest.approx(1 / 3), "abandoned_ratio": pytest.approx(1 / 4),
        "answer_wait_mean_seconds": 20, "estimated_wait_seconds": pytest.approx(2 * 120 / 2), "open": 1,
        "service_level_target_seconds": 20, "service_level_target_ratio": 0.9,
    }  # fmt: skip
    view = scene.figures.view_queue(scene.state, "q", NOON)
    assert view["today"]["service_level"] == found["service_level_ratio"]
    assert view["today"]["abandoned_share"] == found["abandoned_ratio"]
    assert view["now"]["estimated_wait_s"] == found["estimated_wait_seconds"]
    assert scene.value("queue_agents", queue="q", state="on_call") == 2


def test_outside_of_business_hours_nothing_counts_for_the_service_level() -> None:
    scene = Scene(open="sun 00:00-24:00")
    scene.take(outcome(Outcome.ANSWERED, 1.0, "a"), outcome(Outcome.ABANDONED, 60.0))
    assert (scene.of_queue("service_level_calls_total"), scene.of_queue("closed_calls_total")) == (0, 2)
    assert scene.of_queue("open") == 0


def test_counters_go_on_when_the_day_ends_and_history_is_not_in_them() -> None:
    scene = Scene()
    scene.take(outcome(Outcome.ANSWERED, 1.0, "a"))
    scene.now += 86_400
    assert scene.of_queue("service_level_ratio") is None
    assert scene.of_queue("service_level_met_total") == 1


def test_time_in_a_state_is_peoples_and_never_goes_back() -> None:
    scene = Scene()

    def changed(agent: str, state: str, at: float) -> AgentChanged:
        return AgentChanged(pbx="main", at=at, agent=agent, state=state, reason="", linkedid="")

    def seconds(state: AgentState) -> float | None:
        return scene.value("agents_state_seconds_total", state=state.value)

    assert seconds(AgentState.ON_CALL) == 0
    scene.take(changed("a", "on_call", NOON), changed("b", "on_call", NOON))
    scene.now += 10
    assert seconds(AgentState.ON_CALL) == 20
    scene.now -= 5  # a clock that is set back
    scene.take(changed("a", "available", NOON - 100))
    scene.now += 3
    assert (seconds(AgentState.ON_CALL), seconds(AgentState.AVAILABLE)) == (23, 3)
    scene.take(changed("b", "", NOON))
    scene.now += 100
    assert (seconds(AgentState.ON_CALL), seconds(AgentState.AVAILABLE)) == (23, 103)
    assert scene.value("agents", state="on_call") == 2


def test_agents_have_series_only_where_wanted() -> None:
    for per_agent in (False, True):
        scene = Scene(per_agent=per_agent)
        scene.take(outcome(Outcome.ANSWERED, 1.0, "a"), outcome(Outcome.ABANDONED, 1.0), talk(100.0))
        found = [scene.value(f"agent_{name}_total", agent="a") for name in ("answered", "talk_seconds", "transfers")]
        assert found == ([1, 100, 1] if per_agent else [None, None, None])
        assert scene.value("agent_state", agent="a", state="on_call") == (1 if per_agent else None)


async def test_the_queries_of_the_document_are_sound_and_name_what_there_is() -> None:
    queries = [
        line.rpartition(" | `")[2].removesuffix("` |")
        for line in DOCUMENT.read_text("utf-8").splitlines()
        if "[1h]" in line
    ]
    assert len(queries) == 4
    rules = "".join(
        f"  - record: query_{n}\n    expr: '{query.replace(chr(92) + '|', '|')}'\n" for n, query in enumerate(queries)
    )
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: run scripts/setup test, or install the package prometheus"
    checked = await asyncio.create_subprocess_exec(
        promtool, "check", "rules", "/dev/stdin", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await checked.communicate(f"groups:\n- name: figures\n  rules:\n{rules}".encode())
    assert checked.returncode == 0, said.decode()
    documented = (DOCUMENT.parent / "metrics.md").read_text("utf-8")
    for name in set(re.findall(r"connector_\w+", " ".join(queries))):
        assert f"`{re.sub('_(sum|count)$', '', name)}`" in documented, name
