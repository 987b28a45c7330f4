"""An upgrade keeps every row of every earlier state of the tables; a newer state is refused and left as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text

from connector.store.database import Database, NewerTables, alembic_config
from connector.store.schema import metadata

VERSIONS = Path(__file__).parents[3] / "connector/store/migrations/versions"
REVISIONS = sorted(path.name.partition("_")[0] for path in VERSIONS.glob("*.py"))


def a_row(table: sa.Table) -> dict[str, Any]:
    """Something in every column."""
    return {column.name: _something(column.type) for column in table.columns}


def _something(kind: sa.types.TypeEngine[Any]) -> Any:
    match kind:
        case sa.Boolean():
            return True
        case sa.JSON():
            return {"a": 1}
        case sa.LargeBinary():
            return b"\x00\x01"
        case sa.Float() | sa.Numeric():
            return 1_700_000_000.5
        case sa.Integer():
            return 7
        case _:
            return "text"


def _fill(connection: Connection, revision: str) -> dict[str, dict[str, Any]]:
    command.upgrade(alembic_config(connection), revision)
    there = MetaData()
    there.reflect(connection)
    rows = {}
    for table in there.sorted_tables:
        if table.name != "alembic_version":
            rows[table.name] = a_row(table)
            connection.execute(table.insert().values(rows[table.name]))
    return rows


@pytest.mark.parametrize("revision", REVISIONS)
async def test_rows_of_every_earlier_state_are_there_after_the_upgrade(url: str, revision: str) -> None:
    database = Database(url)
    async with database.write() as connection:
        before = await connection.run_sync(_fill, revision)
    await database.migrate()
    async with database.read() as connection:
        for name, row in before.items():
            (found,) = (await connection.execute(metadata.tables[name].select())).mappings().all()
            shared = row.keys() & found.keys()
            assert shared
            assert {key: found[key] for key in shared} == {key: row[key] for key in shared}
    await database.close()


async def test_tables_of_a_newer_version_are_refused_and_left_as_they_are(url: str) -> None:
    database = Database(url)
    await database.migrate()
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerTables, match=r"newer version.*docs/install\.md"):
        await database.migrate()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == "9999"
    await database.close()


async def test_the_states_are_one_line(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/history.sqlite")
    async with database.read() as connection:
        heads = await connection.run_sync(
            lambda sync: ScriptDirectory.from_config(alembic_config(sync)).get_heads(),
        )
    await database.close()
    assert heads == [REVISIONS[-1]]
