"""A QueuesSnapshot replaces queues, members and callers, and shows where own state was wrong.

The first snapshot after a start or gap only corrects. Later ones are also a check: what differs is held as a suspect,
for the event that explains it may be under way (seen: 5 joins and 9 leaves in 230 snapshots under load). What no event
has explained by the next snapshot is drift and counted by kind. Own counters are never touched.

Some changes have no event at all, so missing them is no fault of ours: a reload of queues.conf adds and removes queues
and their static members in silence (16.28 and 22.10), and QueueChangePriorityCaller changes the order. These are
counted apart, as unannounced.
"""

from __future__ import annotations

import msgspec

from connector.acd import outcome as rules
from connector.acd.agents import rebuild
from connector.acd.model import PbxState, Queue, Stay
from connector.acd.stays import decide, expire, leave
from connector.acd.visits import new_stay
from connector.events import Caller, Member, Outcome, QueueSnapshot, QueuesSnapshot
from connector.records import Derived

SAME_STAY_S = 2.0
"""QueueEntry tells the wait in whole seconds; a join later than that is another stay."""


def drifted(state: PbxState, kind: str) -> None:
    """Counts one proof that own state was wrong."""
    state.drift[kind] = state.drift.get(kind, 0) + 1


def unannounced(state: PbxState, kind: str) -> None:
    """Counts one change that no event could have told."""
    state.unannounced[kind] = state.unannounced.get(kind, 0) + 1


def settle(state: PbxState, prefix: str, *, count: bool) -> None:
    """Ends the suspects of the last snapshot of that kind: those left are drift, unless a gap makes them worthless."""
    for suspect in [s for s in state.suspects if s[0].startswith(prefix)]:
        state.suspects.discard(suspect)
        if count:
            drifted(state, suspect[0])


def queues_snapshot(state: PbxState, event: QueuesSnapshot, changes: list[Derived]) -> None:
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
    rebuild(state, event.at, changes)
    state.queues_current = True
    if not check and state.legs_current:
        forget_lost(state, changes)
    expire(state, event.at, changes)


def forget_lost(state: PbxState, changes: list[Derived]) -> None:
    """After a gap: whose channel is gone too will never be heard of again."""
    for stay in [s for s in state.leaving.values() if s.caller.uniqueid not in state.legs]:
        decide(state, stay, Outcome.UNKNOWN, changes)


def _drop_callers(state: PbxState, queue: Queue, keep: set[str], at: float, changes: list[Derived]) -> None:
    for stay in [s for uniqueid, s in queue.waiting.items() if uniqueid not in keep]:
        leave(state, stay, at, changes)
        stay.lost = True


def _place(state: PbxState, queue: Queue, caller: Caller, at: float, changes: list[Derived]) -> Stay:
    """The stay of a listed caller: the known one with its exact time of joining, or a new one."""
    stay = queue.waiting.get(caller.uniqueid)
    # Left and joined in a gap; without one, the PBX's clock was set.
    if stay is not None and not state.queues_current and caller.joined_at > stay.caller.joined_at + SAME_STAY_S:
        leave(state, stay, at, changes)
        stay.lost = True
        stay = None
    open_exit = state.leaving.get(caller.uniqueid)
    # Without a gap what tells the exit is on its way, before the join that this snapshot is ahead of.
    if open_exit is not None and not state.queues_current:
        decide(state, open_exit, rules.at_rejoin(open_exit), changes)
    if stay is None:
        return new_stay(state, queue.params.name, caller)
    stay.caller = msgspec.structs.replace(caller, joined_at=stay.caller.joined_at)
    return stay


def _member(known: Member | None, listed: Member) -> Member:
    """A listed member; QueueMember does not tell `ring_in_use`, events do."""
    listed = same_pause(known, listed)
    if known is None or listed.ring_in_use is not None:
        return listed
    return msgspec.structs.replace(listed, ring_in_use=known.ring_in_use)


def same_pause(known: Member | None, told: Member) -> Member:
    """The member with the reason of its pause, which a reload of a changed queues.conf makes Asterisk forget.

    Seen on 16.28 and 22.10: Paused and LastPause stay, PausedReason is empty from then on, in lists and in every event
    but the QueueMemberPause of another pause.
    """
    if known is None or told.pause_reason or not (known.paused and told.paused and known.paused_at == told.paused_at):
        return told
    return msgspec.structs.replace(told, pause_reason=known.pause_reason)


def _compare(state: PbxState, listed: dict[str, QueueSnapshot]) -> None:
    suspects = state.suspects
    for _ in listed.keys() - state.queues.keys():
        unannounced(state, "queue_added")
    for _ in state.queues.keys() - listed.keys():
        unannounced(state, "queue_removed")
    for name in sorted(listed.keys() & state.queues.keys()):
        queue, snapshot = state.queues[name], listed[name]
        theirs = [c.uniqueid for c in snapshot.callers]
        suspects.update(("caller_missing", name, u) for u in theirs if u not in queue.waiting)
        suspects.update(("caller_ghost", name, u) for u in queue.waiting.keys() - set(theirs))
        if [u for u in queue.waiting if u in set(theirs)] != [u for u in theirs if u in queue.waiting]:
            unannounced(state, "caller_order")
        _compare_members(state, name, queue.members, {m.interface: m for m in snapshot.members})


def _compare_members(state: PbxState, queue: str, known: dict[str, Member], listed: dict[str, Member]) -> None:
    for interface in known.keys() | listed.keys():
        ours, seen = known.get(interface), listed.get(interface)
        if ours is None or seen is None:
            one = ours or seen
            if one is not None and one.membership != "dynamic":
                unannounced(state, "member_added" if ours is None else "member_removed")
            else:
                state.suspects.add(("member_missing" if ours is None else "member_ghost", queue, interface))
        elif (ours.device, ours.paused) != (seen.device, seen.paused):
            state.suspects.add(("member_changed", queue, interface))
        elif ours.penalty != seen.penalty:
            if seen.membership != "dynamic":
                unannounced(state, "member_penalty")
            else:
                state.suspects.add(("member_changed", queue, interface))
