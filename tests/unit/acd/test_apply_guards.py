"""The rules that keep the state true when events are late, missing or doubled; each fails without its guard."""

from __future__ import annotations

import typing

import msgspec

from connector.acd import stays
from connector.acd.apply import HANDLERS, apply
from connector.acd.model import PbxState
from connector.acd.plain import encode, to_jsonable
from connector.events import (
    AgentCompleted,
    AgentConnected,
    AnyEvent,
    CallEnded,
    Caller,
    CallerAbandoned,
    CallerJoined,
    CallerLeft,
    CallOutcome,
    CallStarted,
    DeviceState,
    DialplanStep,
    EventsMissed,
    HangupRequested,
    Leg,
    LegChanged,
    LegEnded,
    LegsSnapshot,
    LegStarted,
    LinkChanged,
    LinkState,
    Member,
    MemberChanged,
    MemberRemoved,
    Outcome,
    QueueParams,
    QueueSnapshot,
    QueuesSnapshot,
    QueueStatus,
    QueueStatusSet,
)
from connector.records import CallRecord, Derived

HERE = "q,support,1"


def caller(uniqueid: str, position: int = 1, joined_at: float = 0.0) -> Caller:
    return Caller(uniqueid=uniqueid, channel=f"PJSIP/{uniqueid}", position=position, joined_at=joined_at)


def join(uniqueid: str, position: int = 1, at: float = 0.0, queue: str = "support") -> CallerJoined:
    who = caller(uniqueid, position, at)
    return CallerJoined(pbx="main", at=at, queue=queue, caller=who, linkedid=uniqueid, location=HERE)


def left(uniqueid: str, at: float = 1.0, location: str = HERE) -> CallerLeft:
    return CallerLeft(pbx="main", at=at, queue="support", uniqueid=uniqueid, location=location)


def abandon(uniqueid: str, at: float = 1.0) -> CallerAbandoned:
    return CallerAbandoned(
        pbx="main",
        at=at,
        queue="support",
        uniqueid=uniqueid,
        hold_s=1.0,
        position=1,
        original_position=1,
        location=HERE,
    )


def leg(uniqueid: str, linkedid: str = "") -> Leg:
    return Leg(
        uniqueid=uniqueid,
        linkedid=linkedid or uniqueid,
        channel=f"PJSIP/{uniqueid}",
        state="up",
        number="",
        name="",
        context="q",
        exten="support",
        started_at=0.0,
    )


def started(uniqueid: str, linkedid: str = "") -> LegStarted:
    return LegStarted(pbx="main", at=0.0, leg=leg(uniqueid, linkedid))


def ended(uniqueid: str, at: float = 9.0, location: str = HERE) -> LegEnded:
    return LegEnded(pbx="main", at=at, uniqueid=uniqueid, linkedid=uniqueid, cause=16, location=location)


def status(uniqueid: str, value: QueueStatus, at: float = 2.0) -> QueueStatusSet:
    return QueueStatusSet(pbx="main", at=at, uniqueid=uniqueid, status=value)


def member(interface: str = "PJSIP/a", device: DeviceState = DeviceState.NOT_IN_USE) -> Member:
    return Member(interface=interface, name=interface, device=device)


def queues(
    *callers: Caller, at: float = 0.0, members: tuple[Member, ...] = (), name: str = "support"
) -> QueuesSnapshot:
    params = QueueParams(
        name=name,
        strategy="ringall",
        max_callers=0,
        service_level_s=0,
        weight=0,
        completed=0,
        abandoned=0,
        hold_s=0,
        talk_s=0,
    )
    return QueuesSnapshot(
        pbx="main", at=at, queues=(QueueSnapshot(params=params, members=members, callers=tuple(callers)),)
    )


def legs(*uniqueids: str, at: float = 0.0) -> LegsSnapshot:
    return LegsSnapshot(pbx="main", at=at, legs=tuple(leg(u) for u in uniqueids))


def step(uniqueid: str, location: str) -> DialplanStep:
    return DialplanStep(pbx="main", at=3.0, uniqueid=uniqueid, location=location)


