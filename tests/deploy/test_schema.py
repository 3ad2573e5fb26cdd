"""A version that meets the schema of an older one does not start, and says what to do; a newer schema will do."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from gateway.migrate import lacking
from tests import running
from tests.deploy.test_upgrades import revisions, to


def test_what_is_older_lacks_the_newest_revision_and_what_is_newer_lacks_nothing() -> None:
    *older, newest = revisions()
    assert {lacking(revision) for revision in (None, *older)} == {newest}
    assert lacking(newest) is None
    assert lacking("9999") is None


@pytest.mark.parametrize("found", ["the schema before", "no schema"])
async def test_gateways_and_jobs_refuse_to_start_on_a_schema_that_is_too_old(database_url: str, found: str) -> None:
    *_, before, newest = revisions()
    await to(database_url, "base" if found == "no schema" else before)
    if found == "no schema":
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        await connection.execute("DROP TABLE alembic_version")
        await connection.close()
    words = "no schema" if found == "no schema" else f"the schema {before}"
    code, told = await started(database_url, "work")
    assert code == 2
    assert f"the database has {words}, this version needs {newest}. Next: `solar-gateway migrate`" in " ".join(
        told.split()
    )
    assert "Traceback" not in told


async def started(database_url: str, *command: str) -> tuple[int | None, str]:
    """Start a command that is expected to end; gives its exit code and what it said."""
    environment = running.inherited_environment(covered=False) | {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_REDIS_URL": "redis://127.0.0.1:1",
        "GATEWAY_OPS_PORT": "0",
        "COLUMNS": "200",
    }
    process = await asyncio.create_subprocess_exec(
        *running.command(),
        *command,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        told, _ = await process.communicate()
    return process.returncode, told.decode()
