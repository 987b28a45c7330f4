"""When the link asks for the lists: by itself at a low rate, at a reload, at a queue that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from connector.asterisk import link as module
from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import AmiEvent, AmiList, AmiLost, PermissionDenied
from connector.asterisk.ari import Ari
from connector.asterisk.link import PbxLink
from connector.bus import Bus
from connector.events import LinkState


class Lists:
    """Stands in for a connected AMI: notes what is asked for."""

    def __init__(self) -> None:
        self.state = LinkState.UP
        self.asked: list[str] = []
        self.refused: set[str] = set()

    async def request_list(self, name: str, **_fields: str) -> None:
        self.asked.append(name)
        if name in self.refused:
            raise PermissionDenied(name, "Permission denied")

    async def action(self, name: str, **_fields: str) -> SimpleNamespace:
        return SimpleNamespace(fields={"Value": "10000"}, message="")


@pytest.fixture
def lists() -> Lists:
    return Lists()


def link_of(lists: Lists, reconcile_s: float = 3600.0) -> PbxLink:
    return PbxLink(
        pbx="main",
        ami=cast(Ami, lists),
        ari=cast(Ari, SimpleNamespace(state=LinkState.DOWN)),
        bus=Bus(),
        clock=lambda: 0.0,
        reconcile_s=reconcile_s,
    )


async def run_until(link: PbxLink, holds: Callable[[], bool]) -> None:
    task = asyncio.create_task(link._resync_when_wanted())
    try:
        deadline = asyncio.get_running_loop().time() + 5.0
        while not holds():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def event(**fields: str) -> AmiEvent:
    return AmiEvent(fields, 1.0)


def queue_list(*names: str) -> AmiList:
    return AmiList("QueueStatus", tuple({"Event": "QueueParams", "Queue": name} for name in names), 1.0)


async def test_the_lists_are_read_now_and_then(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESYNC_PAUSE_S", 0.0)
    link = link_of(lists, reconcile_s=0.01)
    await run_until(link, lambda: lists.asked.count("QueueStatus") >= 2 and lists.asked.count("CoreShowChannels") >= 2)
    assert link.resyncs["reconcile"] >= 2


async def test_nothing_is_asked_of_a_broken_link(lists: Lists) -> None:
    lists.state = LinkState.DOWN
    link = link_of(lists, reconcile_s=0.001)
    polls = iter(range(20))
    await run_until(link, lambda: next(polls, None) is None)
    assert (lists.asked, link.resyncs) == ([], {})


async def test_a_queue_that_nobody_knows_asks_once(lists: Lists) -> None:
    link = link_of(lists)
    for _ in range(3):
        link._take(event(Event="QueueCallerLeave", Queue="strange", Uniqueid="1"))
    assert link.resyncs == {}  # the first lists are still to come
    link._take(queue_list("support"))
    for _ in range(3):
        link._take(event(Event="QueueCallerLeave", Queue="strange", Uniqueid="1"))
        link._take(event(Event="QueueCallerLeave", Queue="support", Uniqueid="1"))
    assert link.resyncs == {"unknown_queue": 1}
    link._take(queue_list("support"))  # it is gone for good
    link._take(event(Event="QueueCallerLeave", Queue="strange", Uniqueid="2"))
    assert link.resyncs == {"unknown_queue": 1}
    link._take(queue_list("support", "strange"))
    link._take(queue_list("support"))
    link._take(event(Event="QueueCallerLeave", Queue="strange", Uniqueid="3"))
    assert link.resyncs == {"unknown_queue": 2}


async def test_strange_names_are_bounded(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRANGERS_MAX", 5)
    link = link_of(lists)
    link._take(queue_list("support"))
    for number in range(20):
        link._take(event(Event="QueueCallerLeave", Queue=f"strange {number}", Uniqueid="1"))
    assert link.resyncs == {"unknown_queue": 5}


async def test_a_reload_asks(lists: Lists) -> None:
    link = link_of(lists)
    link._take(event(Event="Reload", Module="app_queue.so", Status="0"))
    await run_until(link, lambda: "QueueStatus" in lists.asked)
    assert link.resyncs == {"reload": 1}


async def test_two_resyncs_keep_a_distance(lists: Lists) -> None:
    link = link_of(lists)
    link._want_resync("reload")
    task = asyncio.create_task(link._resync_when_wanted())
    polls = iter(range(20))
    while next(polls, None) is not None:
        link._want_resync("reload")
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lists.asked.count("QueueStatus") == 1


async def test_drift_is_logged_once_for_each_kind(lists: Lists) -> None:
    structlog.reset_defaults()
    link = link_of(lists)
    join: dict[str, Any] = {
        "Event": "QueueCallerJoin",
        "Queue": "support",
        "Position": "1",
        "Channel": "c",
        "Count": "1",
    }
    with capture_logs() as logs:
        link._take(queue_list("support"))
        for number in range(3):
            link._take(event(**join, Uniqueid=str(number)))
            link._take(queue_list("support"))
            link._take(queue_list("support"))
    assert link.state.drift == {"caller_ghost": 3}
    assert [entry["kind"] for entry in logs if entry["event"] == "state_drift"] == ["caller_ghost"]


async def test_a_list_that_is_not_given_is_told_once_and_costs_nothing_else(
    lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(module, "RESYNC_PAUSE_S", 0.0)
    lists.refused = {"PJSIPShowRegistrationsOutbound", "DBGetTree"}
    link = link_of(lists, reconcile_s=0.01)
    with capture_logs() as logs:
        await run_until(link, lambda: lists.asked.count("DBGetTree") >= 3)
    told = [(entry["event"], entry.get("action")) for entry in logs]
    assert told == [("list_refused", "PJSIPShowRegistrationsOutbound"), ("list_refused", "DBGetTree")]


async def test_a_phone_that_comes_has_all_registrations_read_once_for_a_while(
    lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONTACTS_PAUSE_S", 0.05)
    link = link_of(lists)
    reading = asyncio.create_task(link._read_contacts_when_wanted())
    for number in range(20):
        uri = f"sip:a@{number}"
        link._take(event(Event="ContactStatus", URI=uri, ContactStatus="NonQualified", EndpointName="a"))
    while not lists.asked:  # noqa: ASYNC110 - the stand-in has no event to wait for
        await asyncio.sleep(0.005)
    kept = '{"uri":"sip:a@0","endpoint":"a","via_addr":"10.0.0.9","via_port":"5060","user_agent":"X"}'
    link._take(AmiList("DBGetTree", ({"Event": "DBGetTreeResponse", "Val": kept},), 1.0))
    assert link.state.endpoints["PJSIP/a"].contacts["sip:a@0"].address == "10.0.0.9:5060"
    link._take(event(Event="ContactStatus", URI="sip:a@0", ContactStatus="Reachable", EndpointName="a"))
    assert not link._contacts_wanted.is_set()  # where it came from is known
    assert lists.asked == ["DBGetTree"]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_an_end_that_was_announced_is_no_riddle(lists: Lists) -> None:
    link = link_of(lists)
    link._take(event(Event="Shutdown", Shutdown="Cleanly", Restart="False"))
    link._take(AmiLost("the connection broke"))
    assert link.state.links["ami"].detail == "Asterisk said that it stops (the connection broke)"
    link._take(event(Event="FullyBooted", Status="Fully Booted"))
    link._take(AmiLost("the connection broke"))
    assert link.state.links["ami"].detail == "the connection broke"