def link(state: LinkState, at: float, gap_s: float = 0.0) -> LinkChanged:
    return LinkChanged(pbx="main", at=at, link="ami", state=state, detail="", gap_s=gap_s)


def run(state: PbxState, *stream: AnyEvent) -> list[Derived]:
    return [change for event in stream for change in apply(state, event)]


def verdicts(changes: list[Derived]) -> list[tuple[str, Outcome]]:
    return [(c.uniqueid, c.outcome) for c in changes if isinstance(c, CallOutcome)]


def waiting(state: PbxState) -> list[tuple[str, int]]:
    return [(c.uniqueid, c.position) for c in state.queues["support"].callers()]


def test_every_event_has_a_handler() -> None:
    assert set(HANDLERS) == set(typing.get_args(AnyEvent))


# -- waiting ------------------------------------------------------------------------------------------------------


def test_those_behind_move_up() -> None:
    state = PbxState("main")
    run(state, join("a", 1), join("b", 2), join("c", 3), left("b"))
    assert waiting(state) == [("a", 1), ("c", 2)]


def test_a_priority_goes_before_others() -> None:
    state = PbxState("main")
    run(state, join("a", 1), join("b", 2), join("vip", 1))
    assert waiting(state) == [("vip", 1), ("a", 2), ("b", 3)]


def test_a_leave_of_an_unknown_caller_is_ignored() -> None:
    state = PbxState("main")
    assert run(state, left("x"), abandon("x"), left("x")) == []
    assert not state.leaving


def test_events_of_another_queue_do_not_touch_the_stay() -> None:
    state = PbxState("main")
    run(state, join("a"))
    other = CallerLeft(pbx="main", at=1.0, queue="sales", uniqueid="a")
    run(state, other)
    assert waiting(state) == [("a", 1)]


def test_a_join_elsewhere_ends_a_stay_whose_leave_was_missed() -> None:
    state = PbxState("main")
    changes = run(state, join("a"), join("a", queue="sales", at=5.0))
    assert verdicts(changes) == [("a", Outcome.UNKNOWN)]
    assert waiting(state) == []
    assert state.where == {"a": "sales"}


def test_the_end_of_the_channel_removes_a_ghost() -> None:
    state = PbxState("main")
    changes = run(state, join("a"), ended("a"))
    assert verdicts(changes) == [("a", Outcome.UNKNOWN)]
    assert waiting(state) == []


# -- outcomes -----------------------------------------------------------------------------------------------------


def test_connect_before_leave_counts_once() -> None:
    state = PbxState("main")
    connected = AgentConnected(
        pbx="main", at=3.0, queue="support", uniqueid="a", interface="PJSIP/x", member="X", hold_s=3, ring_s=1
    )
    changes = run(state, join("a"), connected, left("a"), connected, ended("a"))
    assert verdicts(changes) == [("a", Outcome.ANSWERED)]
    assert state.outcomes == {"support": {Outcome.ANSWERED: 1}}


def test_a_hangup_request_after_the_abandon_is_no_proof_of_a_hangup() -> None:
    state = PbxState("main")
    gone = HangupRequested(pbx="main", at=4.0, uniqueid="a")
    changes = run(state, started("a"), join("a"), abandon("a"), left("a"), gone, ended("a", location="q,else,2"))
    assert verdicts(changes) == [("a", Outcome.REDIRECTED)]


def test_a_redirect_back_into_the_queue() -> None:
    state = PbxState("main")
    changes = run(state, join("a"), abandon("a"), left("a"), join("a", at=2.0))
    assert verdicts(changes) == [("a", Outcome.REDIRECTED)]
    assert waiting(state) == [("a", 1)]


def test_leaving_without_a_sign_is_unknown_not_invented() -> None:
    state = PbxState("main")
    changes = run(state, join("a"), left("a"), ended("a"))
    assert verdicts(changes) == [("a", Outcome.UNKNOWN)]


def test_a_refusal_counts_once_and_again_when_tried_again() -> None:
    state = PbxState("main")
    full = status("a", QueueStatus.FULL)
    again = status("a", QueueStatus.FULL, at=3.0)
    assert len(run(state, started("a"), full, full, again)) == 1 + 2


