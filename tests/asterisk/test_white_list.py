"""What the event filter lets out of Asterisk is what is read, by Asterisk's own list of its events."""

from __future__ import annotations

import re

import pytest

from connector.asterisk.translate import EVENT_NAMES
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import sample_conf_dir

FILTERS = re.findall(
    r"^eventfilter = (.+)$", (sample_conf_dir() / "connector-manager.conf").read_text("utf-8"), re.MULTILINE
)
MORE = {
    "Newexten": "Application: Queue\r\n",
    "VarSet": "Variable: QUEUESTATUS\r\n",
    "UserEvent": "UserEvent: ConnectorListen\r\n",
}
"""What an event must say to be let out, where the name is not all."""
ANSWERS = {"QueueMember", "ContactStatusDetail"}
"""Answers to actions; the filter is for none of them."""


def is_let_out(name: str, more: str = "") -> bool:
    """As Asterisk compares: anywhere in the event's text, whose first line is its name."""
    text = f"Event: {name}\r\nPrivilege: call,all\r\nChannel: PJSIP/a-1\r\n{more}"
    return any(re.search(pattern, text, re.DOTALL) for pattern in FILTERS)


@pytest.mark.parametrize("name", sorted(EVENT_NAMES))
def test_what_is_read_is_let_out(name: str) -> None:
    assert is_let_out(name, MORE.get(name, ""))
    assert is_let_out(name) is (name not in MORE), "of these only what is needed"


def test_a_caller_cannot_name_an_event() -> None:
    assert not is_let_out("DialBegin", "CallerIDName: Event: QueueCallerJoin\r\n")


async def test_what_is_let_out_is_read(asterisk: LabAsterisk) -> None:
    listing = await asterisk.cli("manager show events")
    names = set(re.findall(r"\b[A-Z][A-Za-z0-9]+\b", listing))
    assert len(names) > 100, listing
    assert names >= EVENT_NAMES - {"Newexten"}, EVENT_NAMES - names  # which is listed nowhere
    assert {name for name in names if is_let_out(name)} - ANSWERS - EVENT_NAMES == set()
