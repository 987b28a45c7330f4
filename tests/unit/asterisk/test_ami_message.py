"""The AMI client leaves out panoramisk's case-insensitive dict; what it reads is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from panoramisk.message import Message

from connector.asterisk.ami_client import _Message

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"


NAMES = [f"{version}-{name}" for version in (22, 16) for name in ("shift", "exits", "people", "lines")]


@pytest.mark.parametrize("name", NAMES)
def test_a_message_has_the_headers_that_panoramisk_reads(name: str) -> None:
    read = 0
    for raw in (FIXTURES / f"{name}.bin").read_bytes().decode().split("\r\n\r\n"):
        theirs, ours = Message.from_line(raw), _Message.read([line for line in raw.split("\r\n") if ": " in line])
        if theirs is None:
            assert ours is None
            continue
        assert ours is not None
        assert {key: value for key, value in theirs.items() if key != "content"} == ours.headers
        assert (ours.id, ours.action_id) == (theirs.id, theirs.action_id)
        read += 1
    assert read > 40


@pytest.mark.parametrize(
    "raw",
    [
        "Event: X\r\nA: 1\r\nA: 2",
        "Event: X\r\nValue: a: b: c",
        "Event: BlindTransfer\r\nResult: %41 ",
        "Response: Success\r\nMessage: a",
        "Response: Fail\r\nMessage: a",
        "Key: without a type",
    ],
)
def test_what_is_not_plain_is_read_by_panoramisk(raw: str) -> None:
    theirs, ours = Message.from_line(raw), _Message.read(raw.split("\r\n"))
    assert (None if theirs is None else {k: v for k, v in theirs.items() if k != "content"}) == (
        None if ours is None else ours.headers
    )