def test_open_outcomes_are_bounded_in_time() -> None:
    state = PbxState("main")
    run(state, join("a"), left("a", at=1.0))
    changes = run(state, join("b", at=2.0 + stays.LEAVING_MAX_S), left("b", at=2.0 + stays.LEAVING_MAX_S))
    assert verdicts(changes) == [("a", Outcome.UNKNOWN)]
    assert list(state.leaving) == ["b"]


def test_open_outcomes_are_bounded_in_number() -> None:
    state = PbxState("main")
    for n in range(stays.LEAVING_MAX + 5):
        run(state, join(str(n)), left(str(n)))
    assert len(state.leaving) == stays.LEAVING_MAX
    assert state.outcomes["support"] == {Outcome.UNKNOWN: 5}


def test_a_hangup_of_the_far_end_is_told_at_once() -> None:
    state = PbxState("main")
    requested = HangupRequested(pbx="main", at=1.0, uniqueid="a")
    assert verdicts(run(state, started("a"), join("a"), requested, abandon("a"))) == [("a", Outcome.ABANDONED)]


def test_a_place_that_only_the_leave_tells() -> None:
    state = PbxState("main")
    assert verdicts(run(state, join("a"), abandon("a"), left("a", location="q,else,1"))) == [("a", Outcome.REDIRECTED)]


def test_a_wait_is_never_negative() -> None:
    state = PbxState("main")
    changes = run(state, join("a", at=10.0), abandon("a", at=9.0), status("a", QueueStatus.TIMEOUT))
    assert isinstance(changes[0], CallOutcome)
    assert changes[0].wait_s == 0.0


# -- snapshots ----------------------------------------------------------------------------------------------------


def test_a_snapshot_replaces_but_leaves_own_counters() -> None:
    state = PbxState("main")
    run(state, join("a"), abandon("a"), status("a", QueueStatus.TIMEOUT))
    run(state, queues(caller("b", 1, 4.0), caller("c", 2, 4.0), at=5.0, members=(member(),)))
    assert waiting(state) == [("b", 1), ("c", 2)]
    assert list(state.queues["support"].members) == ["PJSIP/a"]
    assert state.outcomes == {"support": {Outcome.TIMED_OUT: 1}}


def test_a_snapshot_keeps_the_exact_time_of_joining_and_ring_in_use() -> None:
    state = PbxState("main")
    known = msgspec.structs.replace(member(), ring_in_use=True)
    added = MemberChanged(pbx="main", at=0.0, queue="support", member=known, kind="added")
    run(state, join("a", at=10.75), added, queues(caller("a", 1, 10.0), at=12.0, members=(member(),)))
    assert next(state.queues["support"].callers()).joined_at == 10.75
    assert state.queues["support"].members["PJSIP/a"].ring_in_use is True


def test_a_snapshot_ahead_of_the_leave_loses_no_outcome() -> None:
    state = PbxState("main")
    run(state, queues(), join("a"), queues(at=1.5))
    assert verdicts(run(state, abandon("a"), left("a"), status("a", QueueStatus.TIMEOUT))) == [("a", Outcome.TIMED_OUT)]
    run(state, queues(at=3.0))
    assert state.drift == {}


def test_a_snapshot_ahead_of_an_exit_by_key() -> None:
    state = PbxState("main")
    run(state, queues(), join("a"), queues(at=1.5))
    changes = run(state, left("a", at=1.0), step("a", "keys,1,1"))
    assert verdicts(changes) == [("a", Outcome.KEY_EXIT)]
    assert changes[0].at == 1.0


def test_a_snapshot_ahead_of_a_redirect() -> None:
    """22 tells the new place in a Newexten of Queue() before the abandon."""
    state = PbxState("main")
    run(state, queues(), join("a"), queues(at=1.5))
    moved = msgspec.structs.replace(abandon("a"), location="q,else,1")
    assert verdicts(run(state, step("a", "q,else,1"), moved)) == [("a", Outcome.REDIRECTED)]


def in_the_next_queue_before_the_exit_is_told() -> PbxState:
    state = PbxState("main")
    run(state, queues(), legs("1"), started("1"), join("1"), abandon("1"), left("1"))
    both = (*queues().queues, *queues(caller("1"), name="next").queues)
    run(state, QueuesSnapshot(pbx="main", at=2.0, queues=both))
    return state


