"""One owner an interface, one person a device."""

from __future__ import annotations

import pytest

from connector.acd.directory import Directory, DirectoryError, device_of, device_of_channel, people_of
from connector.config_people import AgentSettings
from connector.events import Member, Person

ALICE = Person(id="alice", name="Alice", interfaces=("PJSIP/alice", "Local/100@agents/n"))
BOB = Person(id="bob", name="Bob", interfaces=("PJSIP/bob",))


def member(interface: str, name: str = "", state_interface: str = "") -> Member:
    return Member(interface=interface, name=name or interface, state_interface=state_interface)


def test_an_interface_has_one_owner() -> None:
    with pytest.raises(DirectoryError, match="alice"):
        Directory([ALICE, Person(id="eve", name="Eve", interfaces=("Local/100@agents",))])
    with pytest.raises(DirectoryError, match="bob"):
        Directory([BOB, BOB])
    with pytest.raises(DirectoryError):
        Directory([ALICE, BOB]).put(Person(id="bob", name="Bob", interfaces=("PJSIP/alice",)))
    moved = Directory([ALICE, BOB]).without("alice").put(Person(id="bob", name="Bob", interfaces=("PJSIP/alice",)))
    assert list(moved.people) == ["bob"]


@pytest.mark.parametrize(
    ("one", "agent"),
    [
        (member("PJSIP/alice"), "alice"),
        (member("Local/100@agents"), "alice"),
        (member("Local/7@queue/n", state_interface="PJSIP/alice"), "alice"),
        (member("PJSIP/home", name="Alice"), "alice"),
        (member("PJSIP/carol", name="Carol"), "PJSIP/carol"),
        (member("Local/8@queue/n", state_interface="PJSIP/carol"), "PJSIP/carol"),
        (member("Local/8@queue/n", state_interface="hint:8@ext-local"), "Local/8@queue/n"),
        (member("Local/8@queue/n", state_interface="Custom:eight"), "Local/8@queue/n"),
    ],
)
def test_whose_member_it_is(one: Member, agent: str) -> None:
    assert Directory([ALICE, BOB]).agent_id(one) == agent


def test_a_name_that_two_have_tells_nothing() -> None:
    directory = Directory([Person(id="a", name="Kim"), Person(id="b", name="Kim")])
    assert directory.agent_id(member("PJSIP/kim", name="Kim")) == "PJSIP/kim"


def test_what_is_free_allocated_and_available() -> None:
    known = ["PJSIP/alice", "PJSIP/bob", "PJSIP/new"]
    lists = Directory([ALICE, BOB]).interfaces(known, "bob")
    assert (lists.free, lists.allocated) == (("PJSIP/new",), ("PJSIP/alice", "PJSIP/bob"))
    assert lists.available == ("PJSIP/bob", "PJSIP/new")
    assert Directory([ALICE, BOB]).interfaces(known).available == ("PJSIP/new",)


def test_devices() -> None:
    assert device_of("Local/100@agents/n") == device_of("Local/100@agents") == "Local/100@agents"
    assert device_of("PJSIP/trunk/sip:1@host") == "PJSIP/trunk/sip:1@host"
    assert device_of_channel("PJSIP/a-b-0000002a") == "PJSIP/a-b"
    assert device_of_channel("Local/100@agents-00000001;1") == "Local/100@agents"
    assert device_of_channel("odd") == "odd"


def test_people_of_the_settings() -> None:
    agents = {
        "alice": AgentSettings(name="Alice", teams=("one",), skills="de, en", interfaces=("PJSIP/alice",)),
        "bob": AgentSettings(pbx="other"),
        "carol": AgentSettings(pbx="main"),
    }
    assert [(p.id, p.name, p.teams, p.skills) for p in people_of(agents, "main")] == [
        ("alice", "Alice", ("one",), "de, en"),
        ("carol", "carol", (), ""),
    ]
