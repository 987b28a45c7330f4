"""Pauses keep their reason, though Asterisk forgets it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connector.acd.apply import apply
from connector.acd.model import PbxState
from connector.events import AnyEvent, Member, MemberChanged, QueueParams, QueueSnapshot, QueuesSnapshot
from connector.records import AgentInterval, AgentState

A = "PJSIP/a"
LUNCH = Member(interface=A, name=A, paused=True, pause_reason="Lunch", paused_at=5.0)
FORGOTTEN = msgspec.structs.replace(LUNCH, pause_reason="")
"""As told after a reload of a changed queues.conf, by 16.28 and 22.10."""
AGAIN = msgspec.structs.replace(FORGOTTEN, paused_at=6.0)
FREE = Member(interface=A, name=A, paused_at=5.0)


def told(member: Member, kind: str = "status", at: float = 9.0) -> MemberChanged:
    return MemberChanged(pbx="main", at=at, queue="support", member=member, kind=kind)


def listed(member: Member, at: float = 9.0) -> QueuesSnapshot:
    zero: dict[str, Any] = dict.fromkeys(("max_callers", "service_level_s", "weight", "completed", "abandoned"), 0)
    params = QueueParams(name="support", strategy="", hold_s=0.0, talk_s=0.0, **zero)
    return QueuesSnapshot(pbx="main", at=at, queues=(QueueSnapshot(params=params, members=(member,), callers=()),))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (told(FORGOTTEN), "Lunch"),
        (told(FORGOTTEN, "penalty"), "Lunch"),
        (listed(FORGOTTEN), "Lunch"),
        (told(AGAIN), ""),
        (listed(AGAIN), ""),
        (told(FORGOTTEN, "pause"), ""),
        (told(msgspec.structs.replace(LUNCH, pause_reason="Tea"), "pause"), "Tea"),
    ],
)
def test_a_pause_has_the_reason_it_was_begun_with(event: AnyEvent, reason: str) -> None:
    state = PbxState("main")
    for each in (listed(FREE, 1.0), told(LUNCH, "pause", 5.0), event):
        apply(state, each)
    assert (state.agents[A].state, state.agents[A].reason) == (AgentState.PAUSED, reason)


def test_a_pause_over_a_reload_is_one_interval() -> None:
    state = PbxState("main")
    stream = (listed(FREE, 1.0), told(LUNCH, "pause", 5.0), listed(FORGOTTEN), told(FORGOTTEN), told(FREE, "pause", 12))
    changes = [change for event in stream for change in apply(state, event)]
    paused = [i for i in changes if isinstance(i, AgentInterval) and i.state is AgentState.PAUSED]
    assert [(i.reason, i.started_at, i.at) for i in paused] == [("Lunch", 5.0, 12)]
    apply(state, told(FREE))
    assert state.agents[A].reason == ""
