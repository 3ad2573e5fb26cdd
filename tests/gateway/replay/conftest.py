"""One Valkey that workers know, for the tests of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.sandbox.stores import Stores
from tests.gateway.replay.works import Works


@pytest.fixture
async def works(stores: Stores, redis: Redis) -> AsyncIterator[Works]:
    running = Works(stores.redis_url, redis)
    await running.beat("w1")
    yield running
    await running.close()
