"""The application's database role: enough to do all that the gateway does, and nothing by which what was written could be changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from billing.accounts import store as accounts
from billing.database import Sessions, StorageError, open_engine, sessions_of
from gateway.migrate import APPEND_ONLY, MAY_DELETE, migrate
from tests.billing.months import MID_NOVEMBER, account, book, call, close, contribute, plan
from tests.deploy.roles import new_role

NOW = datetime(2026, 10, 15, tzinfo=UTC)
DELETION = 'DELETE FROM "{table}"'
CHANGES = (
    DELETION,
    "UPDATE {table} SET {column} = {column}",
    "TRUNCATE {table}",
    "ALTER TABLE {table} ADD COLUMN more text",
    "DROP TABLE {table}",
    "SELECT * FROM {table} FOR UPDATE",
)


@pytest.fixture
async def app_url(database_url: str) -> str:
    """The database as the application's role sees it."""
    return await new_role(database_url)


@pytest.fixture
async def app(app_url: str) -> AsyncIterator[Sessions]:
    engine = open_engine(app_url, connections_max=4)
    yield sessions_of(engine)
    await engine.dispose()


@pytest.fixture
async def connection(app_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(app_url.replace("+asyncpg", ""))
    yield opened
    await opened.close()


async def used(app: Sessions) -> str:
    """An account whose calls are in the ledger, in two months, with a partner that shares in it."""
    payer, partner = await account(app), await account(app, kind="club")
    await contribute(app, partner, 150_000_000)
    await plan(app, "0.10")
    assert await book(app, call(payer, grants=(("gra_1", "output", 10),)), call(payer), call(partner)) == 3
    assert await book(app, call(payer, at=MID_NOVEMBER), at=MID_NOVEMBER) == 1
    return payer


async def test_the_ledger_is_written_and_a_month_is_closed_under_it(app: Sessions) -> None:
    payer = await used(app)
    closed = await close(app)
    assert {draft.account_id for draft in closed.invoices} >= {payer}
    async with app.begin() as session:
        await accounts.change(session, payer, {"name": "Changed"}, "test", NOW)


@pytest.mark.parametrize("table", [*APPEND_ONLY, "ledger_entry_202610"])
async def test_what_was_written_can_be_neither_changed_nor_deleted_nor_emptied(
    app: Sessions, connection: asyncpg.Connection, table: str
) -> None:
    await used(app)
    await close(app)
    column = await connection.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 LIMIT 1", table
    )
    for statement in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement.format(table=table, column=column))


async def test_nothing_can_be_deleted_but_what_is_named_and_nothing_made(
    app: Sessions, connection: asyncpg.Connection
) -> None:
    await used(app)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 25
    for row in tables:
        if row["tablename"] in MAY_DELETE:
            continue
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(DELETION.format(table=row["tablename"]))
    for statement in ("CREATE TABLE own (id int)", "CREATE ROLE other", "CREATE SCHEMA own"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_the_function_makes_partitions_of_the_ledger_and_nothing_else(
    app: Sessions, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "CREATE TEMPORARY TABLE ledger_entry (partition_month int) PARTITION BY LIST (partition_month)"
    )
    await connection.execute("SELECT ledger_partition(202703)")
    parent = await connection.fetchval(
        "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = 'public.ledger_entry_202703'::regclass"
    )
    assert parent == "public.ledger_entry"
    for month in (202713, 0, -1):
        with pytest.raises(asyncpg.RaiseError):
            await connection.execute("SELECT ledger_partition($1)", month)


async def test_a_role_that_is_not_there_or_owns_the_tables_is_refused_and_nothing_is_migrated(
    database_url: str,
) -> None:
    for role, words in (("nobody_of_that_name", "there is no database role"), ("solar", "owns the tables")):
        with pytest.raises(StorageError, match=words):
            await asyncio.to_thread(migrate, database_url, app_role=role)
