"""One migrated database and one engine for all billing tests, with emptied tables for each: an engine remembers the
statements that it compiled, and most of these tests are shorter than the making of a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

import billing.accounts.tables
import billing.club.tables
import billing.collect.tables
import billing.fx
import billing.invoice.tables
import billing.ledger.tables
import billing.payouts.tables
import billing.rate_cards
import billing.reconcile.tables
import billing.share.tables  # noqa: F401 - each import registers its tables
from billing.database import Sessions, open_engine, sessions_of
from gateway.migrate import migrate
from gateway.sandbox.stores import Stores

# No deadline: a busy machine is not a wrong result. A failing example is printed so that it can be played again.
settings.register_profile("billing", max_examples=60, deadline=None, print_blob=True)
settings.load_profile("billing")

CONNECTIONS_MAX = 25
"""More than the closers of the race test, so that they meet in Postgres and not in the pool."""

_DETACHED = "SELECT relname FROM pg_class WHERE relname ~ '^ledger_entry_[0-9]{6}$' AND NOT relispartition"
"""Months that a test took out of the ledger: its entries go with the test."""


@pytest.fixture(scope="session")
async def engine(stores: Stores) -> AsyncIterator[AsyncEngine]:
    """An engine on the migrated database that the server was born with (no other test uses that one)."""
    await asyncio.to_thread(migrate, stores.database_url)
    engine = open_engine(stores.database_url, connections_max=CONNECTIONS_MAX)
    yield engine
    await engine.dispose()


@pytest.fixture
async def sessions(engine: AsyncEngine) -> Sessions:
    """Sessions on empty tables."""
    async with engine.begin() as connection:
        for table in reversed(SQLModel.metadata.sorted_tables):
            await connection.execute(table.delete())
        for name in (await connection.execute(text(_DETACHED))).scalars().all():
            await connection.execute(text(f"DROP TABLE {name}"))
    return sessions_of(engine)
