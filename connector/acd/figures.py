"""What a contact centre is measured by, per queue and per person: counted from what the live state derives.

The live state tells each thing once, however often Asterisk's events come; so do these counts, and a snapshot, a
reload or a restart of Asterisk changes none of them. History, and queue_log after a gap, add what was not heard and
nothing twice. Formulas and whose they are: docs/figures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from connector.acd.buckets import EVER, Day, Numbers, mean, share
from connector.acd.ledger import Counted, Ledger
from connector.acd.model import PbxState, Queue
from connector.acd.own_figures import asterisk_figures
from connector.acd.people_tallies import PeopleTallies
from connector.acd.tallies import (
    A_ANSWERED,
    A_RANG_IN_VAIN,
    A_RING_IN_VAIN_S,
    A_TALK_S,
    A_TALKS,
    A_TRANSFERS,
    A_WRAP_UP_S,
    ABANDON_WAIT_MAX_S,
    ABANDON_WAIT_S,
    ANSWER_WAIT_MAX_S,
    ANSWER_WAIT_S,
    IN_TARGET,
    OUTCOME_FIELD as _OUTCOME,
    OUTCOMES,
    OUTSIDE_HOURS,
    RANG_IN_VAIN,
    SHORT_ABANDONED,
    SL_ABANDONED,
    SL_ANSWERED,
    STATE_FIELD as _STATE,
    STATES,
    TALK_S,
    TALKS,
    TRANSFERS,
    WRAP_UP_S,
    QueueTally,
)
from connector.config_people import QueueSettings
from connector.events import CallOutcome, Outcome, RangInVain, TalkEnded, WrapUpEnded
from connector.records import AgentInterval, AgentState, CallRecord, QueueVisit
from connector.store.merge import talk_is_better

BUSY = (AgentState.ON_CALL, AgentState.ON_HOLD, AgentState.WRAP_UP)
READY = (AgentState.AVAILABLE, AgentState.RINGING)

QUEUES_MAX = 10_000
"""Tallies kept, of queues that are gone too; beyond it the oldest goes."""

RECENT_S = 3600.0
"""The longest sliding window: older history counts for its day alone."""


class Figures:
    """Counts of one PBX.

    Args:
        pbx: Its name in the settings; of other PBXs nothing is taken.
        settings: What counts for a queue, by its name.
        default: What counts for the day of people.
    """

    def __init__(
        self, pbx: str, settings: Callable[[str], QueueSettings] | None = None, default: QueueSettings | None = None
    ) -> None:
        self.pbx = pbx
        self._default = default or QueueSettings()
        self._settings = settings or (lambda _: self._default)
        self.queues: dict[str, QueueTally] = {}
        self.people = PeopleTallies(Day(self._default))
        self._ledger = Ledger()
        self._told_until: dict[str, float] = {}
        """Until when history has told what a person did."""

    def take(self, item: object) -> None:
        """Counts what the live state derived; everything else on the bus is passed over."""
        handler = COUNTED.get(type(item))
        if handler is not None and item.pbx == self.pbx:  # type: ignore[attr-defined]
            handler(self, item)

    def recall(self, record: CallRecord | AgentInterval, now: float, over: bool = True) -> None:
        """Counts from history, or queue_log, what is not counted yet; the same again changes nothing.

        Args:
            record: Of a person's states the earlier first.
            now: Seconds since the epoch.
            over: False for a call as far as it has come.
        """
        if record.pbx != self.pbx:
            return
        recent = now - RECENT_S
        if isinstance(record, AgentInterval):
            self._interval(record, recent)
            self._told_until[record.agent] = max(record.at, self._told_until.get(record.agent, EVER))
            return
        for visit, counted in self._ledger.attempts(record):
            self._recall_outcome(visit, counted, recent)
            if visit.outcome is Outcome.ANSWERED and (over or visit.talk_s > 0):
                self._recall_talk(visit, counted, recent)
        for queue, agent, at, ring_s in self._ledger.rings(record):
            self._rang(queue, agent, at, ring_s, recent)

    def _recall_outcome(self, visit: QueueVisit, counted: Counted, recent: float) -> None:
        if counted.outcome is not None and (counted.outcome is not Outcome.UNKNOWN or visit.outcome is Outcome.UNKNOWN):
            return
        queue = self.queue(visit.queue)
        if counted.outcome is not None:
            queue.take_back_unknown(counted.ended_at, counted.joined_at, recent)
        counted.outcome, counted.ended_at = visit.outcome, visit.ended_at
        queue.outcome(visit.outcome, visit.ended_at, visit.wait_s, recent)
        if visit.agent and visit.outcome is Outcome.ANSWERED:
            for tally in self.people.both(visit.agent, visit.queue):
                tally.add(visit.ended_at, A_ANSWERED, recent=recent)

    def _recall_talk(self, visit: QueueVisit, counted: Counted, recent: float) -> None:
        ended_at = visit.ended_at + visit.talk_s
        if counted.talk_s is None:
            counted.talk_s, counted.talk_read = visit.talk_s, True
            self._talk(visit.queue, visit.agent, ended_at, visit.talk_s, visit.hold_s, visit.transferred, recent)
        elif counted.talk_s is not None and talk_is_better(visit.talk_s, counted.talk_s, recovered=True):
            less = visit.talk_s - counted.talk_s
            counted.talk_s = visit.talk_s
            self.queue(visit.queue).tally.add(ended_at, TALK_S, less, recent)
            for tally in self.people.both(visit.agent, visit.queue):
                tally.add(ended_at, A_TALK_S, less, recent)
        if visit.wrap_up_s > 0 and not counted.wrapped:
            counted.wrapped = counted.wrap_up_read = True
            self._wrap_up(visit.queue, visit.agent, ended_at + visit.wrap_up_s, visit.wrap_up_s, recent)

    def queue(self, name: str) -> QueueTally:
        """The counts of a queue."""
        tally = self.queues.get(name)
        if tally is None:
            if len(self.queues) >= QUEUES_MAX:
                del self.queues[next(iter(self.queues))]
            tally = self.queues[name] = QueueTally(self._settings(name))
        return tally

    # -- what is counted --------------------------------------------------------------------------------------------

    def _outcome(self, event: CallOutcome) -> None:
        counted = self._ledger.heard(event.uniqueid, event.queue, event.at - event.wait_s)
        if counted.outcome is not None:
            return  # queue_log was faster
        counted.outcome, counted.ended_at = event.outcome, event.at
        self.queue(event.queue).outcome(event.outcome, event.at, event.wait_s)
        if event.agent and event.outcome is Outcome.ANSWERED:
            for tally in self.people.both(event.agent, event.queue):
                tally.add(event.at, A_ANSWERED)

    def _talk_ended(self, event: TalkEnded) -> None:
        counted = self._ledger.talked(event.uniqueid, event.queue, event.at - event.talk_s)
        if counted.talk_read:
            counted.talk_read = False
            return
        counted.talk_s = event.talk_s
        self._talk(event.queue, event.agent, event.at, event.talk_s, event.hold_s, event.transferred)

    def _talk(
        self,
        queue: str,
        agent: str,
        at: float,
        talk_s: float,
        hold_s: float,
        transferred: bool,
        recent: float = EVER,
    ) -> None:
        of_agent = [(tally, A_TALKS) for tally in self.people.both(agent, queue)]
        for tally, first in ((self.queue(queue).tally, TALKS), *of_agent):
            tally.add(at, first, recent=recent)
            tally.add(at, first + 1, talk_s, recent)
            tally.add(at, first + 2, hold_s, recent)
            if transferred:
                tally.add(at, first + 4, recent=recent)

    def _wrap_up_ended(self, event: WrapUpEnded) -> None:
        if self._ledger.wrapped(event.uniqueid, event.queue):
            self._wrap_up(event.queue, event.agent, event.at, event.wrap_up_s)

    def _wrap_up(self, queue: str, agent: str, at: float, wrap_up_s: float, recent: float = EVER) -> None:
        self.queue(queue).tally.add(at, WRAP_UP_S, wrap_up_s, recent)
        for tally in self.people.both(agent, queue):
            tally.add(at, A_WRAP_UP_S, wrap_up_s, recent)

    def _rang_in_vain(self, event: RangInVain) -> None:
        self._ledger.rang(event.uniqueid, event.queue, event.agent, event.at)
        self._rang(event.queue, event.agent, event.at, event.ring_s)

    def _rang(self, queue: str, agent: str, at: float, ring_s: float, recent: float = EVER) -> None:
        self.queue(queue).tally.add(at, RANG_IN_VAIN, recent=recent)
        for tally in self.people.both(agent, queue):
            tally.add(at, A_RANG_IN_VAIN, recent=recent)
            tally.add(at, A_RING_IN_VAIN_S, ring_s, recent)

    def _interval(self, interval: AgentInterval, recent: float = EVER) -> None:
        begin = max(interval.started_at, self._told_until.get(interval.agent, EVER))
        self.people.whole(interval.agent).add_time(begin, interval.at, _STATE[interval.state], recent)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def view(self, state: PbxState, now: float) -> dict[str, Any]:
        """All figures as plain values.

        Args:
            state: The live state of the same PBX.
            now: Seconds since the epoch.

        Returns:
            `queues` and `agents` by name and id, each with `now`, `today`, `m15`, `m30`, `m60`; `all`, the same over
            all people, each counted once. Durations in seconds, shares from 0 to 1, None where there is nothing to
            divide by.
        """
        times = {agent_id: self._times(state, agent_id, now) for agent_id in state.agents}
        queues = {name: self.view_queue(state, name, now, times) for name in state.queues}
        agents = {agent_id: self.view_agent(state, agent_id, now, times) for agent_id in state.agents}
        everyone = list(state.agents)
        together = {name: _use(_sum_times(times, everyone, name)) for name in ("today", "m15", "m30", "m60")}
        return {
            "at": now,
            "queues": queues,
            "agents": agents,
            "all": {**together, "now": {"agents": _by_state(state, everyone)}},
        }

    def view_queue(
        self, state: PbxState, name: str, now: float, times: dict[str, dict[str, Numbers]] | None = None
    ) -> dict[str, Any]:
        """The figures of one queue. See `view`."""
        queue, tally = state.queues[name], self.queue(name)
        people = sorted(_people(state, queue))
        if times is None:
            times = {agent_id: self._times(state, agent_id, now) for agent_id in people}
        windows = tally.tally.windows(now)
        shown: dict[str, Any] = {"now": _now(state, queue, tally, people, now)}
        for window, numbers in windows.items():
            shown[window] = {**_queue_figures(numbers), **_use(_sum_times(times, people, window))}
        shown["asterisk"] = asterisk_figures(queue.params)
        return shown

    def trend(self, name: str, now: float) -> dict[str, list[int]]:
        """A queue's last hour minute by minute, see `QueueTally.trend`."""
        return self.queue(name).trend(now)

    def brief(self, state: PbxState, name: str, now: float) -> Brief:
        """What a glance at a queue tells, at a fraction of the cost of `view_queue`."""
        queue, tally = state.queues[name], self.queue(name)
        today = tally.tally.today(now)
        agents = _by_state(state, _people(state, queue))
        return Brief(
            agents=agents,
            open=tally.day.is_open(now),
            estimated_wait_s=_estimated_wait_s(queue, tally, agents, now),
            service_level=_service_level(today),
            answer_wait_mean_s=mean(today[ANSWER_WAIT_S], today[_OUTCOME[Outcome.ANSWERED]]),
            abandoned_share=_abandoned_share(today),
            target_s=tally.settings.target_seconds,
            target_share=tally.settings.target_share,
        )

    def view_agent(
        self,
        state: PbxState,
        agent_id: str,
        now: float,
        times: dict[str, dict[str, Numbers]] | None = None,
        counts: Callable[[str], bool] | None = None,
    ) -> dict[str, Any]:
        """The figures of one person. See `view`.

        Args:
            state: The live state.
            agent_id: Who.
            now: Seconds since the epoch.
            times: Of all, where they are known already.
            counts: Whether what came of a queue counts, by its name; None: of every one. What the person did with
                their time is the same for all: it is what everybody sees who sees them.
        """
        agent = state.agents[agent_id]
        spent = times[agent_id] if times is not None else self._times(state, agent_id, now)
        if counts is not None:
            spent = self.people.only(agent_id, spent, counts, now)
        shown: dict[str, Any] = {
            "now": {
                "state": agent.state.value,
                "since": agent.since,
                "state_s": max(0.0, now - agent.since),
                "reason": agent.reason,
                "linkedid": agent.linkedid,
            }
        }
        for window, numbers in spent.items():
            shown[window] = {
                "answered": int(numbers[A_ANSWERED]),
                "rang_in_vain": int(numbers[A_RANG_IN_VAIN]),
                "ring_in_vain_s": numbers[A_RING_IN_VAIN_S],
                "transfers": int(numbers[A_TRANSFERS]),
                **_handling(numbers, A_TALKS),
                **_use(numbers),
            }
        return shown

    def _times(self, state: PbxState, agent_id: str, now: float) -> dict[str, Numbers]:
        """A person's numbers by window, with what runs still."""
        agent = state.agents[agent_id]
        found = self.people.windows(agent_id, now)
        since = max(agent.since, self._told_until.get(agent_id, EVER))
        for window, began in self.people.began(now).items():
            found[window][_STATE[agent.state]] += max(0.0, now - max(since, began))
        return found


