"""Bytes of AMI for the benchmark of the event path: what real Asterisk sent (tests/fixtures/ami), repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures" / "ami"
CHUNK_BYTES = 65_536
"""What a read of the socket returns at most when much is waiting."""
QUEUES = 50
"""Over which the repeated events are spread."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a contact centre."""

    queues: int
    members: int
    callers: int


LARGE = Size(500, 5_000, 2_000)


def recorded(name: str) -> list[bytes]:
    """The messages of a recording, without answers to actions and their lists."""
    messages = (FIXTURES / f"{name}.bin").read_bytes().split(b"\r\n\r\n")
    return [one for one in messages if one and b"\r\nActionID:" not in one and not one.startswith(b"Response:")]


def live_events(count: int, queues: int = QUEUES) -> bytes:
    """So many events, as copies of a recorded shift; each copy is of other calls, one of the queues, and its agents.

    Queues and agents are those of `queue_items`.
    """
    shift = b"\r\n\r\n".join(recorded("22-shift")) + b"\r\n\r\n"
    each = shift.count(b"\r\n\r\n")
    return b"".join(_renamed(shift, number, number % queues) for number in range(-(-count // each)))


def _renamed(messages: bytes, number: int, queue: int) -> bytes:
    renamed = re.sub(rb"(ueid|kedid): (\S+)", rb"\1: %d-\2" % number, messages)
    renamed = re.sub(rb"agent(\d)\b", rb"agent%d-\1" % queue, renamed)
    renamed = re.sub(rb"-0000([0-9a-f]{4})\b", rb"-%04x\1" % (number % 65_536), renamed)
    return re.sub(
        rb"Queue: (\w+)", lambda found: b"Queue: queue %d" % queue if found[1] == b"support" else found[0], renamed
    )


def list_answer(action_id: str, name: str, items: Iterator[bytes]) -> Iterator[bytes]:
    """The answer to a list action, in pieces."""
    head = b"ActionID: %s\r\n" % action_id.encode()
    yield b"Response: Success\r\n" + head + b"EventList: start\r\nMessage: will follow\r\n\r\n"
    for item in items:
        yield re.sub(rb"ActionID: [^\r]*", head.strip(), item) + b"\r\n\r\n"
    yield b"Event: %s\r\n" % name.encode() + head + b"EventList: Complete\r\nListItems: 0\r\n\r\n"


def _sample(event: str) -> bytes:
    """The first recorded list item of that kind."""
    messages = (FIXTURES / "22-shift.bin").read_bytes().split(b"\r\n\r\n")
    return next(one for one in messages if one.startswith(b"Event: %s\r\n" % event.encode()) and b"ActionID" in one)


def _with(message: bytes, **fields: str) -> bytes:
    for name, value in fields.items():
        message = re.sub(rb"\r\n%s: [^\r]*" % name.encode(), b"\r\n%s: %s" % (name.encode(), value.encode()), message)
    return message


def queue_items(size: Size) -> Iterator[bytes]:
    """What QueueStatus lists of a contact centre."""
    params, member, caller = _sample("QueueParams"), _sample("QueueMember"), _sample("QueueEntry")
    for queue in range(size.queues):
        name = f"queue {queue}"
        yield _with(params, Queue=name)
        for number in range(size.members // size.queues):
            agent = f"PJSIP/agent{queue}-{number}"
            yield _with(member, Queue=name, Name=f"Agent {queue}-{number}", Location=agent, StateInterface=agent)
        for number in range(size.callers // size.queues):
            yield _with(
                caller,
                Queue=name,
                Position=str(number + 1),
                Channel=f"PJSIP/trunk-{queue:04x}{number:04x}",
                Uniqueid=f"lab-1.{queue}.{number}",
            )


def channel_items(size: Size) -> Iterator[bytes]:
    """What CoreShowChannels lists: the callers' channels."""
    channel = _sample("CoreShowChannel")
    for queue in range(size.queues):
        for number in range(size.callers // size.queues):
            uniqueid = f"lab-1.{queue}.{number}"
            name = f"PJSIP/trunk-{queue:04x}{number:04x}"
            yield _with(channel, Channel=name, Uniqueid=uniqueid, Linkedid=uniqueid)


def chunks(data: bytes) -> Iterator[bytes]:
    """The bytes as the socket gives them."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
