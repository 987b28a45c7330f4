"""A QueuesSnapshot replaces queues, members and callers, and shows where own state was wrong.

The first snapshot after a start or gap only corrects. Later ones are also a check: what differs is held as a suspect,
for the event that explains it may be under way (seen: 5 joins and 9 leaves in 230 snapshots under load). What no event
has explained by the next snapshot is drift and counted by kind. Own counters are never touched.
"""

from __future__ import annotations

import msgspec

from connector.acd import outcome as rules
from connector.acd.model import PbxState, Queue, Stay
from connector.acd.stays import decide, expire, leave
from connector.events import Caller, Change, Member, Outcome, QueueSnapshot, QueuesSnapshot

SAME_STAY_S = 2.0
"""QueueEntry tells the wait in whole seconds; a join later than that is another stay."""


def drifted(state: PbxState, kind: str) -> None:
    """Counts one proof that own state was wrong."""
    state.drift[kind] = state.drift.get(kind, 0) + 1


def settle(state: PbxState, prefix: str, *, count: bool) -> None:
    """Ends the suspects of the last snapshot of that kind: those left are drift, unless a gap makes them worthless."""
    for suspect in [s for s in state.suspects if s[0].startswith(prefix)]:
        state.suspects.discard(suspect)
        if count:
            drifted(state, suspect[0])


def queues_snapshot(state: PbxState, event: QueuesSnapshot, changes: list[Change]) -> None:
    """Applies all queues as QueueStatus listed them."""
    check = state.queues_current
    for prefix in ("caller_", "member_"):
        settle(state, prefix, count=check)
    listed = {queue.params.name: queue for queue in event.queues}
    if check:
        _compare(state, listed)
    for name in [name for name in state.queues if name not in listed]:
        _drop_callers(state, state.queues[name], set(), event.at, changes)
        del state.queues[name]
    # All who left are moved before any is placed: a caller may have gone from one queue to another.
    for name, snapshot in listed.items():
        queue = state.queue(name)
        queue.params = snapshot.params
        _drop_callers(state, queue, {c.uniqueid for c in snapshot.callers}, event.at, changes)
    for name, snapshot in listed.items():
        queue = state.queues[name]
        queue.members = {m.interface: _member(queue.members.get(m.interface), m) for m in snapshot.members}
        queue.waiting = {c.uniqueid: _place(state, queue, c, event.at, changes) for c in snapshot.callers}
        for uniqueid in queue.waiting:
            state.where[uniqueid] = name
    state.queues_current = True
    if not check and state.legs_current:
        forget_lost(state, changes)
    expire(state, event.at, changes)


def forget_lost(state: PbxState, changes: list[Change]) -> None:
    """After a gap: whose channel is gone too will never be heard of again."""
    for stay in [s for s in state.leaving.values() if s.caller.uniqueid not in state.legs]:
        decide(state, stay, Outcome.UNKNOWN, changes)


def _drop_callers(state: PbxState, queue: Queue, keep: set[str], at: float, changes: list[Change]) -> None:
    for stay in [s for uniqueid, s in queue.waiting.items() if uniqueid not in keep]:
        leave(state, stay, at, changes)
        stay.lost = True


def _place(state: PbxState, queue: Queue, caller: Caller, at: float, changes: list[Change]) -> Stay:
    """The stay of a listed caller: the known one with its exact time of joining, or a new one."""
    stay = queue.waiting.get(caller.uniqueid)
    if stay is not None and caller.joined_at > stay.caller.joined_at + SAME_STAY_S:  # left and joined in a gap
        leave(state, stay, at, changes)
        stay.lost = True
        stay = None
    open_exit = state.leaving.get(caller.uniqueid)
    # Without a gap, what tells the exit from another queue is on its way, before the join that this list is ahead of.
    on_its_way = state.queues_current and open_exit is not None and open_exit.queue != queue.params.name
    if open_exit is not None and not on_its_way:
        decide(state, open_exit, rules.at_rejoin(open_exit), changes)
    if stay is None:
        return Stay(queue.params.name, caller)
    stay.caller = msgspec.structs.replace(caller, joined_at=stay.caller.joined_at)
    return stay


def _member(known: Member | None, listed: Member) -> Member:
    """A listed member; QueueMember does not tell `ring_in_use`, events do."""
    if known is None or listed.ring_in_use is not None:
        return listed
    return msgspec.structs.replace(listed, ring_in_use=known.ring_in_use)


def _compare(state: PbxState, listed: dict[str, QueueSnapshot]) -> None:
    suspects = state.suspects
    # Nothing announces a queue that a reload made or took away, so these two are certain at once.
    for _ in listed.keys() - state.queues.keys():
        drifted(state, "queue_missing")
    for _ in state.queues.keys() - listed.keys():
        drifted(state, "queue_ghost")
    for name in sorted(listed.keys() & state.queues.keys()):
        queue, snapshot = state.queues[name], listed[name]
        theirs = [c.uniqueid for c in snapshot.callers]
        suspects.update(("caller_missing", name, u) for u in theirs if u not in queue.waiting)
        suspects.update(("caller_ghost", name, u) for u in queue.waiting.keys() - set(theirs))
        if [u for u in queue.waiting if u in set(theirs)] != [u for u in theirs if u in queue.waiting]:
            drifted(state, "caller_order")  # QueueChangePriorityCaller has no event
        members = {m.interface: m for m in snapshot.members}
        suspects.update(("member_missing", name, i) for i in members.keys() - queue.members.keys())
        suspects.update(("member_ghost", name, i) for i in queue.members.keys() - members.keys())
        for interface in members.keys() & queue.members.keys():
            ours, seen = queue.members[interface], members[interface]
            if (ours.device, ours.paused, ours.penalty) != (seen.device, seen.paused, seen.penalty):
                suspects.add(("member_changed", name, interface))
