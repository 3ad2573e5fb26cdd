"""Migrations: forward, back, repeated, raced; and the models say what the newest one made."""

from __future__ import annotations

import asyncio
import os

import asyncpg
from alembic import command

from gateway.migrate import configuration, migrate
from tests import running


async def tables(database_url: str) -> set[str]:
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows}


async def test_the_models_and_the_newest_migration_say_the_same(database_url: str) -> None:
    await asyncio.to_thread(command.check, configuration(database_url))


async def test_they_go_back_to_nothing_and_forward_again_and_may_be_repeated_and_raced(database_url: str) -> None:
    before = await tables(database_url)
    await asyncio.to_thread(command.downgrade, configuration(database_url), "base")
    assert await tables(database_url) == {"alembic_version"}
    assert await asyncio.gather(*(migrated(database_url) for _ in range(4))) == [0] * 4
    await asyncio.to_thread(migrate, database_url)
    assert await tables(database_url) == before


async def migrated(database_url: str) -> int:
    """`solar-gateway migrate` in a process of its own; gives its exit code."""
    process = await asyncio.create_subprocess_exec(
        *running.command(), "migrate", env={**os.environ, "GATEWAY_DATABASE_URL": database_url}
    )
    return await process.wait()
