"""Metrics of what a contact centre is measured by: counters for any window, and the day so far as gauges.

Nothing is summed up over calls in a scrape: counters are kept as things happen, the day's numbers stand in the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.acd.figures import QUEUES_MAX, Figures
from connector.acd.model import PbxState
from connector.acd.people_tallies import PEOPLE_MAX
from connector.events import AgentChanged, CallOutcome, Outcome, RangInVain, TalkEnded, WrapUpEnded
from connector.records import AgentState

QUEUE_COUNTERS = {
    "service_level_calls": "Callers who count for the service level: answered, or abandoned but not at once.",
    "service_level_met": "Of those the ones who were answered within the target.",
    "short_abandons": "Callers who gave up at once, within short_abandon_seconds.",
    "closed_calls": "Callers who joined outside of business hours.",
    "transfers": "Conversations that ended because the agent passed the caller on.",
    "ring_no_answer": "Phones that rang and were not answered.",
    "hold_seconds": "Time of callers on hold by the agent.",
    "wrap_up_seconds": "Time of agents after conversations.",
}
AGENT_COUNTERS = {
    "answered": "Callers of queues whom the agent answered.",
    "transfers": "Conversations that the agent ended by passing the caller on.",
    "ring_no_answer": "Times that the agent's phone rang and was not answered.",
    "talk_seconds": "Time in conversations from queues, holds included.",
    "hold_seconds": "Of it with the caller on hold.",
    "wrap_up_seconds": "Time after conversations.",
}
TIMED = tuple(state for state in AgentState if state is not AgentState.UNAVAILABLE)
"""States in which somebody is logged in."""


@dataclass(slots=True)
class _People:
    """How long a PBX's people were in each state; people times seconds, whoever they are."""

    state_of: dict[str, AgentState]
    count: dict[AgentState, int]
    seconds: dict[AgentState, float]
    at: float


class FigureCounters:
    """Counts what happens, from the start of the process on, per queue and, if wanted, per agent.

    Args:
        figures: By PBX; they know what counts for a queue.
        clock: Seconds since the epoch.
        per_agent: Also by agent.

    Attributes:
        takes: What of the bus matters to it.
    """

    takes = (CallOutcome, TalkEnded, WrapUpEnded, RangInVain, AgentChanged)

    def __init__(self, figures: Mapping[str, Figures], clock: Callable[[], float], *, per_agent: bool) -> None:
        self.per_agent = per_agent
        self.queues: dict[tuple[str, str], dict[str, float]] = {}
        self.agents: dict[tuple[str, str], dict[str, float]] = {}
        self._figures = figures
        self._clock = clock
        self._people: dict[str, _People] = {}

    def on_event(self, event: object) -> None:
        """Takes an item of the bus."""
        match event:
            case CallOutcome():
                self._outcome(event)
            case TalkEnded():
                for counts in self._both(event.pbx, event.queue, event.agent):
                    counts["hold_seconds"] += event.hold_s
                    counts["transfers"] += event.transferred
                    if "talk_seconds" in counts:
                        counts["talk_seconds"] += event.talk_s
            case WrapUpEnded():
                for counts in self._both(event.pbx, event.queue, event.agent):
                    counts["wrap_up_seconds"] += event.wrap_up_s
            case RangInVain():
                for counts in self._both(event.pbx, event.queue, event.agent):
                    counts["ring_no_answer"] += 1
            case AgentChanged():
                self._agent_changed(event)

    def seconds(self, pbx: str) -> Mapping[AgentState, float]:
        """How long people were in each state until now."""
        people = self._people.get(pbx)
        if people is None:
            return dict.fromkeys(TIMED, 0.0)
        self._let_pass(people)
        return people.seconds

    def queue(self, pbx: str, name: str) -> dict[str, float]:
        """The counts of a queue."""
        return _counts(self.queues, (pbx, name), QUEUE_COUNTERS, QUEUES_MAX)

    def _both(self, pbx: str, queue: str, agent: str) -> Iterable[dict[str, float]]:
        yield self.queue(pbx, queue)
        if self.per_agent and agent:
            yield _counts(self.agents, (pbx, agent), AGENT_COUNTERS, PEOPLE_MAX)

    def _outcome(self, event: CallOutcome) -> None:
        of_queue, *of_agent = self._both(event.pbx, event.queue, event.agent)
        tally = self._figures[event.pbx].queue(event.queue)
        answered, abandoned = event.outcome is Outcome.ANSWERED, event.outcome is Outcome.ABANDONED
        short = abandoned and event.wait_s <= tally.settings.short_abandon_seconds
        counts = tally.day.is_open(event.at - event.wait_s)
        of_queue["short_abandons"] += short
        of_queue["closed_calls"] += not counts
        of_queue["service_level_calls"] += counts and (answered or (abandoned and not short))
        of_queue["service_level_met"] += counts and answered and event.wait_s <= tally.settings.target_seconds
        for counted in of_agent:
            counted["answered"] += answered

    def _agent_changed(self, event: AgentChanged) -> None:
        people = self._people.get(event.pbx)
        if people is None:
            people = self._people[event.pbx] = _People(
                {}, dict.fromkeys(AgentState, 0), dict.fromkeys(TIMED, 0.0), self._clock()
            )
        self._let_pass(people)
        old = people.state_of.pop(event.agent, None)
        if old is not None:
            people.count[old] -= 1
        if event.state:
            new = people.state_of[event.agent] = AgentState(event.state)
            people.count[new] += 1

    def _let_pass(self, people: _People) -> None:
        now = self._clock()
        for state in TIMED:
            people.seconds[state] += people.count[state] * max(0.0, now - people.at)
        people.at = now


