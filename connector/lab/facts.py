"""What Asterisk itself says about its queues: `queue show` and queue_log as values, to compare others with."""

from __future__ import annotations

import re
from collections import Counter
from typing import TypedDict

_QUEUE = re.compile(r"^(?P<name>\S.*?) has (?P<calls>\d+) calls .*\bC:(?P<completed>\d+), A:(?P<abandoned>\d+)")
_STATES = {
    "Unknown": "unknown",
    "Not in use": "not_in_use",
    "In use": "in_use",
    "Busy": "busy",
    "Invalid": "invalid",
    "Unavailable": "unavailable",
    "Ringing": "ringing",
    "Ring+Inuse": "ring_in_use",
    "On Hold": "on_hold",
}


class MemberFacts(TypedDict):
    """One member line of `queue show`; `state` in the words of `connector.events.DeviceState`."""

    interface: str
    name: str
    state: str
    paused: bool
    dynamic: bool
    in_call: bool
    calls_taken: int


class QueueFacts(TypedDict):
    """One queue of `queue show`; `waiting` holds the channels, first in line first."""

    waiting: list[str]
    members: list[MemberFacts]
    completed: int
    abandoned: int


def parse_queue_show(text: str) -> dict[str, QueueFacts]:
    """Reads the output of the console command `queue show`, Asterisk 16 to 23.

    Returns:
        Facts by queue name.
    """
    queues: dict[str, QueueFacts] = {}
    current: QueueFacts | None = None
    section = ""
    for line in text.splitlines():
        found = _QUEUE.match(line)
        if found:
            current = QueueFacts(
                waiting=[], members=[], completed=int(found["completed"]), abandoned=int(found["abandoned"])
            )
            queues[found["name"]] = current
            section = ""
        elif line.strip() in ("Members:", "Callers:", "No Members", "No Callers"):
            section = line.strip()
        elif current is not None and line.startswith("      "):
            if section == "Members:":
                current["members"].append(_member(line.strip()))
            elif section == "Callers:" and (caller := re.match(r"\d+\. (\S+) \(wait", line.strip())):
                current["waiting"].append(caller[1])
    return queues


def _member(line: str) -> MemberFacts:
    groups = re.findall(r"\(([^()]*)\)", line)
    name = line.split(" (", 1)[0].split(" with penalty", 1)[0]
    # The interface stands in brackets only where the name is another.
    interface = groups[0].split(" from ", 1)[0] if groups and "/" in groups[0] else name
    taken = re.search(r"has taken (\d+) calls", line)
    return MemberFacts(
        interface=interface,
        name=name,
        state=next((_STATES[group] for group in groups if group in _STATES), "unknown"),
        paused=any(group.startswith("paused") for group in groups),
        dynamic="dynamic" in groups,
        in_call="in call" in groups,
        calls_taken=int(taken[1]) if taken else 0,
    )


def queue_log_counts(text: str) -> dict[str, dict[str, int]]:
    """Counts the entries of queue_log by queue and event; field 3 is the queue, 5 the event."""
    counts: dict[str, Counter[str]] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) >= 5 and fields[2] != "NONE":
            counts.setdefault(fields[2], Counter())[fields[4]] += 1
    return {queue: dict(events) for queue, events in counts.items()}
