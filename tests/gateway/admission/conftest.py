"""An empty shard for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.sandbox.stores import Stores
from tests.gateway.admission.shard import Shard, open_redis


@pytest.fixture
async def shard(stores: Stores, redis: Redis) -> AsyncIterator[Shard]:
    """A worker on an empty Valkey."""
    client = open_redis(stores.redis_url)
    made = Shard(client)
    yield made
    await made.pipe.close()
    await client.aclose()
