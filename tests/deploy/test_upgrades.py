"""Migrations of a database that is in use: there and back with its money unhurt, and never in the way of the version before."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from billing.database import Sessions
from gateway.migrate import configuration, migrate
from tests.deploy.filled import facts_of, fill

FIRST_RELEASE = "0007"
"""From here on two versions may run side by side, so that a migration only expands; those before were never released."""

_COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable = 'YES' AS may_be_null, column_default IS NOT NULL AS has_default
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name NOT LIKE 'ledger_entry\\_%' AND table_name <> 'alembic_version'"""
_KEYS = """
SELECT conrelid::regclass::text || ': ' || pg_get_constraintdef(oid) AS key FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('u', 'c', 'f', 'p') AND conparentid = 0"""


def revisions() -> list[str]:
    """All revisions, oldest first."""
    script = ScriptDirectory.from_config(configuration("postgresql://nowhere"))
    return [revision.revision for revision in script.walk_revisions()][::-1]


async def shape(url: str) -> tuple[dict[tuple[str, str], Any], set[str]]:
    """(table and column → its type, whether it may be left out; the constraints)."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        columns = {(row["table_name"], row["column_name"]): row for row in await connection.fetch(_COLUMNS)}
        return columns, {row["key"] for row in await connection.fetch(_KEYS)}
    finally:
        await connection.close()


async def to(url: str, revision: str) -> None:
    going = command.downgrade if revision < await current(url) else command.upgrade
    await asyncio.to_thread(going, configuration(url), revision)


async def current(url: str) -> str:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return str(await connection.fetchval("SELECT version_num FROM alembic_version"))
    finally:
        await connection.close()


async def test_a_filled_database_goes_back_to_the_first_release_and_forward_again_with_its_money(
    database_url: str, sessions: Sessions
) -> None:
    await fill(sessions)
    before = await facts_of(database_url)
    await to(database_url, FIRST_RELEASE)
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    kept = tuple((await connection.fetch("SELECT count(*), sum(cost), max(place) FROM ledger_entry"))[0])
    await connection.close()
    assert kept == (before.sums[0][0], before.sums[0][1], before.sums[0][4])
    await asyncio.to_thread(migrate, database_url)
    assert await facts_of(database_url) == before


async def test_each_migration_since_the_first_release_leaves_the_version_before_it_working(database_url: str) -> None:
    await to(database_url, FIRST_RELEASE)
    old_columns, old_keys = await shape(database_url)
    later = [revision for revision in revisions() if revision > FIRST_RELEASE]
    assert later
    for revision in later:
        await to(database_url, revision)
        columns, keys = await shape(database_url)
        tables = {table for table, _ in old_columns}
        for name, old in old_columns.items():
            now = columns.get(name)
            assert now is not None, f"{revision} takes away {name}, which the version before still reads"
            assert now["data_type"] == old["data_type"], f"{revision} changes the type of {name}"
            assert now["may_be_null"] >= old["may_be_null"], (
                f"{revision} demands {name}, which the version before may leave out"
            )
        for name in columns.keys() - old_columns.keys():
            optional = columns[name]["may_be_null"] or columns[name]["has_default"]
            assert optional or name[0] not in tables, f"{revision} adds {name}, which the version before does not write"
        added = {key for key in keys - old_keys if key.partition(":")[0] in tables}
        assert added == set(), f"{revision} adds rules to tables that the version before writes"
        old_columns, old_keys = columns, keys


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ("ALTER TABLE account ADD COLUMN planted text NOT NULL", "does not write"),
        ("ALTER TABLE account DROP COLUMN name", "still reads"),
    ],
)
async def test_a_migration_that_contracts_would_be_found(database_url: str, planted: str, words: str) -> None:
    old, _ = await shape(database_url)
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    await connection.execute(planted)
    await connection.close()
    new, _ = await shape(database_url)
    gone, added = old.keys() - new.keys(), new.keys() - old.keys()
    assert {name for _, name in gone} == ({"name"} if words == "still reads" else set())
    assert {name for _, name in added} == ({"planted"} if words == "does not write" else set())
    assert not any(new[name]["may_be_null"] or new[name]["has_default"] for name in added)