COUNTED: dict[type, Callable[[Figures, Any], None]] = {
    CallOutcome: Figures._outcome,
    TalkEnded: Figures._talk_ended,
    WrapUpEnded: Figures._wrap_up_ended,
    RangInVain: Figures._rang_in_vain,
    AgentInterval: Figures._interval,
}


@dataclass(frozen=True, slots=True)
class Brief:
    """A queue now and today; as `Figures.view` has it."""

    agents: dict[str, int]
    open: bool
    estimated_wait_s: float | None
    service_level: float | None
    answer_wait_mean_s: float | None
    abandoned_share: float | None
    target_s: float
    target_share: float


def _people(state: PbxState, queue: Queue) -> set[str]:
    """Who is a member, each once."""
    found = {state.directory.agent_id(member) for member in queue.members.values()}
    return {agent_id for agent_id in found if agent_id in state.agents}


def _now(state: PbxState, queue: Queue, tally: QueueTally, people: list[str], now: float) -> dict[str, Any]:
    states = _by_state(state, people)
    longest = max((now - stay.caller.joined_at for stay in queue.waiting.values()), default=0.0)
    return {
        "waiting": len(queue.waiting),
        "longest_wait_s": max(0.0, longest),
        "agents": states,
        "open": tally.day.is_open(now),
        "estimated_wait_s": _estimated_wait_s(queue, tally, states, now),
        "target_s": tally.settings.target_seconds,
        "target_share": tally.settings.target_share,
        "time_zone": tally.settings.time_zone,
    }


