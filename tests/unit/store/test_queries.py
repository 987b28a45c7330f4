"""Questions to history: every filter alone and together, pages without holes, people with one owner an interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from connector.events import Outcome
from connector.records import (
    AgentInterval,
    AgentState,
    AuditRecord,
    CallRecord,
    Direction,
    QueueVisit,
    Record,
    StreamRecord,
)
from connector.store.aggregates import Aggregates, Target
from connector.store.database import Database
from connector.store.directory import KeptDirectory, KeptPerson, Taken
from connector.store.keep import keep
from connector.store.queries import History

T0 = 1_795_200_300.0
OUTCOMES = (Outcome.ANSWERED, Outcome.ABANDONED, Outcome.TIMED_OUT)


def call(number: int) -> CallRecord:
    outcome = OUTCOMES[number % 3]
    at = T0 + 100 * (number // 4) + 0.123456  # four end at the same time
    visit = QueueVisit(
        queue=f"q{number % 2}",
        uniqueid=f"u{number}",
        joined_at=at - 60,
        ended_at=at - 50,
        outcome=outcome,
        agent="ann" if outcome is Outcome.ANSWERED else "",
    )
    return CallRecord(
        pbx="main" if number % 5 else "other",
        at=at,
        linkedid=f"u{number}",
        started_at=at - 61,
        direction=Direction.INBOUND if number % 2 else Direction.OUTBOUND,
        number=str(number % 7),
        name="",
        dialled="",
        answered_at=None,
        visits=(visit,),
        timeline=(),
        legs=1,
    )


CALLS = [call(number) for number in range(60)]


async def kept(database: Database, records: list[Any]) -> History:
    async with database.write() as connection:
        await keep(connection, records, Aggregates(lambda pbx, queue: Target()))
    return History(database)


Predicate = Callable[[CallRecord], bool]


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({}, lambda call: True),
        ({"pbx": "other"}, lambda call: call.pbx == "other"),
        ({"queue": "q1"}, lambda call: call.visits[0].queue == "q1"),
        ({"agent": "ann"}, lambda call: call.visits[0].agent == "ann"),
        (
            {"outcome": "abandoned", "queue": "q0"},
            lambda call: (call.visits[0].outcome, call.visits[0].queue) == ("abandoned", "q0"),
        ),
        ({"number": "3"}, lambda call: call.number == "3"),
        ({"direction": "inbound"}, lambda call: call.direction == "inbound"),
        ({"since": T0 + 200, "until": T0 + 700}, lambda call: T0 + 200 <= call.at < T0 + 700),
        ({"number": "' OR 1=1 --"}, lambda call: False),
    ],
)  # fmt: skip
async def test_filters_and_pages(database: Database, wanted: dict[str, Any], holds: Predicate) -> None:
    history = await kept(database, CALLS)
    values = {"since": 0.0, "until": T0 * 2, **wanted}
    expected = sorted(filter(holds, CALLS), key=lambda call: (call.at, call.key), reverse=True)
    assert await history.calls(**values, limit=1_000) == expected
    found: list[CallRecord] = []
    while page := await history.calls(**values, limit=7, before=(found[-1].at, found[-1].key) if found else None):
        assert len(page) <= 7
        found += page
    assert found == expected


async def test_one_call_whole_or_none(database: Database) -> None:
    history = await kept(database, CALLS[:9])
    assert await history.call("main", "u3") == CALLS[3]
    assert await history.call("other", "u3") is None


async def test_reports_have_every_quarter_once(database: Database) -> None:
    history = await kept(database, CALLS)
    whole = await history.queue_quarters(since=0, until=T0 * 2)
    assert sum(quarter.offered for quarter in whole) == 60
    assert all(quarter.offered == sum(quarter.outcomes.values()) for quarter in whole)
    assert [(q.starts_at, q.pbx, q.queue) for q in whole] == sorted((q.starts_at, q.pbx, q.queue) for q in whole)
    last = whole[2]
    after = (last.starts_at, last.pbx, last.queue)
    assert await history.queue_quarters(since=0, until=T0 * 2, after=after, limit=3) == whole[3:6]
    only = await history.queue_quarters(since=0, until=T0 * 2, pbx="main", name="q1")
    assert only == [quarter for quarter in whole if (quarter.pbx, quarter.queue) == ("main", "q1")]
    agents = await history.agent_quarters(since=0, until=T0 * 2)
    assert sum(quarter.handled for quarter in agents) == 20
    assert {quarter.agent for quarter in agents} == {"ann"}


async def test_the_other_tables_give_back_what_was_kept(database: Database) -> None:
    intervals = [
        AgentInterval(
            pbx="main", at=T0 + n, agent=f"a{n % 2}", state=AgentState.PAUSED, reason="Tea", started_at=T0 + n - 1
        )
        for n in range(6)
    ]
    streams = [
        StreamRecord(pbx="main", at=T0 + n, stream_id=f"s{n}", uniqueid="u", profile="echo", cause="c", detail="d",
                     started_at=T0, setup_s=None if n else 0.5, stats={"packets_in": n})
        for n in range(3)
    ]  # fmt: skip
    deeds = [
        AuditRecord(pbx="", at=T0, id=f"d{n}", actor="kim", action="x.y", target="t", result="ok") for n in range(3)
    ]
    records: list[Record] = [*intervals, *streams, *deeds]
    history = await kept(database, records)
    span: dict[str, Any] = {"since": T0, "until": T0 + 100}
    assert await history.agent_intervals(**span) == intervals[::-1]
    assert await history.agent_intervals(**span, agent="a1", limit=2) == [intervals[5], intervals[3]]
    assert await history.streams(**span, before=(streams[2].at, streams[2].key)) == [streams[1], streams[0]]
    assert await history.audit(**span, actor="kim") == deeds[::-1]
    assert await history.audit(**span, action="other") == []


async def test_people_are_added_changed_and_removed(database: Database) -> None:
    directory = KeptDirectory(database)
    ann = KeptPerson(id="ann", name="Änn", teams=("a", "b"), skills="x", interfaces=(("main", "PJSIP/ann"),))
    bob = KeptPerson(id="bob", name="Bob", source="learned")
    await directory.add(bob, now=1.0)
    await directory.add(ann, now=1.0)
    assert await directory.people() == [ann, bob]
    changed = msgspec.structs.replace(ann, interfaces=(("main", "PJSIP/a2"), ("main", "PJSIP/ann")), teams=())
    await directory.replace(changed, now=2.0)
    assert await directory.people() == [changed, bob]
    await directory.remove("ann")
    assert await directory.people() == [bob]
    await directory.replace(msgspec.structs.replace(bob, interfaces=ann.interfaces), now=3.0)


async def test_an_id_and_an_interface_have_one_owner(database: Database) -> None:
    directory = KeptDirectory(database)
    mine = (("main", "PJSIP/ann"),)
    await directory.add(KeptPerson(id="ann", name="Ann", interfaces=mine), now=1.0)
    with pytest.raises(Taken, match="the interface PJSIP/ann belongs to ann"):
        await directory.add(KeptPerson(id="bob", name="Bob", interfaces=mine), now=1.0)
    with pytest.raises(Taken, match="id"):
        await directory.add(KeptPerson(id="ann", name="Other"), now=1.0)
    await directory.add(KeptPerson(id="bob", name="Bob", interfaces=(("other", "PJSIP/ann"),)), now=1.0)
    with pytest.raises(Taken):
        await directory.replace(KeptPerson(id="bob", name="Bob", interfaces=mine), now=1.0)
    assert [person.interfaces for person in await directory.people()] == [mine, (("other", "PJSIP/ann"),)]
    for missing in (directory.remove("eve"), directory.replace(KeptPerson(id="eve", name=""), now=1.0)):
        with pytest.raises(KeyError):
            await missing
