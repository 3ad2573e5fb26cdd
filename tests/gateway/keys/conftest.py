"""One database for the tests of keys: each makes accounts of its own, so that they need not have one each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from billing.database import Sessions, open_engine, sessions_of
from gateway.sandbox.stores import Stores


@pytest.fixture(scope="module")
async def sessions(stores: Stores, template: str) -> AsyncIterator[Sessions]:
    """A maker of sessions on a migrated database."""
    connection = await asyncpg.connect(stores.database_url.replace("+asyncpg", ""))
    await connection.execute(f'CREATE DATABASE keys TEMPLATE "{template}"')
    engine = open_engine(stores.database_url.rpartition("/")[0] + "/keys", connections_max=24)
    yield sessions_of(engine)
    await engine.dispose()
    await connection.execute("DROP DATABASE keys WITH (FORCE)")
    await connection.close()
