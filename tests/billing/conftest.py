"""A real Postgres for the billing tests: one server and one engine a session, emptied tables for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

import billing.accounts.tables
import billing.club.tables
import billing.fx
import billing.invoice.tables
import billing.ledger.tables
import billing.rate_cards
import billing.share.tables  # noqa: F401 - each import registers its tables
from billing.database import Sessions, open_engine, sessions_of
from gateway.sandbox.stores import Stores

# No deadline: a busy machine is not a wrong result. A failing example is printed so that it can be played again.
settings.register_profile("billing", max_examples=60, deadline=None, print_blob=True)
settings.load_profile("billing")

CONNECTIONS_MAX = 25


@pytest.fixture(scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncEngine]:
    """An engine on a database with all tables; one for all tests, because it remembers the statements it compiled."""
    async with Stores.open(tmp_path_factory.mktemp("stores")) as stores:
        engine = open_engine(stores.database_url, connections_max=CONNECTIONS_MAX)
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        yield engine
        await engine.dispose()


@pytest.fixture
async def sessions(engine: AsyncEngine) -> Sessions:
    """Sessions on empty tables."""
    async with engine.begin() as connection:
        for table in reversed(SQLModel.metadata.sorted_tables):
            await connection.execute(table.delete())
    return sessions_of(engine)