def test_a_snapshot_ahead_of_the_way_into_the_next_queue() -> None:
    state = in_the_next_queue_before_the_exit_is_told()
    changes = run(state, status("1", QueueStatus.TIMEOUT), join("1", at=3.0, queue="next"))
    assert verdicts(changes) == [("1", Outcome.TIMED_OUT)]
    assert state.where == {"1": "next"}


def test_an_exit_that_is_never_told_is_not_forgotten_in_the_next_queue() -> None:
    for last in (join("1", at=3.0, queue="next"), ended("1")):
        state = in_the_next_queue_before_the_exit_is_told()
        run(state, last)
        assert sum(state.outcomes["support"].values()) == 1


def test_who_vanished_without_a_word_did_not_press_a_key() -> None:
    state = PbxState("main")
    run(state, queues(), legs("a"), join("a"), link(LinkState.DOWN, 1.0), queues(at=5.0), legs("a", at=5.0))
    assert verdicts(run(state, ended("a", location="q,else,3"))) == [("a", Outcome.UNKNOWN)]


def test_a_snapshot_ends_what_was_open_for_too_long() -> None:
    state = PbxState("main")
    run(state, join("a"), left("a", at=1.0))
    assert verdicts(run(state, queues(at=2.0 + stays.LEAVING_MAX_S))) == [("a", Outcome.UNKNOWN)]


def test_a_snapshot_ahead_of_a_removal_and_of_a_leg_is_no_drift() -> None:
    state = PbxState("main")
    run(state, queues(members=(member(),)), legs(), queues(at=1.0), legs("a", at=1.0))
    gone = MemberRemoved(pbx="main", at=1.0, queue="support", interface="PJSIP/a")
    run(state, gone, started("a"), queues(at=2.0), legs("a", at=2.0))
    assert state.drift == {}


def test_a_gap_makes_suspects_worthless() -> None:
    state = PbxState("main")
    run(state, queues(), legs(), queues(caller("a"), at=1.0), legs("a", at=1.0), link(LinkState.DOWN, 2.0))
    run(state, queues(at=3.0), legs(at=3.0))
    assert state.drift == {}


def test_a_snapshot_ahead_of_the_join_is_no_drift() -> None:
    state = PbxState("main")
    run(state, queues(), queues(caller("a"), at=1.0), join("a"), queues(caller("a"), at=2.0))
    assert waiting(state) == [("a", 1)]
    assert state.drift == {}


def test_what_no_event_explains_is_drift() -> None:
    state = PbxState("main")
    busy = member(device=DeviceState.BUSY)
    new = msgspec.structs.replace(member("PJSIP/new"), membership="dynamic")
    gone = msgspec.structs.replace(member("PJSIP/gone"), membership="dynamic")
    run(state, queues(members=(member(), gone)), join("ghost"))
    run(state, queues(caller("missed"), at=1.0, members=(busy, new)))
    assert state.drift == {}
    run(state, queues(caller("missed"), at=2.0, members=(busy, new)))
    assert state.drift == {
        "caller_ghost": 1,
        "caller_missing": 1,
        "member_changed": 1,
        "member_ghost": 1,
        "member_missing": 1,
    }
    assert state.unannounced == {}


def test_a_penalty_that_no_event_explains_is_drift_of_a_dynamic_member() -> None:
    for membership, drift in (("dynamic", {"member_changed": 1}), ("static", {}), ("realtime", {})):
        state = PbxState("main")
        before = msgspec.structs.replace(member(), membership=membership)
        after = msgspec.structs.replace(before, penalty=7)
        run(state, *(queues(at=at, members=(m,)) for at, m in ((0.0, before), (1.0, after), (2.0, after))))
        assert state.drift == drift
        assert state.unannounced == ({} if drift else {"member_penalty": 1})


