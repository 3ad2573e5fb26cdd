"""The pipe of a real Redis Cluster, three masters with a replica each: who gets which command, in how many writes, and redirections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.admission.batch import Ticker
from gateway.admission.cluster import ClusterPipe, is_cluster, seeds_of
from gateway.admission.connect import open_redis, redis_answers
from gateway.settings import read_settings
from tests.fakes.redis_cluster import Cluster

SHARDS = 64


@pytest.fixture
async def pipe(cluster: Cluster) -> AsyncIterator[ClusterPipe]:
    opened = ClusterPipe(cluster.url, timeout_s=1.0, waiting_max=10_000)
    yield opened
    await opened.close()


def shards_of_master(cluster: Cluster, master: int) -> list[int]:
    return [shard for shard in range(SHARDS) if cluster.master_of(f"s{shard}") == master]


def test_a_url_names_a_cluster_and_its_shards_are_64_unless_set() -> None:
    assert seeds_of("redis+cluster://u:p@a:1,b:2") == ["redis://u:p@a:1", "redis://u:p@b:2"]
    assert seeds_of("rediss+cluster://a:1") == ["rediss://a:1"]
    assert [is_cluster(url) for url in ("redis://a", "rediss://a", "redis+cluster://a")] == [False, False, True]
    assert read_settings(redis_url="redis://a").shards == 1
    assert read_settings(redis_url="redis+cluster://a,b").shards == 64
    assert read_settings(redis_url="rediss+cluster://a", shards=16).shards == 16


async def test_shards_lie_on_all_masters_and_each_command_finds_its_own(cluster: Cluster, pipe: ClusterPipe) -> None:
    futures = pipe.ask_many([("SET", f"{{s{shard}}}:x", shard) for shard in range(SHARDS)])
    assert await asyncio.gather(*futures) == [b"OK"] * SHARDS
    held = [await node.redis.dbsize() for node in cluster.nodes[:3]]
    assert held == [len(shards_of_master(cluster, n)) for n in range(3)]
    assert all(count >= 10 for count in held)
    redis = open_redis(cluster.url, timeout_s=2, connections_max=16)
    assert await redis_answers(redis)
    assert [await redis.get(f"{{s{shard}}}:x") for shard in range(SHARDS)] == [b"%d" % n for n in range(SHARDS)]
    await redis.aclose()


async def test_the_commands_of_a_tick_leave_in_one_write_for_each_node(cluster: Cluster, pipe: ClusterPipe) -> None:
    for shard in range(3):
        await pipe.ask("SET", f"{{s{shard}}}:x", 1)
    await asyncio.gather(*pipe.ask_many([("GET", f"{{s{shard}}}:x") for shard in range(SHARDS)]))
    writes: Counter[int] = Counter()
    for at, known in enumerate(pipe._pipes.values()):
        link = known._link
        assert link is not None
        transport = link._transport

        class Counting:
            """The transport, counted."""

            def __init__(self, inner: Any, at: int) -> None:
                self._inner, self._at = inner, at

            def write(self, data: bytes) -> None:
                writes[self._at] += 1
                self._inner.write(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._inner, name)

        link._transport = Counting(transport, at)  # type: ignore[assignment]
    ticker = Ticker(pipe, batch_max=128, stream_max=1000)
    asked = [ticker.ask(shard, ("V", f"acc_{shard:08x}", [])) for shard in range(SHARDS)]
    replies = await asyncio.gather(*asked)
    assert len(replies) == SHARDS
    assert sorted(writes.values())[:1] >= [1]
    assert sum(writes.values()) <= 3 + 2 * SHARDS  # the script is loaded once for each shard that does not know it yet
    writes.clear()
    await asyncio.gather(*[ticker.ask(shard, ("V", f"acc_{shard:08x}", [])) for shard in range(SHARDS)])
    assert sorted(writes.values()) == [1, 1, 1]


async def test_moved_and_ask_are_followed_while_a_slot_changes_its_master(cluster: Cluster, pipe: ClusterPipe) -> None:
    shard = shards_of_master(cluster, 0)[0]
    key = f"{{s{shard}}}:moving"
    source, target = cluster.nodes[0], cluster.nodes[1]
    slot = int(await source.command("CLUSTER KEYSLOT", key))
    await pipe.ask("SET", key, "before")
    await target.command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
    await source.command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
    await pipe.ask("SET", f"{{s{shard}}}:new", "asked")  # not at the source: ASK
    assert await target.redis.execute_command("ASKING") is not None  # type: ignore[no-untyped-call]
    assert await pipe.ask("GET", f"{{s{shard}}}:new") == b"asked"
    for name in await source.command("CLUSTER GETKEYSINSLOT", slot, 100):
        await source.command("MIGRATE", "127.0.0.1", target.port, name.decode(), 0, 5000)
    for node in (target, source, cluster.nodes[2]):
        await node.command("CLUSTER SETSLOT", slot, "NODE", target.id)
    assert await pipe.ask("GET", key) == b"before"  # MOVED
    assert await asyncio.gather(*pipe.ask_many([("GET", key)] * 5)) == [b"before"] * 5
