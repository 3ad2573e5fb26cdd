"""The application's database role, as an administrator makes it: it may connect, and owns nothing."""

from __future__ import annotations

import asyncio
import itertools

import asyncpg
from sqlalchemy.engine import make_url

from gateway.migrate import migrate
from gateway.sandbox.postgres import binaries
from tests.deploy.files import DEPLOY

_numbers = itertools.count()


async def role_of_the_file(database_url: str) -> str:
    """The role of deploy/roles.sql, made by Postgres's own psql as in compose.yaml; the address under which it connects."""
    owner = make_url(database_url)
    command = [str(binaries() / "psql"), "-v", "ON_ERROR_STOP=1", "-q", "-f", str(DEPLOY / "roles.sql")]
    plain = owner.set(drivername="postgresql").render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(*command, plain)
    assert await process.wait() == 0
    await _administer(database_url, "ALTER ROLE solar_app PASSWORD 'of-a-test'")
    await asyncio.to_thread(migrate, database_url, app_role="solar_app")
    return owner.set(username="solar_app", password="of-a-test").render_as_string(hide_password=False)


async def _administer(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def new_role(database_url: str) -> str:
    """Make a role, give it what `solar-gateway migrate` gives, and return the address under which it connects."""
    name = f"solar_app_{next(_numbers)}"
    await _administer(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'of-a-test'")
    await asyncio.to_thread(migrate, database_url, app_role=name)
    return make_url(database_url).set(username=name, password="of-a-test").render_as_string(hide_password=False)
