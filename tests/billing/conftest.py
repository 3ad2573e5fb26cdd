"""A real Postgres for the billing tests: one server a session, one fresh database a test (a copy of a template)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
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

_numbers = itertools.count()
CONNECTIONS_MAX = 25


@pytest.fixture(scope="session")
async def template_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A database with all tables, that nobody is connected to."""
    directory: Path = tmp_path_factory.mktemp("stores")
    async with Stores.open(directory) as stores:
        engine = open_engine(stores.database_url)
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        await engine.dispose()
        yield stores.database_url


@pytest.fixture
async def sessions(template_url: str) -> AsyncIterator[Sessions]:
    """Sessions on a database of the test's own."""
    template, name = make_url(template_url), f"test_{next(_numbers)}"
    admin = open_engine(template.set(database="postgres").render_as_string(hide_password=False))
    async with admin.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f'CREATE DATABASE {name} TEMPLATE "{template.database}" STRATEGY WAL_LOG'))
    engine = open_engine(
        template.set(database=name).render_as_string(hide_password=False), connections_max=CONNECTIONS_MAX
    )
    yield sessions_of(engine)
    await engine.dispose()
    async with admin.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    await admin.dispose()