class FiguresCollector(Collector):
    """Gives the counters, and the figures of now and today.

    Args:
        figures: By PBX.
        counters: What was counted.
        states: The live state by PBX.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        figures: Mapping[str, Figures],
        counters: FigureCounters,
        states: Callable[[], Mapping[str, PbxState]],
        clock: Callable[[], float],
    ) -> None:
        self._figures = figures
        self._counters = counters
        self._states = states
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: registration must not scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, each once."""
        yield from self._counted()
        yield from self._gauges()
        yield from self._people()
        if self._counters.per_agent:
            yield from self._agents()

    def _counted(self) -> Iterable[Metric]:
        for pbx, state in self._states().items():
            for name in state.queues:
                self._counters.queue(pbx, name)  # a series that begins with its first count hides that count
        yield from _families("connector_queue_", QUEUE_COUNTERS, "queue", self._counters.queues)

    def _gauges(self) -> Iterable[Metric]:
        now, labels = self._clock(), ("pbx", "queue")
        level = GaugeMetricFamily(
            "connector_queue_service_level_ratio",
            "Of those who count for it today, the share answered within the target.",
            labels=labels,
        )
        asa = GaugeMetricFamily(
            "connector_queue_answer_wait_mean_seconds", "Average speed of answer today.", labels=labels
        )
        abandoned = GaugeMetricFamily(
            "connector_queue_abandoned_ratio", "Share of callers today who gave up, but not at once.", labels=labels
        )
        estimate = GaugeMetricFamily(
            "connector_queue_estimated_wait_seconds", "For a caller who joins now.", labels=labels
        )
        is_open = GaugeMetricFamily("connector_queue_open", "Whether it is within business hours.", labels=labels)
        target_s = GaugeMetricFamily(
            "connector_queue_service_level_target_seconds", "Within which a caller should be answered.", labels=labels
        )
        target = GaugeMetricFamily(
            "connector_queue_service_level_target_ratio", "The service level that is aimed at.", labels=labels
        )
        agents = GaugeMetricFamily(
            "connector_queue_agents", "Members by what they do; a person once.", labels=(*labels, "state")
        )
        for pbx, state in self._states().items():
            for name in state.queues:
                key, brief = (pbx, name), self._figures[pbx].brief(state, name, now)
                for family, value in (
                    (level, brief.service_level),
                    (asa, brief.answer_wait_mean_s),
                    (abandoned, brief.abandoned_share),
                    (estimate, brief.estimated_wait_s),
                ):
                    if value is not None:
                        family.add_metric(key, value)
                is_open.add_metric(key, brief.open)
                target_s.add_metric(key, brief.target_s)
                target.add_metric(key, brief.target_share)
                for what, count in brief.agents.items():
                    agents.add_metric((*key, what), count)
        yield from (level, asa, abandoned, estimate, is_open, target_s, target, agents)

    def _people(self) -> Iterable[Metric]:
        agents = GaugeMetricFamily("connector_agents", "People by what they do, each once.", labels=("pbx", "state"))
        seconds = CounterMetricFamily(
            "connector_agents_state_seconds",
            "Time of all people in each state in which one is logged in, each once.",
            labels=("pbx", "state"),
        )
        for pbx, state in self._states().items():
            counts = dict.fromkeys(AgentState, 0)
            for agent in state.agents.values():
                counts[agent.state] += 1
            for what, count in counts.items():
                agents.add_metric((pbx, what.value), count)
            for what, spent in self._counters.seconds(pbx).items():
                seconds.add_metric((pbx, what.value), spent)
        yield from (agents, seconds)

    def _agents(self) -> Iterable[Metric]:
        doing = GaugeMetricFamily(
            "connector_agent_state", "1 for what the agent does.", labels=("pbx", "agent", "state")
        )
        for pbx, state in self._states().items():
            for agent in state.agents.values():
                doing.add_metric((pbx, agent.id, agent.state.value), 1)
        yield doing
        yield from _families("connector_agent_", AGENT_COUNTERS, "agent", self._counters.agents)


def _families(
    prefix: str, names: Mapping[str, str], of: str, counted: Mapping[tuple[str, str], Mapping[str, float]]
) -> Iterable[Metric]:
    for name, text in names.items():
        family = CounterMetricFamily(prefix + name, text, labels=("pbx", of))
        for key, counts in counted.items():
            family.add_metric(key, counts[name])
        yield family


def _counts(
    counted: dict[tuple[str, str], dict[str, float]], key: tuple[str, str], names: Mapping[str, str], most: int
) -> dict[str, float]:
    counts = counted.get(key)
    if counts is None:
        if len(counted) >= most:
            del counted[next(iter(counted))]
        counts = counted[key] = dict.fromkeys(names, 0.0)
    return counts
