"""What a person does, from what is heard of their members, channels and conversations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connector.acd.agents import CLOCK_SET_BACK_S
from connector.acd.apply import apply, tick
from connector.acd.model import PbxState
from connector.acd.visits import LATE_S
from connector.events import (
    AgentCalled,
    AgentChanged,
    AgentCompleted,
    AgentConnected,
    AgentDumped,
    AgentRangNoAnswer,
    AnyEvent,
    Caller,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    ContactChanged,
    DeviceState,
    DirectoryChanged,
    Endpoint,
    EndpointsSnapshot,
    Leg,
    LegChanged,
    LegEnded,
    LegHeld,
    LegsSnapshot,
    LegStarted,
    Member,
    MemberChanged,
    MemberRemoved,
    PbxChanged,
    PbxPhase,
    PeerChanged,
    Person,
    QueueParams,
    QueueSnapshot,
    QueuesSnapshot,
    RangInVain,
    TalkEnded,
    Transferred,
    TrunkChanged,
    WrapUpEnded,
)
from connector.records import AgentInterval, AgentState, CallRecord, Derived

A = "PJSIP/a"


def member(device: DeviceState = DeviceState.NOT_IN_USE, interface: str = A, **values: Any) -> Member:
    return Member(**{"interface": interface, "name": interface, "device": device, **values})


def changed(
    one: Member | DeviceState = DeviceState.NOT_IN_USE, queue: str = "support", at: float = 0.0, **values: Any
) -> MemberChanged:
    one = one if isinstance(one, Member) else member(one, **values)
    return MemberChanged(pbx="main", at=at, queue=queue, member=one, kind="status")


def started(uniqueid: str, channel: str, state: str = "ring", linkedid: str = "", at: float = 0.0) -> LegStarted:
    leg = Leg(
        uniqueid=uniqueid,
        linkedid=linkedid or uniqueid,
        channel=channel,
        state=state,
        number="1",
        name="",
        context="c",
        exten="s",
        started_at=at,
    )
    return LegStarted(pbx="main", at=at, leg=leg)


def state_of(uniqueid: str, value: str, linkedid: str = "", at: float = 0.0) -> LegChanged:
    return LegChanged(pbx="main", at=at, uniqueid=uniqueid, linkedid=linkedid or uniqueid, state=value)


def ended(uniqueid: str, at: float = 0.0) -> LegEnded:
    return LegEnded(pbx="main", at=at, uniqueid=uniqueid, linkedid=uniqueid, cause=16, location="c,s,1")


def joined(uniqueid: str = "c1", queue: str = "support", at: float = 0.0) -> CallerJoined:
    caller = Caller(uniqueid=uniqueid, channel=f"PJSIP/{uniqueid}", position=1, joined_at=at)
    return CallerJoined(pbx="main", at=at, queue=queue, caller=caller, linkedid=uniqueid, location="c,s,1")


def of(kind: type, at: float, uniqueid: str = "c1", queue: str = "support", interface: str = A, **values: Any) -> Any:
    return kind(pbx="main", at=at, queue=queue, uniqueid=uniqueid, interface=interface, member=interface, **values)


def called(at: float, **values: Any) -> AgentCalled:
    return of(AgentCalled, at, **values)  # type: ignore[no-any-return]


def connected(at: float, leg: str = "", **values: Any) -> AgentConnected:
    return of(AgentConnected, at, hold_s=1.0, ring_s=1.0, leg=leg, **values)  # type: ignore[no-any-return]


def completed(at: float, reason: str = "caller", **values: Any) -> AgentCompleted:
    return of(AgentCompleted, at, hold_s=1.0, talk_s=3.0, reason=reason, **values)  # type: ignore[no-any-return]


def left(at: float, uniqueid: str = "c1", queue: str = "support") -> CallerLeft:
    return CallerLeft(pbx="main", at=at, queue=queue, uniqueid=uniqueid, location="c,s,1")


def held(uniqueid: str, at: float, on: bool = True) -> LegHeld:
    return LegHeld(pbx="main", at=at, uniqueid=uniqueid, held=on)


def snapshot(*members: Member, at: float = 0.0, queue: str = "support") -> QueuesSnapshot:
    params = QueueParams(
        name=queue,
        strategy="",
        max_callers=0,
        service_level_s=0,
        weight=0,
        completed=0,
        abandoned=0,
        hold_s=0.0,
        talk_s=0.0,
    )
    return QueuesSnapshot(pbx="main", at=at, queues=(QueueSnapshot(params=params, members=members, callers=()),))


def run(state: PbxState, *stream: AnyEvent) -> list[Derived]:
    return [change for event in stream for change in apply(state, event)]


def told(changes: list[Derived]) -> list[str]:
    return [change.state for change in changes if isinstance(change, AgentChanged)]


def find(changes: list[Derived], kind: type) -> list[Any]:
    return [change for change in changes if isinstance(change, kind)]


def new_state(wrap_up_s: float = 0.0) -> PbxState:
    return PbxState("main", default_wrap_up_s=wrap_up_s)


# -- the state ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "state"),
    [
        (DeviceState.UNKNOWN, AgentState.AVAILABLE),
        (DeviceState.NOT_IN_USE, AgentState.AVAILABLE),
        (DeviceState.IN_USE, AgentState.ON_CALL),
        (DeviceState.BUSY, AgentState.ON_CALL),
        (DeviceState.INVALID, AgentState.UNAVAILABLE),
        (DeviceState.UNAVAILABLE, AgentState.UNAVAILABLE),
        (DeviceState.RINGING, AgentState.RINGING),
        (DeviceState.RING_IN_USE, AgentState.ON_CALL),
        (DeviceState.ON_HOLD, AgentState.ON_HOLD),
    ],
)
def test_all_nine_states_of_a_device(device: DeviceState, state: AgentState) -> None:
    pbx = new_state()
    run(pbx, changed(device))
    assert pbx.agents[A].state is state


def test_paused_in_one_queue_is_available_in_the_other() -> None:
    pbx = new_state()
    lunch = member(paused=True, pause_reason="Lunch", paused_at=5.0)
    run(pbx, changed(queue="one"), changed(queue="two"), changed(lunch, "one", 5.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE
    run(pbx, changed(msgspec.structs.replace(lunch, pause_reason="Training", paused_at=6.0), "two", 6.0))
    assert (pbx.agents[A].state, pbx.agents[A].reason) == (AgentState.PAUSED, "Training")


def test_two_devices_are_one_person_if_the_directory_says_so() -> None:
    pbx = new_state()
    people = (Person(id="ann", name="Ann", interfaces=(A, "PJSIP/home")),)
    run(pbx, DirectoryChanged(pbx="main", at=0.0, people=people))
    assert pbx.agents["ann"].state is AgentState.UNAVAILABLE
    run(pbx, changed(DeviceState.UNAVAILABLE), changed(DeviceState.NOT_IN_USE, "sales", interface="PJSIP/home"))
    assert {agent_id: agent.state for agent_id, agent in pbx.agents.items()} == {"ann": AgentState.AVAILABLE}
    run(pbx, started("x", "PJSIP/home-1"), state_of("x", "up"))
    assert (pbx.agents["ann"].state, pbx.agents["ann"].linkedid) == (AgentState.ON_CALL, "x")


def test_a_change_of_the_directory_moves_members_channels_and_conversations() -> None:
    pbx = new_state()
    run(pbx, changed(), started("c1", "PJSIP/c1-1"), started("m", "PJSIP/a-1", "up", "c1"), joined(), connected(1.0))
    people = (Person(id="ann", name="Ann", interfaces=(A,)),)
    changes = run(pbx, DirectoryChanged(pbx="main", at=2.0, people=people))
    assert list(pbx.agents) == ["ann"]
    assert pbx.agents["ann"].state is AgentState.ON_CALL
    assert {(c.agent, c.state) for c in find(changes, AgentChanged)} >= {("ann", "on_call"), (A, "")}
    assert [c.agent for c in find(run(pbx, completed(3.0)), TalkEnded)] == ["ann"]
    run(pbx, DirectoryChanged(pbx="main", at=4.0, people=()))
    assert list(pbx.agents) == [A]


def test_who_leaves_the_last_queue_is_gone_unless_in_the_directory() -> None:
    pbx = new_state()
    gone = MemberRemoved(pbx="main", at=5.0, queue="support", interface=A)
    changes = run(pbx, changed(), gone)
    assert told(changes) == ["available", "unavailable", ""]
    assert [(i.state, i.at) for i in find(changes, AgentInterval)] == [(AgentState.AVAILABLE, 5.0)]
    assert (pbx.agents, pbx.agent_of) == ({}, {})
    run(pbx, DirectoryChanged(pbx="main", at=6.0, people=(Person(id="ann", name="Ann", interfaces=(A,)),)))
    run(pbx, changed(at=7.0), msgspec.structs.replace(gone, at=8.0))
    assert pbx.agents["ann"].state is AgentState.UNAVAILABLE


def test_who_was_paused_before_we_came_has_been_so_since_then() -> None:
    pbx = new_state()
    changes = run(pbx, snapshot(member(paused=True, paused_at=40.0), at=100.0))
    assert (pbx.agents[A].state, pbx.agents[A].since) == (AgentState.PAUSED, 40.0)
    assert find(changes, AgentInterval) == []


def test_a_clock_that_is_set_back_makes_no_interval_and_does_not_stop_the_time() -> None:
    pbx = new_state()
    run(pbx, changed(at=10_000.0))
    changes = run(pbx, changed(DeviceState.IN_USE, at=10_000.0 - 2 * CLOCK_SET_BACK_S))
    assert find(changes, AgentInterval) == []
    assert pbx.agents[A].since == 10_000.0 - 2 * CLOCK_SET_BACK_S


def test_calls_without_a_queue_count_too() -> None:
    pbx = new_state()
    changes = run(
        pbx,
        *(changed(), started("x", "PJSIP/out-1", at=1.0), started("y", "PJSIP/a-2", "down", "x", 1.0)),
        *(state_of("y", "ringing", "x", 2.0), state_of("y", "up", "x", 3.0), held("y", 4.0), held("y", 5.0, False)),
        *(ended("y", 6.0), ended("x", 6.0)),
    )
    states = ["available", "ringing", "on_call", "on_hold", "on_call", "available"]
    assert told(changes) == states


def test_on_hold_means_that_nobody_is_spoken_to() -> None:
    pbx = new_state()
    run(pbx, changed(), started("x", "PJSIP/a-1", "up"), started("y", "PJSIP/a-2", "up"), held("x", 1.0))
    assert (pbx.agents[A].state, pbx.agents[A].linkedid) == (AgentState.ON_CALL, "y")
    run(pbx, ended("y", 2.0))
    assert (pbx.agents[A].state, pbx.agents[A].linkedid) == (AgentState.ON_HOLD, "x")
    run(pbx, ended("x", 3.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE


# -- ringing ------------------------------------------------------------------------------------------------------


def test_ringing_ends_with_the_callers_waiting() -> None:
    pbx = new_state()
    run(pbx, changed(), joined(), called(1.0))
    assert pbx.agents[A].state is AgentState.RINGING
    run(pbx, left(2.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE
    run(pbx, called(3.0))  # late
    assert pbx.agents[A].state is AgentState.AVAILABLE


def test_a_phone_that_rang_in_vain_is_counted_once() -> None:
    pbx = new_state()
    vain = of(AgentRangNoAnswer, 3.0, ring_s=2.0)
    changes = run(pbx, changed(), joined(), called(1.0), vain, vain)
    assert [(c.agent, c.ring_s) for c in find(changes, RangInVain)] == [(A, 2.0)]
    assert pbx.agents[A].state is AgentState.AVAILABLE
    assert len(find(run(pbx, called(4.0), of(AgentRangNoAnswer, 6.0, ring_s=2.0)), RangInVain)) == 1


def test_an_agent_who_hangs_up_during_the_announcement_is_not_held_against_anybody() -> None:
    pbx = new_state()
    changes = run(pbx, changed(), joined(), called(1.0), of(AgentDumped, 2.0))
    assert find(changes, RangInVain) == []
    assert pbx.agents[A].state is AgentState.AVAILABLE
    assert "c1" in pbx.where


# -- conversations ------------------------------------------------------------------------------------------------


def conversation(pbx: PbxState, at: float = 0.0, end: AnyEvent | None = None) -> list[Derived]:
    return run(
        pbx,
        *(changed(at=at), started("c1", "PJSIP/c1-1", "up", at=at), joined(at=at), called(at + 1)),
        *(started("m", "PJSIP/a-1", "up", "c1", at + 2), left(at + 2), connected(at + 2, leg="m")),
        *((end,) if end is not None else ()),
    )


def test_talk_ends_with_agent_complete_and_only_once() -> None:
    pbx = new_state()
    changes = conversation(pbx, end=completed(5.0)) + run(pbx, completed(5.0))
    assert [(c.talk_s, c.transferred) for c in find(changes, TalkEnded)] == [(3.0, False)]
    assert pbx.talks == {}


def test_talk_that_began_before_us_is_told_once() -> None:
    pbx = new_state()
    changes = run(pbx, changed(), completed(5.0), completed(5.0))
    assert [c.talk_s for c in find(changes, TalkEnded)] == [3.0]


def test_agent_complete_after_the_callers_channel_still_tells_the_reason() -> None:
    for uniqueid in ("c1", ""):  # without a channel it names none
        pbx = new_state()
        conversation(pbx)
        changes = run(pbx, ended("m", 5.0), ended("c1", 5.0))
        assert find(changes, TalkEnded) == find(changes, CallRecord) == []
        changes = run(pbx, completed(5.1, "transfer", uniqueid=uniqueid))
        assert [(c.at, c.transferred) for c in find(changes, TalkEnded)] == [(5.0, True)]
        assert [visit.talk_s for record in find(changes, CallRecord) for visit in record.visits] == [3.0]


def test_agent_complete_that_never_comes() -> None:
    pbx = new_state()
    conversation(pbx)
    run(pbx, ended("m", 5.0), ended("c1", 5.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE
    assert tick(pbx, 5.0 + LATE_S / 2) == []
    changes = tick(pbx, 5.0 + LATE_S)
    assert [c.at for c in find(changes, TalkEnded)] == [5.0]
    assert len(find(changes, CallRecord)) == 1
    assert find(run(pbx, completed(9.0)), TalkEnded) == []


def test_the_end_of_a_conversation_is_found_by_a_list_after_a_gap() -> None:
    pbx = new_state()
    conversation(pbx)
    run(pbx, LegsSnapshot(pbx="main", at=50.0, legs=()))
    assert [c.talk_s for c in find(tick(pbx, 60.0), TalkEnded)] == [48.0]


def test_who_joins_again_talks_no_more() -> None:
    pbx = new_state()
    conversation(pbx)
    changes = run(pbx, joined(queue="other", at=9.0))
    assert [c.talk_s for c in find(changes, TalkEnded)] == [7.0]


def test_hold_counts_within_the_talk_even_if_it_never_ends() -> None:
    pbx = new_state()
    conversation(pbx)
    changes = run(pbx, held("m", 3.0), held("m", 3.5), completed(5.0))
    assert [c.hold_s for c in find(changes, TalkEnded)] == [2.0]


def test_the_callers_own_hold_is_not_the_agents() -> None:
    pbx = new_state()
    conversation(pbx)
    changes = run(pbx, held("c1", 3.0), held("c1", 4.0, False), held("m", 4.0, False), completed(5.0))
    assert [c.hold_s for c in find(changes, TalkEnded)] == [0.0]
    assert pbx.agents[A].state is AgentState.ON_CALL  # its channel is up still


def test_a_transfer_is_one_whichever_event_tells_it_first() -> None:
    transfer = Transferred(pbx="main", at=4.0, attended=False, transferer="m", transferee="c1", to="200")
    for stream in ((transfer, completed(5.0)), (completed(5.0, "transfer"), transfer), (completed(5.0, "transfer"),)):
        pbx = new_state()
        conversation(pbx)
        assert [c.transferred for c in find(run(pbx, *stream), TalkEnded)] == [True]


# -- wrap-up ------------------------------------------------------------------------------------------------------


def idle(pbx: PbxState, at: float) -> list[Derived]:
    return run(pbx, completed(at), ended("m", at), ended("c1", at), changed(at=at))


def test_wrap_up_ends_when_it_is_over_however_late_that_is_noticed() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    changes = idle(pbx, 5.0)
    assert pbx.agents[A].state is AgentState.WRAP_UP
    assert find(changes, CallRecord) == []  # it will have the wrap-up
    assert tick(pbx, 14.9) == []
    changes = tick(pbx, 99.0)
    assert [(c.at, c.wrap_up_s) for c in find(changes, WrapUpEnded)] == [(15.0, 10.0)]
    assert (pbx.agents[A].state, pbx.agents[A].since) == (AgentState.AVAILABLE, 15.0)
    assert [visit.wrap_up_s for record in find(changes, CallRecord) for visit in record.visits] == [10.0]
    assert (pbx.ending, pbx.deadlines) == ({}, [])


def test_any_later_event_ends_wrap_up_too() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    idle(pbx, 5.0)
    assert [c.at for c in find(run(pbx, started("x", "PJSIP/else-1", at=20.0)), WrapUpEnded)] == [15.0]


def test_a_members_own_wrap_up_counts_before_the_queues() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    run(pbx, changed(member(wrapup_seconds=3)))
    idle_at = run(pbx, completed(5.0))
    assert find(idle_at, WrapUpEnded) == []
    assert pbx.agents[A].wrap_until == 8.0


@pytest.mark.parametrize(
    "event",
    [
        changed(member(paused=True, paused_at=7.0), at=7.0),
        changed(DeviceState.UNAVAILABLE, at=7.0),
        started("n", "PJSIP/a-9", "up", at=7.0),
    ],
)
def test_wrap_up_is_cut_short(event: AnyEvent) -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    idle(pbx, 5.0)
    assert [c.wrap_up_s for c in find(run(pbx, event), WrapUpEnded)] == [2.0]
    assert find(tick(pbx, 99.0), WrapUpEnded) == []


def test_a_phone_that_rings_does_not_end_wrap_up() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    idle(pbx, 5.0)
    changes = run(pbx, changed(DeviceState.RINGING, at=6.0), changed(at=7.0))
    assert told(changes) == ["ringing", "wrap_up"]
    assert find(changes, WrapUpEnded) == []


def test_a_call_before_our_time_is_wrapped_up_too() -> None:
    pbx = new_state(wrap_up_s=10.0)
    run(pbx, snapshot(member(last_call_at=95.0), at=100.0))
    assert pbx.agents[A].state is AgentState.WRAP_UP
    assert told(tick(pbx, 106.0)) == ["available"]
    assert pbx.agents[A].since == 105.0


def test_a_snapshot_changes_nothing_that_people_do() -> None:
    pbx = new_state(wrap_up_s=10.0)
    run(pbx, snapshot(member()))
    conversation(pbx)
    busy = run(pbx, snapshot(member(DeviceState.IN_USE, last_call_at=0.0), at=4.0))
    assert told(busy) == []
    idle(pbx, 5.0)
    assert told(run(pbx, snapshot(member(last_call_at=5.0), at=6.0))) == []
    assert pbx.agents[A].wrap_until == 15.0


def test_abandoned_callers_leave_no_ringing_phone_and_a_record() -> None:
    pbx = new_state()
    gave_up = CallerAbandoned(
        pbx="main",
        at=4.0,
        queue="support",
        uniqueid="c1",
        hold_s=4.0,
        position=1,
        original_position=1,
        location="c,s,1",
    )
    changes = run(pbx, changed(), started("c1", "PJSIP/c1-1"), joined(), called(1.0), gave_up, ended("c1", 4.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE
    (record,) = find(changes, CallRecord)
    assert [(v.outcome, v.wait_s, v.agent) for v in record.visits] == [("abandoned", 4.0, "")]
    assert [e.what for e in record.timeline] == ["joined", "rang", "left"]


# -- lines --------------------------------------------------------------------------------------------------------


def test_registrations() -> None:
    pbx = new_state()
    phone = {"pbx": "main", "endpoint": A}
    listed = (Endpoint(name=A, online=False), Endpoint(name="PJSIP/b", online=True))
    run(
        pbx,
        EndpointsSnapshot(pbx="main", at=1.0, endpoints=listed),
        ContactChanged(**phone, at=2.0, contact="sip:a@1", status="nonqualified"),
        ContactChanged(**phone, at=3.0, contact="sip:a@2", status="reachable"),
        ContactChanged(**phone, at=4.0, contact="sip:a@1", status="removed"),
    )
    assert (pbx.endpoints[A].online, pbx.endpoints[A].since) == (True, 2.0)
    assert {uri: each.status for uri, each in pbx.endpoints[A].contacts.items()} == {"sip:a@2": "reachable"}
    run(pbx, ContactChanged(**phone, at=5.0, contact="sip:a@2", status="unreachable"))
    assert (pbx.endpoints[A].online, pbx.endpoints[A].since) == (False, 5.0)
    run(pbx, PeerChanged(**phone, at=6.0, status="reachable"))
    assert pbx.endpoints[A].online
    run(pbx, EndpointsSnapshot(pbx="main", at=7.0, endpoints=listed[1:]))
    assert list(pbx.endpoints) == ["PJSIP/b"]
    run(pbx, TrunkChanged(pbx="main", at=8.0, trunk="PJSIP/t", status="rejected", cause="403"))
    assert pbx.trunks["PJSIP/t"].online is False


def test_what_the_pbx_says_of_itself() -> None:
    pbx = new_state()
    reload = PbxChanged(pbx="main", at=5.0, phase=PbxPhase.RELOADED, detail="app_queue.so")
    run(pbx, PbxChanged(pbx="main", at=4.0, phase=PbxPhase.BOOTED, booted_at=1.0), reload, reload)
    assert (pbx.booted_at, pbx.reloads) == (1.0, 1)


# -- what a snapshot, a gap or another call must not do ------------------------------------------------------------


def test_the_end_of_a_conversation_that_nobody_knows_is_none() -> None:
    pbx = new_state()
    conversation(pbx, end=completed(5.0))
    assert find(run(pbx, completed(5.0, uniqueid="")), TalkEnded) == []


def test_a_wrap_up_that_was_cut_short_does_not_come_back_with_a_snapshot() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    idle(pbx, 5.0)
    on_pause = member(paused=True, paused_at=6.0, last_call_at=5.0)
    run(pbx, changed(on_pause, at=6.0), snapshot(on_pause, at=7.0), changed(member(last_call_at=5.0), at=8.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE


def test_who_logged_off_while_talking_is_there_until_the_call_ends() -> None:
    pbx = new_state()
    conversation(pbx)
    run(pbx, MemberRemoved(pbx="main", at=3.0, queue="support", interface=A), snapshot(at=4.0))
    assert pbx.agents[A].state is AgentState.ON_CALL
    run(pbx, completed(5.0))
    assert pbx.agents[A].state is AgentState.ON_CALL  # by their channel
    run(pbx, ended("m", 6.0))
    assert pbx.agents == {}


def test_a_clock_that_is_set_back_by_hours_leaves_nobody_in_wrap_up() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx, at=10_000.0)
    idle(pbx, 10_005.0)
    run(pbx, changed(DeviceState.RINGING, at=100.0), changed(at=101.0))
    assert pbx.agents[A].state is AgentState.AVAILABLE


def test_a_ring_for_another_queue_is_none_of_this_stay() -> None:
    pbx = new_state()
    run(pbx, changed(), joined(), called(1.0, queue="other"))
    assert pbx.agents[A].state is AgentState.AVAILABLE


def test_a_call_that_was_listed_before_its_channel_has_its_visit() -> None:
    pbx = new_state()
    run(pbx, joined(), started("c1", "PJSIP/c1-1"))
    (record,) = find(run(pbx, left(3.0), ended("c1", 4.0)), CallRecord)
    assert [visit.queue for visit in record.visits] == ["support"]


def test_nobody_was_unavailable_before_the_first_snapshot() -> None:
    pbx = new_state()
    people = (Person(id="ann", name="Ann", interfaces=(A,)),)
    changes = run(pbx, DirectoryChanged(pbx="main", at=0.0, people=people), snapshot(member(), at=50.0))
    assert find(changes, AgentInterval) == []
    assert pbx.agents["ann"].since == 50.0


def test_the_next_conversation_ends_a_wrap_up_that_another_call_hid() -> None:
    pbx = new_state(wrap_up_s=10.0)
    conversation(pbx)
    run(pbx, started("own", "PJSIP/a-8", "up", at=4.0), completed(5.0), joined("c2", at=6.0))
    assert pbx.agents[A].state is AgentState.ON_CALL
    changes = run(pbx, left(8.0, "c2"), connected(8.0, uniqueid="c2"))
    assert [(c.at, c.wrap_up_s) for c in find(changes, WrapUpEnded)] == [(8.0, 3.0)]
