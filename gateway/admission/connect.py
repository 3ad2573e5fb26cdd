"""Opens the two ways to Redis: the thin pipe of the one script, and redis-py for everything else; to one Redis or to a cluster.

A URL beginning with `redis+cluster://` (or, over TLS, `rediss+cluster://`) names a cluster by some of its nodes, comma separated.
Bounded in connections and in time, without retries of its own: what may be repeated is decided where it is asked.
"""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.admission.cluster import ClusterPipe, is_cluster, seeds_of
from gateway.admission.pipe import Pipe

AnyPipe: TypeAlias = "Pipe | ClusterPipe"
AnyRedis: TypeAlias = "Redis | RedisCluster"


def open_pipe(url: str, *, timeout_s: float, waiting_max: int) -> AnyPipe:
    """The hot path's own connection, or one to each master."""
    kind = ClusterPipe if is_cluster(url) else Pipe
    return kind(url, timeout_s=timeout_s, waiting_max=waiting_max)


def open_redis(url: str, *, timeout_s: float, connections_max: int) -> AnyRedis:
    """redis-py's own client."""
    if not is_cluster(url):
        return Redis.from_url(
            url,
            max_connections=connections_max,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    seeds = [parse_url(seed) for seed in seeds_of(url)]
    nodes = [ClusterNode(str(seed.get("host", "127.0.0.1")), int(seed.get("port", 6379))) for seed in seeds]
    return RedisCluster(
        startup_nodes=nodes,
        username=seeds[0].get("username"),
        password=seeds[0].get("password"),
        ssl=urlsplit(url).scheme == "rediss+cluster",
        require_full_coverage=False,  # accounts of masters that live go on
        max_connections=connections_max,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


async def redis_answers(redis: AnyRedis) -> bool:
    """Does it answer; of a cluster: does any node?"""
    if isinstance(redis, RedisCluster):
        return bool(await redis.ping(target_nodes=RedisCluster.RANDOM))
    return bool(await redis.ping())
