"""A Redis Cluster for all tests of one run that kill none of its nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.redis_cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
async def masters_and_replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three masters with a replica each."""
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def cluster(masters_and_replicas: Cluster) -> Cluster:
    """The same, empty."""
    await masters_and_replicas.flush()
    return masters_and_replicas
