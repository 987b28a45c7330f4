"""A recording of AMI bytes becomes the events it held: for tests, and to look into what a PBX sent.

Lists take effect where their Complete event stood, as in a live link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from connector.asterisk.ami_model import AmiCounter, AmiLimits
from connector.asterisk.ami_wire import BANNER, Framer
from connector.asterisk.snapshot import legs_snapshot, queues_snapshot
from connector.asterisk.snapshot_lines import contacts_snapshot, trunks_snapshot
from connector.asterisk.translate import Malformed, Message, translate
from connector.events import AnyEvent

_Reader = Callable[[list[Message], str, float], tuple[AnyEvent, tuple[Malformed, ...]]]
_LISTS: dict[str, _Reader] = {
    "QueueStatusComplete": queues_snapshot,
    "CoreShowChannelsComplete": legs_snapshot,
    "OutboundRegistrationDetailComplete": trunks_snapshot,
    "DBGetTreeComplete": contacts_snapshot,
}


def messages(recording: bytes) -> Iterator[Message]:
    """Headers of each message, from bytes with or without the banner line."""
    counters: Counter[AmiCounter] = Counter()
    framer = Framer(counters, AmiLimits())
    if not recording.startswith(BANNER.encode()):
        framer.feed(f"{BANNER}0\r\n".encode())
    for lines in framer.feed(recording):
        headers: dict[str, Any] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            if name not in headers:
                headers[name] = value
            elif isinstance(headers[name], list):
                headers[name].append(value)
            else:
                headers[name] = [headers[name], value]
        yield headers


def events(recording: bytes, pbx: str, started_at: float = 0.0) -> Iterator[AnyEvent | Malformed]:
    """What the recording held, in order.

    Args:
        recording: Bytes that AMI sent.
        pbx: Name to give to the PBX.
        started_at: Time of what comes before the first Timestamp, seconds since the epoch.
    """
    now = started_at
    lists: dict[str, list[Message]] = {}
    for message in messages(recording):
        name = message.get("Event")
        action_id = message.get("ActionID")
        if isinstance(name, str) and isinstance(action_id, str):
            if name in _LISTS:
                snapshot, malformed = _LISTS[name](lists.pop(action_id, []), pbx, now)
                yield from malformed
                yield snapshot
            else:
                lists.setdefault(action_id, []).append(message)
            continue
        event = translate(message, pbx, now)
        if isinstance(event, Malformed):
            yield event
        elif event is not None:
            now = max(now, event.at)
            yield event
