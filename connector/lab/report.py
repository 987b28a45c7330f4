"""The demo's report: what callers, connector and Asterisk each say of the same calls, and whether that agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from connector.lab.facts import QueueFacts
from connector.lab.traffic import BotCallResult, Seen

TONE_TOLERANCE_HZ = 2.0

SAME_THING = {"answered": "CONNECT", "abandoned": "ABANDON", "timed_out": "EXITWITHTIMEOUT"}
"""The connector's outcomes and the entries of queue_log (Asterisk 16 to 23, app_queue.c)."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was held together.

    Attributes:
        asterisk: Version.
        agrees: Whether `problems` is empty.
        problems: What does not agree, a sentence each.
        bot_calls: One entry per call with the bot.
        round_trip_ms: p50 and p99 over all bursts of all calls: caller, Asterisk, connector, bot and back.
        packets: Over all bot calls, as the callers counted them.
        media: The connector's own totals, late ticks among them.
        queue: For each outcome, what the connector, queue_log and the callers themselves counted.
        pauses: Pauses by queue_log.
        handed_over: Calls that went from the bot on to the queue.
    """

    asterisk: str
    agrees: bool
    problems: list[str]
    bot_calls: list[dict[str, Any]]
    round_trip_ms: dict[str, float]
    packets: dict[str, int]
    media: dict[str, Any]
    queue: dict[str, dict[str, int]]
    pauses: int
    handed_over: int


def make_report(
    *,
    version: str,
    seen: Seen,
    state: Mapping[str, Any],
    queue: Mapping[str, Any],
    queue_log: Mapping[str, int],
    queue_show: QueueFacts,
    left_behind: list[str],
) -> Report:
    """Holds the accounts against each other.

    Args:
        version: Of Asterisk.
        seen: What the callers saw.
        state: The connector's `/api/v1/state` at the end.
        queue: The queue `support` in it.
        queue_log: Asterisk's own log, entries of `support` by event.
        queue_show: `support` in `queue show` at the end.
        left_behind: Channels and bridges in Asterisk after the last call.
    """
    problems = [*seen.failures, *(problem for result in seen.bot_calls for problem in _audio_problems(result))]
    if not seen.bot_calls:
        problems.append("no call with the bot ended within the time: run longer")
    counted = _counts(queue, queue_log, seen)
    for outcome, counts in counted.items():
        if len(set(counts.values())) != 1:
            problems.append(f"{outcome}: {', '.join(f'{who} says {count}' for who, count in counts.items())}")
    unaccounted = {name: n for name, n in queue["outcomes"].items() if n and name not in SAME_THING}
    if unaccounted:
        problems.append(f"outcomes that nobody caused: {unaccounted}")
    shown = {member["interface"]: (member["state"], member["paused"]) for member in queue_show["members"]}
    live = {member["interface"]: (member["device"], member["paused"]) for member in queue["members"]}
    if shown != live:
        problems.append(f"members: queue show says {shown}, the connector says {live}")
    problems += [f"left behind in Asterisk: {line}" for line in left_behind]
    trips = [trip for result in seen.bot_calls for trip in result.round_trip_ms]
    return Report(
        asterisk=version,
        agrees=not problems,
        problems=problems,
        bot_calls=[_call(result) for result in seen.bot_calls],
        round_trip_ms={"bursts": len(trips), **_percentiles(trips)},
        packets={
            "sent": sum(result.packets_sent for result in seen.bot_calls),
            "heard": sum(result.packets_heard for result in seen.bot_calls),
            "lost": sum(result.packets_lost for result in seen.bot_calls),
        },
        media={"late_ticks": state["media"]["totals"]["late_ticks"], "totals": state["media"]["totals"]},
        queue=counted,
        pauses=queue_log.get("PAUSE", 0),
        handed_over=seen.handed_over,
    )


def _audio_problems(result: BotCallResult) -> list[str]:
    call = f"bot call with {result.tone_sent_hz:.0f} Hz"
    problems = []
    if abs(result.tone_heard_hz - result.tone_sent_hz) > TONE_TOLERANCE_HZ:
        problems.append(f"{call}: {result.tone_heard_hz:.1f} Hz came back")
    if result.packets_lost:
        problems.append(f"{call}: {result.packets_lost} packets lost")
    if result.bursts_lost:
        problems.append(f"{call}: {result.bursts_lost} bursts did not come back")
    return problems


def _counts(queue: Mapping[str, Any], queue_log: Mapping[str, int], seen: Seen) -> dict[str, dict[str, int]]:
    by_callers = {"answered": "answered", "abandoned": "gave_up", "timed_out": "timed_out"}
    return {
        outcome: {
            "connector": queue["outcomes"][outcome],
            "queue_log": queue_log.get(entry, 0),
            "callers": seen.queue[by_callers[outcome]],
        }
        for outcome, entry in SAME_THING.items()
    }


def _call(result: BotCallResult) -> dict[str, Any]:
    summary = asdict(result)
    summary["round_trip_ms"] = {"bursts": len(result.round_trip_ms), **_percentiles(result.round_trip_ms)}
    return summary


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(values), 2)}
