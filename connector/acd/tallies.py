"""The numbers that are counted of a queue and of a person: their fields, and a queue's counting of an attempt's end."""

from __future__ import annotations

from connector.acd.buckets import EVER, Day, Tally
from connector.config_people import QueueSettings
from connector.events import Outcome
from connector.records import AgentState

OUTCOMES = tuple(Outcome)
STATES = tuple(AgentState)
OUTCOME_FIELD = {outcome: n for n, outcome in enumerate(OUTCOMES)}
STATE_FIELD = {state: n for n, state in enumerate(STATES)}

# Fields of a queue: one for each outcome, then
(
    IN_TARGET,
    SL_ANSWERED,
    SL_ABANDONED,
    SHORT_ABANDONED,
    OUTSIDE_HOURS,
    ANSWER_WAIT_S,
    ABANDON_WAIT_S,
    TALKS,
    TALK_S,
    HOLD_S,
    WRAP_UP_S,
    TRANSFERS,
    RANG_IN_VAIN,
    ANSWER_WAIT_MAX_S,
    ABANDON_WAIT_MAX_S,
) = range(len(OUTCOMES), len(OUTCOMES) + 15)
QUEUE_FIELDS = len(OUTCOMES) + 15
QUEUE_LARGEST = frozenset({ANSWER_WAIT_MAX_S, ABANDON_WAIT_MAX_S})

# Fields of an agent: seconds in each state, then
(
    A_ANSWERED,
    A_RANG_IN_VAIN,
    A_RING_IN_VAIN_S,
    A_TALKS,
    A_TALK_S,
    A_HOLD_S,
    A_WRAP_UP_S,
    A_TRANSFERS,
) = range(len(STATES), len(STATES) + 8)
AGENT_FIELDS = len(STATES) + 8


class QueueTally:
    """The counts of one queue, and what counts for it."""

    __slots__ = ("day", "settings", "tally")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.day = Day(settings)
        self.tally = Tally(QUEUE_FIELDS, QUEUE_LARGEST, self.day)

    def outcome(self, outcome: Outcome, at: float, wait_s: float, recent: float = EVER) -> None:
        """A caller's attempt is over."""
        settings = self.settings

        def add(field: int, value: float = 1.0) -> None:
            self.tally.add(at, field, value, recent)

        add(OUTCOME_FIELD[outcome])
        counts = self.day.is_open(at - wait_s)
        if not counts:
            add(OUTSIDE_HOURS)
        if outcome is Outcome.ANSWERED:
            add(ANSWER_WAIT_S, wait_s)
            add(ANSWER_WAIT_MAX_S, wait_s)
            if counts:
                add(SL_ANSWERED)
                if wait_s <= settings.target_seconds:
                    add(IN_TARGET)
        elif outcome is Outcome.ABANDONED:
            add(ABANDON_WAIT_S, wait_s)
            add(ABANDON_WAIT_MAX_S, wait_s)
            if wait_s <= settings.short_abandon_seconds:
                add(SHORT_ABANDONED)
            elif counts:
                add(SL_ABANDONED)

    def take_back_unknown(self, at: float, joined_at: float, recent: float) -> None:
        """It has become known how that attempt ended."""
        self.tally.add(at, OUTCOME_FIELD[Outcome.UNKNOWN], -1.0, recent)
        if not self.day.is_open(joined_at):
            self.tally.add(at, OUTSIDE_HOURS, -1.0, recent)

    def trend(self, now: float) -> dict[str, list[int]]:
        """The last hour minute by minute, the oldest first: who came, was answered, gave up, but not at once."""
        *outcomes, short = self.tally.minutes(now, (*range(len(OUTCOMES)), SHORT_ABANDONED))
        answered, abandoned = outcomes[OUTCOME_FIELD[Outcome.ANSWERED]], outcomes[OUTCOME_FIELD[Outcome.ABANDONED]]
        return {
            "offered": [int(sum(each)) for each in zip(*outcomes, strict=True)],
            "answered": [int(each) for each in answered],
            "abandoned": [int(gave_up - soon) for gave_up, soon in zip(abandoned, short, strict=True)],
        }