def test_what_has_no_event_is_no_drift() -> None:
    state = PbxState("main")
    run(state, queues(caller("a", 1), caller("b", 2)), queues(caller("b", 1), caller("a", 2), at=1.0))
    assert waiting(state) == [("b", 1), ("a", 2)]
    run(state, queues(at=2.0, members=(member("PJSIP/new"),)), queues(at=3.0), queues(at=4.0, name="sales"))
    assert list(state.queues) == ["sales"]
    assert state.unannounced == {
        "caller_order": 1,
        "member_added": 1,
        "member_removed": 1,
        "queue_added": 1,
        "queue_removed": 1,
    }
    assert "member_ghost" not in state.drift


def test_the_first_snapshot_after_a_gap_is_no_drift() -> None:
    for missed in (link(LinkState.DOWN, 1.0), EventsMissed(pbx="main", at=1.0, dropped=7)):
        state = PbxState("main")
        run(state, queues(), legs("a"), join("a"), missed)
        assert not state.queues_current
        assert not state.legs_current
        run(state, queues(caller("b")), legs("b"), queues(caller("b")), legs("b"))
        assert state.drift == {}
        assert state.queues_current
        assert state.legs_current


def test_who_vanished_in_a_gap_is_unknown() -> None:
    for lists in ((queues(at=60.0), legs(at=60.0)), (legs(at=60.0), queues(at=60.0))):
        state = PbxState("main")
        run(state, link(LinkState.UP, 0.0), queues(), legs("a"), join("a"), link(LinkState.DOWN, 1.0))
        assert verdicts(run(state, link(LinkState.UP, 60.0, gap_s=59.0), *lists)) == [("a", Outcome.UNKNOWN)]
        assert state.links["ami"].gaps == 1
        assert state.links["ami"].gap_s == 59.0


def test_who_was_answered_in_a_gap_is_told_by_the_end_of_the_talk() -> None:
    state = PbxState("main")
    run(state, queues(), legs("a"), join("a"), link(LinkState.DOWN, 1.0))
    run(state, link(LinkState.UP, 60.0, gap_s=59.0), queues(at=60.0), legs("a", at=60.0))
    completed = AgentCompleted(
        pbx="main",
        at=90.0,
        queue="support",
        uniqueid="a",
        interface="PJSIP/x",
        member="X",
        hold_s=7.0,
        talk_s=50.0,
        reason="agent",
    )
    changes = run(state, completed)
    assert verdicts(changes) == [("a", Outcome.ANSWERED)]
    assert changes[0].at == 7.0


def test_who_left_and_joined_again_in_a_gap() -> None:
    state = PbxState("main")
    run(state, queues(), join("a", at=1.0), link(LinkState.DOWN, 2.0))
    changes = run(state, queues(caller("a", 1, 50.0), at=60.0))
    assert verdicts(changes) == [("a", Outcome.UNKNOWN)]
    assert next(state.queues["support"].callers()).joined_at == 50.0


def test_a_member_is_in_a_call_from_the_connect_to_its_end_whatever_asterisks_late_flag_says() -> None:
    state = PbxState("main")

    def changed(device: DeviceState, calls_taken: int) -> MemberChanged:
        one = msgspec.structs.replace(member(device=device), calls_taken=calls_taken)
        return MemberChanged(pbx="main", at=0.0, queue="support", member=one, kind="status")

    def in_call() -> bool:
        return state.queues["support"].members["PJSIP/a"].in_call

    connected = AgentConnected(
        pbx="main", at=1.0, queue="support", uniqueid="1", interface="PJSIP/a", member="a", hold_s=1.0, ring_s=1.0
    )
    completed = AgentCompleted(
        pbx="main",
        at=2.0,
        queue="support",
        uniqueid="1",
        interface="PJSIP/a",
        member="a",
        hold_s=1.0,
        talk_s=1.0,
        reason="agent",
    )
    apply(state, connected)  # of a queue and a member that are not known yet
    run(state, changed(DeviceState.IN_USE, 0), connected)
    assert in_call()
    run(state, changed(DeviceState.IN_USE, 0))
    assert in_call()
    run(state, completed)
    assert not in_call()
    # Where the end is not told, the count of calls tells it.
    run(state, connected, changed(DeviceState.NOT_IN_USE, 1))
    assert not in_call()


def test_a_removed_member_is_gone() -> None:
    state = PbxState("main")
    run(state, queues(members=(member(),)))
    gone = MemberRemoved(pbx="main", at=1.0, queue="support", interface="PJSIP/a")
    run(state, gone, gone)
    assert state.queues["support"].members == {}


