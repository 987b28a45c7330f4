"""Three people at work, recorded: what the live state tells of them is what queue_log and `queue show` tell."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connector.acd.apply import apply, tick
from connector.acd.figures import Figures
from connector.acd.model import PbxState
from connector.asterisk.replay import events
from connector.asterisk.translate import Malformed
from connector.config_people import QueueSettings
from connector.events import AgentChanged, RangInVain, TalkEnded
from connector.records import AgentInterval, AgentState, CallRecord, Derived, Direction

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"
WRAP_UP_S = {"billing": 1.0}

pytestmark = pytest.mark.parametrize("version", ["22", "16"])


@cache
def facts(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"{version}-people.json").read_text())
    return found


@cache
def played(version: str) -> tuple[PbxState, tuple[Derived, ...], Figures]:
    state = PbxState("main", wrap_up_s=WRAP_UP_S)
    figures = Figures("main", lambda _: QueueSettings(short_abandon_seconds=1.0))
    changes: list[Derived] = []
    for event in events((FIXTURES / f"{version}-people.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        changes += apply(state, event)
    for change in changes:
        figures.take(change)
    return state, tuple(changes), figures


def log_lines(version: str, *names: str) -> list[list[str]]:
    return [fields for line in facts(version)["log"] if (fields := line.split("|"))[4] in names]


def calls(version: str) -> list[CallRecord]:
    return [change for change in played(version)[1] if isinstance(change, CallRecord)]


def intervals(version: str, agent: str) -> list[AgentInterval]:
    return [change for change in played(version)[1] if isinstance(change, AgentInterval) and change.agent == agent]


def agent_named(version: str, name: str) -> str:
    return next(agent.id for agent in played(version)[0].agents.values() if agent.name == name)


def test_a_person_in_three_queues_is_one(version: str) -> None:
    state = played(version)[0]
    assert {agent.name: sorted(queue for queue, _ in agent.members) for agent in state.agents.values()} == {
        "Agent 1": ["billing", "sales", "support"],
        "Agent 2": ["support"],
        "Agent 3": ["sales"],
    }


def test_all_end_as_asterisk_shows_them(version: str) -> None:
    state = played(version)[0]
    assert {agent.name: (agent.state, agent.reason) for agent in state.agents.values()} == {
        "Agent 1": (AgentState.PAUSED, "Training"),
        "Agent 2": (AgentState.ON_HOLD, ""),
        "Agent 3": (AgentState.AVAILABLE, ""),
    }
    shown = facts(version)["queues"]
    assert {name: [caller.channel for caller in queue.callers()] for name, queue in state.queues.items()} == {
        name: queue["waiting"] for name, queue in shown.items()
    }
    assert state.drift == {}
    assert state.reloads == 1
    assert list(state.endpoints) == ["PJSIP/desk"]
    assert (state.endpoints["PJSIP/desk"].online, state.endpoints["PJSIP/desk"].contacts) == (False, {})


def test_every_conversation_is_in_queue_log(version: str) -> None:
    """Also after a transfer or a requeue: the same call, the same channel, another visit."""
    visits = [visit for call in calls(version) for visit in call.visits if visit.agent]
    logged = log_lines(version, "CONNECT")[: len(visits)]  # the last one goes on
    ours = sorted((v.uniqueid, v.joined_at, v.queue, v.agent) for v in visits)
    assert [(uniqueid, queue, agent) for uniqueid, _, queue, agent in ours] == [
        (uniqueid, queue, agent_named(version, name)) for _, uniqueid, queue, name, *_ in logged
    ]
    ended = log_lines(version, "COMPLETEAGENT", "COMPLETECALLER", "BLINDTRANSFER", "ATTENDEDTRANSFER")
    by_key = {(fields[1], fields[2]): fields for fields in ended}
    assert len(by_key) == len(visits)
    for visit in visits:
        fields = by_key[visit.uniqueid, visit.queue]
        # The talk is the second-last number of a completion, and follows the hold in a transfer.
        talk_s = int(fields[6] if fields[4].startswith("COMPLETE") else fields[8])
        assert visit.talk_s == pytest.approx(talk_s, abs=1.01)
        assert visit.transferred is fields[4].endswith("TRANSFER")


def test_transfers_and_requeues_keep_one_call(version: str) -> None:
    queue_paths = Counter(tuple(v.queue for v in call.visits) for call in calls(version) if call.visits)
    assert queue_paths == {("billing", "support"): 1, ("billing", "sales"): 1, ("billing",): 3}
    attended = next(call for call in calls(version) if any(e.what == "transfer_attended" for e in call.timeline))
    assert attended.legs == 4
    assert [entry.what for entry in attended.timeline] == [
        *("joined", "rang", "answered", "hold", "dial_answer", "unhold", "merged", "transfer_attended", "completed"),
    ]
    blind = next(call for call in calls(version) if any(e.what == "transfer_blind" for e in call.timeline))
    assert [visit.transferred for visit in blind.visits] == [True, False]
    assert len({call.linkedid for call in calls(version)}) == len(calls(version))


def test_calls_of_no_queue_have_a_direction(version: str) -> None:
    seen = Counter((call.direction, call.dialled, call.answered_at is not None) for call in calls(version))
    assert {key: n for key, n in seen.items() if key[1] not in ("billing", "again")} == {
        (Direction.INBOUND, "103", True): 1,
        (Direction.OUTBOUND, "echo", False): 1,
        (Direction.INTERNAL, "103", True): 1,
        (Direction.OUTBOUND, "busy", False): 1,
        (Direction.INBOUND, "room", False): 1,
    }
    assert all(call.number == "alice" for call in calls(version) if call.direction is Direction.INBOUND)


def test_hold_is_the_agents_and_within_the_talk(version: str) -> None:
    holds = [visit.hold_s for call in calls(version) for visit in call.visits if visit.hold_s]
    assert len(holds) == 2
    assert holds[0] == pytest.approx(2.4, abs=0.2)
    one = agent_named(version, "Agent 1")
    on_hold = [each.at - each.started_at for each in intervals(version, one) if each.state is AgentState.ON_HOLD]
    # In the second the agent talks to somebody else meanwhile.
    assert on_hold[0] == pytest.approx(holds[0], abs=0.01)
    assert on_hold[1] < 0.1 < holds[1]


def test_intervals_follow_each_other_without_gap_or_overlap(version: str) -> None:
    state, changes, _ = played(version)
    for agent in state.agents.values():
        own = intervals(version, agent.id)
        assert all(before.at == after.started_at for before, after in itertools.pairwise(own))
        assert own[-1].at == agent.since
        assert all(each.at > each.started_at for each in own)
        # Another call divides a state, the end of a channel before the device's own word does not.
        same = [pair for pair in itertools.pairwise(own) if pair[0].state is pair[1].state]
        assert all(before.linkedid and after.linkedid for before, after in same)
        assert [c.state for c in changes if isinstance(c, AgentChanged) and c.agent == agent.id][-1] == agent.state


def test_pauses_have_their_reason(version: str) -> None:
    paused = [e for e in intervals(version, agent_named(version, "Agent 1")) if e.state is AgentState.PAUSED]
    assert [each.reason for each in paused] == ["Lunch"]


def test_wrap_up_lasts_as_set(version: str) -> None:
    wrapped = [visit.wrap_up_s for call in calls(version) for visit in call.visits if visit.queue == "billing"]
    # The pause cut the first one short; the last caller gave up.
    assert wrapped[0] < 0.2
    assert wrapped[1:] == [1.0, 1.0, 1.0, 0.0]


def test_phones_that_rang_in_vain(version: str) -> None:
    told = [change for change in played(version)[1] if isinstance(change, RangInVain)]
    logged = log_lines(version, "RINGNOANSWER")
    assert [(change.queue, change.uniqueid, change.ring_s) for change in told] == [
        (fields[2], fields[1], int(fields[5]) / 1000) for fields in logged
    ]


def test_figures_count_what_queue_log_counts(version: str) -> None:
    state, changes, figures = played(version)
    now = max(change.at for change in changes) + 1.0
    view = figures.view(state, now)
    for name, counts in facts(version)["queue_log"].items():
        today = view["queues"][name]["today"]
        assert today["answered"] == counts.get("CONNECT", 0)
        assert today["abandoned"] == counts.get("ABANDON", 0)
        assert today["transfers"] == counts.get("BLINDTRANSFER", 0) + counts.get("ATTENDEDTRANSFER", 0)
        assert today["rang_in_vain"] == counts.get("RINGNOANSWER", 0)
        assert today["offered"] + view["queues"][name]["now"]["waiting"] == counts["ENTERQUEUE"]
        assert today["talks"] == sum(n for event, n in counts.items() if event.startswith(("COMPLETE", "ATT", "BLIND")))
    talks = [change for change in changes if isinstance(change, TalkEnded)]
    assert view["agents"][agent_named(version, "Agent 1")]["m15"]["transfers"] == 2
    assert sum(each["m60"]["talks"] for each in view["agents"].values()) == len(talks)
    assert view["queues"]["billing"]["now"]["agents"]["paused"] == 1


def test_time_may_be_told_as_often_as_one_likes(version: str) -> None:
    """Ticks between all events change neither what is told nor when it was."""
    state = PbxState("main", wrap_up_s=WRAP_UP_S)
    changes: list[Derived] = []
    at = 0.0
    for event in events((FIXTURES / f"{version}-people.bin").read_bytes(), "main"):
        assert not isinstance(event, Malformed)
        for part in range(20):
            changes += tick(state, at + (event.at - at) * part / 20 if at else 0.0)
        at = max(at, event.at)
        changes += apply(state, event)
    assert changes == list(played(version)[1])
