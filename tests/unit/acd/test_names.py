"""queue_log names members; whom it means is known, also when they are members no more."""

from __future__ import annotations

import pytest

from connector.acd import agents
from connector.acd.agents import agent_named
from connector.acd.apply import apply
from connector.acd.model import PbxState
from connector.events import DirectoryChanged, Member, MemberChanged, MemberRemoved, Person, QueuesSnapshot

A = Member(interface="PJSIP/a", name="Aushilfe, 2. Stock")


def told(member: Member, queue: str = "support") -> MemberChanged:
    return MemberChanged(pbx="main", at=1.0, queue=queue, member=member, kind="added")


def test_who_is_a_member_no_more_is_known_by_name() -> None:
    state = PbxState("main")
    assert agent_named(state, "support", A.name) == A.name
    apply(state, told(A))
    assert agent_named(state, "support", A.name) == agent_named(state, "sales", A.name) == A.interface
    apply(state, MemberRemoved(pbx="main", at=2.0, queue="support", interface=A.interface))
    assert agent_named(state, "support", A.name) == A.interface


def test_who_left_while_nobody_listened_is_known_by_name() -> None:
    state = PbxState("main")
    apply(state, told(A))
    apply(state, QueuesSnapshot(pbx="main", at=2.0, queues=()))
    assert state.agents == {}
    assert agent_named(state, "support", A.name) == A.interface


def test_of_two_with_a_name_the_one_in_the_queue_is_meant() -> None:
    state = PbxState("main")
    apply(state, told(A))
    apply(state, told(Member(interface="PJSIP/b", name=A.name), "sales"))
    assert agent_named(state, "support", A.name) == A.interface
    assert agent_named(state, "sales", A.name) == "PJSIP/b"


def test_a_person_of_the_directory_goes_before() -> None:
    state = PbxState("main")
    apply(state, told(A))
    person = Person(id="ann", name="Ann", interfaces=(A.interface,))
    apply(state, DirectoryChanged(pbx="main", at=2.0, people=(person,)))
    apply(state, MemberRemoved(pbx="main", at=3.0, queue="support", interface=A.interface))
    assert agent_named(state, "support", A.name) == "ann"


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "NAMES_MAX", 3)
    state = PbxState("main")
    for number in range(5):
        apply(state, told(Member(interface=f"PJSIP/{number}", name=f"n{number}")))
    assert list(state.names) == ["n2", "n3", "n4"]