def _estimated_wait_s(queue: Queue, tally: QueueTally, states: dict[str, int], now: float) -> float | None:
    """For a caller who joins now: those ahead whom nobody free will take, and they, times handle time over agents."""
    serving = sum(states[state.value] for state in (*BUSY, *READY))
    if not serving:
        return None
    ahead = len(queue.waiting) + 1 - states[AgentState.AVAILABLE.value]
    if ahead <= 0:
        return 0.0
    today = tally.tally.today(now)
    hour = tally.tally.last_hour(now, (TALK_S, WRAP_UP_S, TALKS))
    for talk_s, wrap_up_s, talks in (hour, (today[TALK_S], today[WRAP_UP_S], today[TALKS])):
        handle_s = mean(talk_s + wrap_up_s, talks)
        if handle_s is not None:
            return ahead * handle_s / serving
    return None


def _service_level(n: Numbers) -> float | None:
    return share(n[IN_TARGET], n[SL_ANSWERED] + n[SL_ABANDONED])


def _abandoned_share(n: Numbers) -> float | None:
    short = n[SHORT_ABANDONED]
    return share(n[_OUTCOME[Outcome.ABANDONED]] - short, sum(n[: len(OUTCOMES)]) - short)


def _queue_figures(n: Numbers) -> dict[str, Any]:
    answered, abandoned = n[_OUTCOME[Outcome.ANSWERED]], n[_OUTCOME[Outcome.ABANDONED]]
    return {
        "offered": int(sum(n[: len(OUTCOMES)])),
        **{outcome.value: int(n[i]) for i, outcome in enumerate(OUTCOMES)},
        "short_abandoned": int(n[SHORT_ABANDONED]),
        "abandoned_without_short": int(abandoned - n[SHORT_ABANDONED]),
        "abandoned_share": _abandoned_share(n),
        "outside_hours": int(n[OUTSIDE_HOURS]),
        "answered_in_target": int(n[IN_TARGET]),
        "service_level": _service_level(n),
        "answer_wait_mean_s": mean(n[ANSWER_WAIT_S], answered),
        "answer_wait_max_s": n[ANSWER_WAIT_MAX_S],
        "abandon_wait_mean_s": mean(n[ABANDON_WAIT_S], abandoned),
        "abandon_wait_max_s": n[ABANDON_WAIT_MAX_S],
        "transfers": int(n[TRANSFERS]),
        "rang_in_vain": int(n[RANG_IN_VAIN]),
        **_handling(n, TALKS),
    }


