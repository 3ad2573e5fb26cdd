"""Fixtures that all tests share: real stores, a fresh migrated database, and the whole gateway as its own processes."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from billing.database import Sessions, open_engine, sessions_of
from gateway.migrate import migrate
from gateway.sandbox.stores import Stores
from tests.running import Gateway

_TEMPLATE = "migrated"
_PROXIES = {"GATEWAY_TRUSTED_PROXIES": "127.0.9.0/24"}
_numbers = itertools.count()
# pytest-xdist's workers are told a width, which the commands that tests start would take for a terminal's.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """A real Postgres and a real Valkey, for the whole run."""
    async with Stores.open(tmp_path_factory.mktemp("stores")) as running:
        yield running


@pytest.fixture(scope="session")
async def template(stores: Stores) -> str:
    """A migrated database that fresh ones are copied from."""
    await _administer(stores, f'CREATE DATABASE "{_TEMPLATE}"')
    await asyncio.to_thread(migrate, _named(stores, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
async def database_url(stores: Stores, template: str) -> AsyncIterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    await _administer(stores, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield _named(stores, name)
    await _administer(stores, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    """A maker of sessions on a fresh, migrated database."""
    engine = open_engine(database_url, connections_max=24)
    yield sessions_of(engine)
    await engine.dispose()


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    """An empty Valkey."""
    client = Redis.from_url(stores.redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`solar-gateway serve --sandbox --workers 2`, as a user starts it."""
    with Gateway.started(tmp_path_factory.mktemp("gateway"), workers=2, environment=_PROXIES, covered=True) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(two_workers: Gateway) -> Gateway:
    return two_workers


@pytest.fixture(scope="session", params=["protocol", "asgi"])
def either_door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same, once for each door of inference: before ASGI, and on an ordinary route."""
    if request.param == "protocol":
        yield request.getfixturevalue("two_workers")
        return
    environment = {"GATEWAY_DOOR": "asgi", **_PROXIES}
    with Gateway.started(tmp_path_factory.mktemp("asgi"), workers=2, environment=environment, covered=True) as running:
        yield running


def _named(stores: Stores, name: str) -> str:
    return stores.database_url.rpartition("/")[0] + f"/{name}"


async def _administer(stores: Stores, statement: str) -> None:
    connection = await asyncpg.connect(stores.database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name == "bench" else None
