"""The AMI client leaves out panoramisk's case-insensitive dict; what it reads is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from panoramisk.message import Message

from connector.asterisk.ami_client import _Message

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"


@pytest.mark.parametrize("name", ["22-shift", "16-shift", "22-exits", "16-exits"])
def test_a_message_has_the_headers_that_panoramisk_reads(name: str) -> None:
    read = 0
    for raw in (FIXTURES / f"{name}.bin").read_bytes().decode().split("\r\n\r\n"):
        theirs, ours = Message.from_line(raw), _Message.from_line(raw)
        if theirs is None:
            assert ours is None
            continue
        assert {key: value for key, value in theirs.items() if key != "content"} == ours.headers
        assert (ours.id, ours.action_id) == (theirs.id, theirs.action_id)
        read += 1
    assert read > 100
