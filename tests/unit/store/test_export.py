"""Exports: every table in both forms, nothing that a spreadsheet would run, memory that does not grow."""

from __future__ import annotations

import csv
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connector import cli
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
    TimelineEntry,
)
from connector.store import schema
from connector.store.aggregates import Aggregates, Target
from connector.store.database import Database
from connector.store.export import TABLES, NoParquet, export, plain_text
from connector.store.keep import keep

T0 = 1_795_200_300.0
FORMS = pytest.mark.parametrize("form", ["csv", "parquet"])


def call(number: int, name: str = "Zoë") -> CallRecord:
    at = T0 + number
    visit = QueueVisit(
        queue="support",
        uniqueid=f"u{number}",
        joined_at=at - 60,
        ended_at=at - 50,
        outcome=Outcome.ANSWERED,
        agent="ann",
    )
    return CallRecord(
        pbx="main", at=at, linkedid=f"u{number}", started_at=at - 61.5, direction=Direction.INBOUND, number="+49 30 1",
        name=name, dialled="100", answered_at=None, visits=(visit,), legs=2,
        timeline=(TimelineEntry(at=at, what="joined"),),
    )  # fmt: skip


def records() -> list[Record]:
    return [
        call(1, "=cmd|'/c calc'!A1"), call(2),
        AgentInterval(pbx="main", at=T0, agent="ann", state=AgentState.PAUSED, reason="@SUM(1)", started_at=T0 - 9),
        StreamRecord(pbx="main", at=T0, stream_id="s", uniqueid="u", profile="p", cause="c", detail="d,\n\"e\"",
                     started_at=T0, setup_s=None, stats={"packets_in": 5}),
        AuditRecord(pbx="main", at=T0, id="a", actor="kim", action="x", target="t", result="ok"),
    ]  # fmt: skip


async def fill(database: Database, what: list[Record]) -> None:
    for start in range(0, len(what), 500):
        async with database.write() as connection:
            await keep(connection, what[start : start + 500], Aggregates(lambda pbx, queue: Target()))


def read(path: Path, form: str) -> list[dict[str, Any]]:
    if form == "parquet":
        return list(pq.read_table(path).to_pylist())
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path, pattern: str) -> list[str]:
    return [path.name for path in folder.glob(pattern)]


@FORMS
async def test_every_table_can_be_had(database: Database, tmp_path: Path, form: str) -> None:
    await fill(database, records())
    counts = {}
    for table in TABLES:
        path = tmp_path / f"{table}.{form}"
        counts[table] = await export(database, table, since=0, until=T0 * 2, file=path, form=form)
        assert len(read(path, form)) == counts[table]
        assert await export(database, table, since=0, until=T0 * 2, file=path, form=form, pbx="other") == 0
        assert read(path, form) == []
    assert counts == {
        "calls": 2, "visits": 2, "timeline": 2, "agent_intervals": 1, "queues": 1, "agents": 1, "streams": 1,
        "audit": 1,
    }  # fmt: skip
    assert not names(tmp_path, "*.part")


@FORMS
async def test_values_are_what_was_kept(database: Database, tmp_path: Path, form: str) -> None:
    await fill(database, records())
    path = tmp_path / "calls"
    assert await export(database, "calls", since=T0 + 1, until=T0 + 2, file=path, form=form) == 1
    (row,) = read(path, form)
    began = datetime.fromtimestamp(T0 + 1 - 61.5, UTC)
    if form == "csv":
        assert row["started_at"] == began.isoformat(timespec="milliseconds")
        assert (row["name"], row["number"], row["answered_at"]) == ("'=cmd|'/c calc'!A1", "+49 30 1", "")
    else:
        assert row["started_at"] == began
        assert (row["name"], row["number"], row["answered_at"]) == ("=cmd|'/c calc'!A1", "+49 30 1", None)
        assert row["recovered"] is False
    await export(database, "streams", since=0, until=T0 * 2, file=path, form=form)
    (row,) = read(path, form)
    assert (row["detail"], row["stats"]) == ('d,\n"e"', '{"packets_in":5}')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, f"'{text}") for text in ("=1+1", "@x", "+cmd", "-2+3", "\tx")),
        *((text, text) for text in ("+49 (30) 1-2", "-7", "Ann", "")),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_shown(text: str, shown: str) -> None:
    assert plain_text(text) == shown


@FORMS
async def test_memory_does_not_grow_with_the_rows(tmp_path: Path, form: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/h.sqlite")
    await database.migrate()
    peaks = []
    rows = 0
    for more in (10_000, 40_000):
        async with database.write() as connection:
            await connection.execute(
                schema.timeline.insert(),
                [
                    {"call_key": f"main/{n}", "seq": 0, "at": T0 + n, "what": "joined", "detail": "x" * 50}
                    for n in range(rows, rows + more)
                ],
            )
        rows += more
        tracemalloc.start()
        assert await export(database, "timeline", since=0, until=T0 * 2, file=tmp_path / "out", form=form) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    await database.close()
    assert peaks[1] < 2 * peaks[0]


async def test_without_pyarrow_it_says_how_to_get_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NoParquet, match=r"pip install 'asterisk-connector\[export\]'"):
        await export(database, "calls", since=0, until=1, file=tmp_path / "calls.parquet", form="parquet")
    assert not names(tmp_path, "calls*")


def test_the_commands(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (
        ("PBX__MAIN__AMI__SECRET", "x"),
        ("PBX__MAIN__ARI__PASSWORD", "x"),
        ("STORE__URL", url),
        ("STORE__DIRECTORY", str(tmp_path)),
    ):
        monkeypatch.setenv(f"CONNECTOR__{key}", value)
    monkeypatch.setattr("connector.logs.configure", lambda settings: None)
    path = tmp_path / "calls.csv"
    assert cli.main(["export", "calls", str(path)]) == 1, "there are no tables yet"
    assert "calls" in capsys.readouterr().err
    assert not names(tmp_path, "calls*")
    assert cli.main(["db", "upgrade"]) == 0
    assert cli.main(["export", "calls", str(path), "--from", "2026-11-21", "--to", "2026-11-22T08:00:00+01:00"]) == 0
    assert capsys.readouterr().out == f"{path}: 0 rows\n"
    assert path.read_text().startswith("key,pbx,linkedid,started_at,")
    assert cli.main(["export", "nothing", str(path)]) == 2
    assert "there are: calls, visits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["export", "calls", str(path), "--from", "yesterday"])
    assert "2026-11-21T08:00" in capsys.readouterr().err