def _handling(n: Numbers, first: int) -> dict[str, Any]:
    """Conversations that ended: their number, and seconds in all and each; `first` is the field of their number."""
    talks, talk_s, hold_s, wrap_up_s = n[first : first + 4]
    return {
        "talks": int(talks),
        "talk_s": talk_s,
        "hold_s": hold_s,
        "wrap_up_s": wrap_up_s,
        "talk_mean_s": mean(talk_s, talks),
        "hold_mean_s": mean(hold_s, talks),
        "wrap_up_mean_s": mean(wrap_up_s, talks),
        "handle_mean_s": mean(talk_s + wrap_up_s, talks),
    }


def _use(n: Numbers) -> dict[str, Any]:
    """How people spent their time; `n` begins with the seconds in each state."""
    busy = sum(n[_STATE[state]] for state in BUSY)
    logged_in = busy + sum(n[_STATE[state]] for state in (*READY, AgentState.PAUSED))
    return {
        "state_s": {state.value: n[i] for i, state in enumerate(STATES)},
        "occupancy": share(busy, busy + n[_STATE[AgentState.AVAILABLE]]),
        "utilisation": share(busy, logged_in),
    }


def _sum_times(times: dict[str, dict[str, Numbers]], people: list[str], window: str) -> Numbers:
    if not people:
        return [0.0] * len(STATES)
    columns = zip(*(times[agent_id][window] for agent_id in people), strict=True)
    return [sum(column) for column in columns][: len(STATES)]


def _by_state(state: PbxState, people: Iterable[str]) -> dict[str, int]:
    counts = {each.value: 0 for each in STATES}
    for agent_id in people:
        counts[state.agents[agent_id].state.value] += 1
    return counts