def test_a_link_that_stays_down_is_one_gap() -> None:
    state = PbxState("main")
    run(state, link(LinkState.UP, 0.0), link(LinkState.DOWN, 1.0), link(LinkState.DOWN, 5.0))
    assert state.links["ami"].since == 1.0
    run(state, link(LinkState.UP, 9.0, gap_s=8.0), link(LinkState.UP, 9.0, gap_s=8.0))
    assert (state.links["ami"].gaps, state.links["ami"].gap_s, state.links["ami"].since) == (1, 8.0, 9.0)


# -- calls --------------------------------------------------------------------------------------------------------


def test_a_call_lives_from_its_first_leg_to_its_last() -> None:
    state = PbxState("main")
    changes = run(state, started("a"), started("b", "a"), started("b", "a"), ended("a"), ended("a"))
    assert [type(c) for c in changes] == [CallStarted]
    over, record = run(state, ended("b"))
    assert over == CallEnded(pbx="main", at=9.0, linkedid="a")
    assert isinstance(record, CallRecord)
    assert (record.linkedid, record.at, record.legs, record.visits) == ("a", 9.0, 2, ())
    assert (state.calls, state.legs) == ({}, {})


def test_a_bridge_merges_calls() -> None:
    state = PbxState("main")
    run(state, started("a"), started("b"))
    changes = run(state, LegChanged(pbx="main", at=2.0, uniqueid="b", linkedid="a", state="up"))
    assert changes == [CallEnded(pbx="main", at=2.0, linkedid="b", merged_into="a")]
    assert list(state.calls["a"].legs) == ["a", "b"]
    run(state, LegChanged(pbx="main", at=2.0, uniqueid="nobody", linkedid="a", state="up"))
    assert list(state.calls["a"].legs) == ["a", "b"]


def test_a_late_start_does_not_set_a_listed_leg_back() -> None:
    state = PbxState("main")
    run(state, legs("a"), HangupRequested(pbx="main", at=1.0, uniqueid="a"))
    late = LegStarted(pbx="main", at=0.0, leg=msgspec.structs.replace(leg("a"), state="down"))
    run(state, late)
    assert state.legs["a"].leg.state == "up"
    assert state.legs["a"].hangup_requested


def test_a_list_keeps_the_exact_start_of_a_leg() -> None:
    state = PbxState("main")
    exact = LegStarted(pbx="main", at=0.4, leg=msgspec.structs.replace(leg("a"), started_at=0.4))
    run(state, exact, legs("a", at=5.0))
    assert state.legs["a"].leg.started_at == 0.4


def test_legs_that_no_event_explains_are_drift() -> None:
    state = PbxState("main")
    run(state, legs("a", "b"), legs("b", "c", at=1.0))
    assert (list(state.legs), state.drift) == (["b", "c"], {})
    run(state, ended("a"), legs("b", "c", at=2.0))
    assert state.drift == {"leg_missing": 1}


# -- what others read -----------------------------------------------------------------------------------------------


def test_waits_are_told_by_the_given_time() -> None:
    state = PbxState("main")
    run(state, join("a", at=100.0), join("b", 2, at=130.0))
    view = to_jsonable(state, 160.5)["queues"]["support"]
    assert [c["wait_s"] for c in view["callers"]] == [60.5, 30.5]
    assert view["longest_wait_s"] == 60.5
    assert to_jsonable(state, 90.0)["queues"]["support"]["longest_wait_s"] == 0.0


def test_encoding_sorts_what_has_no_order() -> None:
    one, other = PbxState("main"), PbxState("main")
    a = MemberChanged(pbx="main", at=0.0, queue="x", member=member("PJSIP/1"), kind="added")
    b = MemberChanged(pbx="main", at=0.0, queue="x", member=member("PJSIP/2"), kind="added")
    elsewhere = MemberChanged(pbx="main", at=0.0, queue="y", member=member("PJSIP/2"), kind="added")
    run(one, a, b, elsewhere)
    run(other, elsewhere, b, a)
    assert encode(one, 0.0) == encode(other, 0.0)
