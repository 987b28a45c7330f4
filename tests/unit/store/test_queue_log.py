"""queue_log becomes calls: golden files of both versions, rotated files, a table, and whatever else may stand there."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import URL, Column, DateTime, Integer, MetaData, String, Table, insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import TypeEngine

from connector.events import Outcome
from connector.records import CallRecord
from connector.store import queue_log_source
from connector.store.database import Database
from connector.store.queue_log import LogLine, Reader, Recovered, parse_line
from connector.store.queue_log_source import read_files, read_table
from connector.store.recovery import Source, recover

FIXTURES = Path(__file__).parents[2] / "fixtures" / "queue_log"
VERSIONS = pytest.mark.parametrize("version", ["16", "22"])


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def copied(version: str) -> Path:
        for source in FIXTURES.glob(f"{version}-queue_log*"):
            shutil.copy(source, tmp_path / source.name.removeprefix(f"{version}-"))
        return tmp_path / "queue_log"

    return copied


def lines_of(version: str) -> list[LogLine]:
    text = "".join((FIXTURES / f"{version}-queue_log{part}").read_text() for part in (".0", ""))
    found = [parse_line(line) for line in text.splitlines()]
    assert None not in found
    return [line for line in found if line is not None]


def read(lines: list[LogLine], *, since: float = 0.0, until: float = 1e12) -> Recovered:
    reader = Reader(
        "main", since=since, agent_of=lambda queue, name: f"id:{name}", linkedid_of=lambda uniqueid: uniqueid
    )
    reader.read(lines)
    return reader.result(until)


def summary(call: CallRecord) -> list[tuple[str, str, str]]:
    return [(visit.queue, visit.outcome.value, visit.agent) for visit in call.visits]


@VERSIONS
def test_every_end_is_what_it_was(version: str) -> None:
    found = read(lines_of(version))
    one, second = "id:Agent 1", "id:Zoë | Ünal"
    assert [summary(call) for call in found.calls] == [
        [("support", "answered", one)],
        [("support", "answered", one)],
        [("support", "answered", one), ("second", "answered", second)],
        [("support", "answered", one)],
        [("support", "abandoned", "")],
        [("support", "abandoned", "")],
        [("support", "timed_out", "")],
        [("support", "timed_out", ""), ("second", "answered", second)],
        [("keyed", "key_exit", "")],
        [("tiny", "abandoned", "")],  # redirected: the log knows no such thing
        [("tiny", "withdrawn", "")],
        [("leaving", "left_empty", "")],
        [("tiny", "unknown", "")],  # waiting when Asterisk was killed
        [("second", "answered", second)],  # talking then
        [("support", "timed_out", "")],
    ]
    assert not found.running
    assert all(call.recovered and call.number == "alice" for call in found.calls)


@VERSIONS
def test_times_transfers_and_phones_that_rang_in_vain(version: str) -> None:
    lines = lines_of(version)
    calls = read(lines).calls
    first, _, blind, attended, rang = calls[:5]
    assert first.at - first.started_at == 1
    assert first.answered_at == first.visits[0].ended_at
    assert first.visits[0].talk_s == 1
    assert first.legs == 2
    assert [visit.transferred for visit in blind.visits] == [True, False]
    assert blind.visits[0].talk_s == 3
    assert ("transfer_blind", "901") in [(entry.what, entry.detail) for entry in blind.timeline]
    assert attended.visits[0].transferred
    assert attended.visits[0].talk_s == 7
    assert rang.visits[0].rang_in_vain == 1
    assert [entry.what for entry in rang.timeline] == ["joined", "rang", "rang_in_vain", "left"]
    assert rang.timeline[1].detail == "id:Agent 1"


@VERSIONS
def test_a_gap_holds_the_calls_that_were_in_it(version: str) -> None:
    lines = lines_of(version)
    calls = read(lines).calls
    gap = calls[2]
    begin, end = gap.started_at + 1, gap.at - 1
    found = read(lines, since=begin, until=end)
    assert gap in found.calls
    assert all(call.started_at <= end and call.at >= begin for call in found.calls)
    assert calls[0] not in found.calls


@VERSIONS
def test_what_is_not_over_is_said_to_be_open(version: str) -> None:
    lines = [line for line in lines_of(version) if line.event not in ("QUEUESTART", "COMPLETECALLER")]
    found = read(lines)
    talking = {call.linkedid for call in read(lines_of(version)).calls} - {call.linkedid for call in found.calls}
    assert {call.linkedid for call in found.running} == talking != set()


@VERSIONS
async def test_rotated_files_are_read_in_order(version: str, folder: Callable[[str], Path]) -> None:
    path = folder(version)
    found = await recover(Source(place=str(path)), pbx="main", since=0.0, until=1e12)
    assert len(found.calls) == 15
    plain = (path.parent / "queue_log.0").read_bytes()
    (path.parent / "queue_log-20261121.gz").write_bytes(gzip.compress(plain))
    (path.parent / "queue_log.0").unlink()
    (path.parent / "queue_log.bak").write_text("1|x|support|NONE|ENTERQUEUE||eve|1\n")
    assert (await recover(Source(place=str(path)), pbx="main", since=0.0, until=1e12)).calls == found.calls
    assert not (await recover(Source(place=str(path)), pbx="main", since=1e11, until=1e12)).calls


def test_a_file_from_before_the_gap_is_not_opened_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name Asterisk's queue_log"):
        list(read_files(tmp_path / "queue_log", 0.0))
    (tmp_path / "queue_log.1").write_text("160|a|q|NONE|ENTERQUEUE||eve|1\n")  # a time that only reading it would show
    os.utime(tmp_path / "queue_log.1", (100, 100))
    (tmp_path / "queue_log").write_text("200|a|q|NONE|ABANDON|1|1|5\n300|b|q|NONE|ENTERQUEUE||half a li")
    assert [line.at for line in read_files(tmp_path / "queue_log", 150.0)] == [200]


def test_a_long_log_is_searched_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_log_source, "_BISECT_DOWN_TO", 200)
    path = tmp_path / "queue_log"
    path.write_text("".join(f"{at}|c{at}|q|NONE|ENTERQUEUE||eve|1\n" for at in range(1_000, 9_000)))
    for since in (0, 1_000, 4_321, 8_999, 9_000):
        assert [line.at for line in read_files(path, since)] == list(range(max(since, 1_000), 9_000))
    parsed: list[str] = []

    def noting(line: str) -> LogLine | None:
        parsed.append(line)
        return parse_line(line)

    monkeypatch.setattr(queue_log_source, "parse_line", noting)
    list(read_files(path, 8_990))
    assert len(parsed) < 50


@pytest.mark.parametrize(
    "line",
    ["", "x", "|||||", "1|2|3|4", "abc|1|2|3|4|5", "²|a|b|c|ENTERQUEUE", "\0", "1795222513|a|q|NONE|NEWEVENT|1|2"],
)
def test_lines_of_whatever_kind_do_no_harm(line: str) -> None:
    parsed = parse_line(line)
    if parsed is not None:
        assert not read([parsed]).calls


def test_numbers_that_are_none_count_as_zero() -> None:
    texts = ["1|a|q|NONE|ENTERQUEUE||eve|x", "2|a|q|Ann|CONNECT||y", "3|a|q|Ann|COMPLETEAGENT|z"]
    (call,) = read([line for text in texts if (line := parse_line(text)) is not None]).calls
    assert (call.visits[0].position, call.visits[0].ring_s, call.visits[0].talk_s) == (0, 0.0, 0.0)


def test_too_many_calls_cost_those_from_before_the_gap_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.store.queue_log.CALLS_MAX", 3)
    texts = [f"{n}|c{n}|q|NONE|ENTERQUEUE||eve|1\n{n}|c{n}|q|NONE|ABANDON|1|1|0" for n in range(1, 9)]
    lines = [line for text in texts for each in text.split("\n") if (line := parse_line(each)) is not None]
    found = read(lines, since=6.0)
    assert [call.linkedid for call in found.calls] == ["c6", "c7", "c8"]
    assert found.given_up == 0
    assert read(lines, since=2.0).given_up == 4


@VERSIONS
@pytest.mark.parametrize(
    ("column", "zone"),
    [
        (String(26), UTC),
        (String(26), ZoneInfo("Europe/Berlin")),
        (DateTime(), UTC),
        (DateTime(timezone=True), UTC),
        (Integer(), UTC),
    ],
)
async def test_a_table_says_the_same_as_the_file(
    version: str, column: TypeEngine[object], zone: ZoneInfo, url: str
) -> None:
    lines = lines_of(version)
    table = Table(
        "queue_log",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("time", column),
        *(Column(name, String(80)) for name in ("callid", "queuename", "agent", "event")),
        *(Column(f"data{n}", String(100)) for n in range(1, 6)),
    )

    def moment(at: float) -> object:
        if isinstance(column, Integer):
            return int(at)
        local = datetime.fromtimestamp(at + 0.25, zone)
        if isinstance(column, DateTime):
            return local if column.timezone else local.replace(tzinfo=None)
        return local.strftime("%Y-%m-%d %H:%M:%S.%f")

    rows = []
    for line in lines:
        # As app_queue and logger.c split it: at most five fields, the rest stays in the last.
        data = dict(zip((f"data{n}" for n in range(1, 6)), (*line.data, *[""] * 5), strict=False))
        rows.append(
            {"time": moment(line.at), "callid": line.callid, "queuename": line.queue, "agent": line.agent,
             "event": line.event, **data}
        )  # fmt: skip
    database = Database(url)
    async with database.write() as connection:
        await connection.run_sync(table.create)
        await connection.execute(insert(table), rows)
    await database.close()
    if isinstance(column, DateTime) and column.timezone and url.startswith("sqlite"):
        return  # SQLite has no such type
    taken: list[LogLine] = []
    await read_table(url, lines[5].at, password="", zone=zone, take=taken.extend)
    assert read(taken) == read([line for line in lines if line.at >= lines[5].at])
    source = Source(place=url, zone=zone)
    first = read(lines).calls[0].started_at
    found = await recover(source, pbx="main", since=first, until=1e12, agent_of=lambda queue, name: f"id:{name}")
    assert found == read(lines)


def test_an_end_of_unknown_outcome_ends_with_the_last_line_before_the_restart() -> None:
    texts = ["1|a|q|NONE|ENTERQUEUE||eve|1", "7|NONE|q|Ann|PAUSE|Tea", "999|NONE|NONE|NONE|QUEUESTART|"]
    (call,) = read([line for text in texts if (line := parse_line(text)) is not None]).calls
    assert (call.at, call.visits[0].outcome, call.visits[0].wait_s) == (7.0, Outcome.UNKNOWN, 6.0)


async def test_a_database_that_is_not_ours_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "a b?.sqlite"
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE queue_log (time TEXT, callid TEXT, queuename TEXT, agent TEXT, event TEXT, data TEXT)"
    )
    database.execute("INSERT INTO queue_log VALUES ('2026-11-21 08:00:00', 'a', 'q', 'NONE', 'ENTERQUEUE', '|eve|1')")
    database.commit()
    database.close()
    before = path.read_bytes()
    url = URL.create("sqlite", database=str(path)).render_as_string()
    found = await recover(Source(place=url), pbx="main", since=0.0, until=1e12)
    assert [call.linkedid for call in found.running] == ["a"]
    assert path.read_bytes() == before, "not even its journal mode"
    missing = tmp_path / "missing.sqlite"
    with pytest.raises(OperationalError, match="unable to open"):
        await recover(Source(place=f"sqlite:///{missing}"), pbx="main", since=0.0, until=1e12)
    assert not missing.exists()
