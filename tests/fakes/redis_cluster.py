"""A real Redis Cluster on loopback: three masters with a replica each, six processes of the sandbox's own Valkey, formed from here.

Formed as an operator would, without any tool: ADDSLOTSRANGE on the masters, MEET, REPLICATE (parts.md, 2026-11). A master that does not
answer for `NODE_TIMEOUT_MS` is replaced by its replica; the slots of the other masters are served meanwhile
(`cluster-require-full-coverage no`).
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from gateway.sandbox.server import free_port
from gateway.sandbox.valkey import binary

NODE_TIMEOUT_MS = 1000
_MASTERS, _SLOTS = 3, 16384
_FORM_S = 40.0
_POLL_S = 0.05


@dataclass
class Node:
    """One process."""

    port: int
    process: subprocess.Popen[bytes]
    redis: Redis
    id: str = ""

    async def command(self, *words: str | int) -> Any:
        """Any command, as it stands in the documentation; its answer as it comes (redis-py reads only commands of one word)."""
        first, *rest = words
        return await self.redis.execute_command(*str(first).split(), *rest)  # type: ignore[no-untyped-call]


@dataclass
class Cluster:
    """Masters at 0 to 2, the replica of each at 3 to 5."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def master_of(self, key: str) -> int:
        """Which of the three masters a key belonged to at first."""
        return key_slot(key.encode()) * _MASTERS // _SLOTS

    def kill(self, index: int) -> None:
        """kill -9."""
        self.nodes[index].process.send_signal(signal.SIGKILL)
        self.nodes[index].process.wait(10)

    async def leads(self, index: int) -> bool:
        """Is this node a master with slots now?"""
        nodes: Any = await self.nodes[index].command("CLUSTER NODES")
        text = nodes.decode() if isinstance(nodes, bytes) else str(nodes)
        return any("myself,master" in line and line.split()[8:] for line in text.splitlines())

    async def flush(self) -> None:
        for node in self.nodes[:_MASTERS]:
            await node.redis.flushall()


@asynccontextmanager
async def running_cluster(home: Path) -> AsyncIterator[Cluster]:
    """Six processes that have become one cluster; all are gone at the end."""
    cluster = Cluster()
    try:
        for n in range(2 * _MASTERS):
            cluster.nodes.append(_started(home / f"node{n}"))
        async with asyncio.timeout(_FORM_S):
            await _form(cluster)
        yield cluster
    finally:
        for node in cluster.nodes:
            node.process.kill()
            node.process.wait(10)
            await node.redis.aclose()


def _started(home: Path) -> Node:
    home.mkdir(parents=True)
    port = free_port()
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"cluster-port {free_port()}",
        "cluster-enabled yes",
        f"cluster-config-file {home / 'nodes.conf'}",
        f"cluster-node-timeout {NODE_TIMEOUT_MS}",
        "cluster-require-full-coverage no",
        "cluster-replica-validity-factor 0",
        "repl-diskless-sync-delay 0",
        "appendonly no",
        'save ""',
        f"dir {home}",
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([str(binary()), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        process.stdin.write("\n".join(lines).encode() + b"\n")
        process.stdin.close()
    return Node(port, process, Redis(host="127.0.0.1", port=port, socket_timeout=5))


async def _form(cluster: Cluster) -> None:
    nodes = cluster.nodes
    for n, node in enumerate(nodes):
        await _until(node.redis.ping)
        node.id = _text(await node.command("CLUSTER MYID"))
        await node.command("CLUSTER SET-CONFIG-EPOCH", n + 1)
    for n, node in enumerate(nodes[:_MASTERS]):
        first = -(-n * _SLOTS // _MASTERS)
        last = -(-(n + 1) * _SLOTS // _MASTERS) - 1
        await node.command("CLUSTER ADDSLOTSRANGE", first, last)
    buses = [await _bus_port(node) for node in nodes]
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        await nodes[0].command("CLUSTER MEET", "127.0.0.1", node.port, bus)
    for node in nodes:
        await _until(lambda node=node: _knows(node, len(nodes)))
    for n, node in enumerate(nodes[_MASTERS:]):
        await node.command("CLUSTER REPLICATE", nodes[n].id)
    for node in nodes[_MASTERS:]:
        await _until(lambda node=node: _is_in_step(node))
    for node in nodes:
        await _until(lambda node=node: _is_whole(node))


async def _bus_port(node: Node) -> int:
    return int(str((await node.redis.config_get("cluster-port"))["cluster-port"]))


async def _knows(node: Node, count: int) -> bool:
    text = _text(await node.command("CLUSTER NODES"))
    return len([line for line in text.splitlines() if "handshake" not in line]) == count


async def _is_in_step(node: Node) -> bool:
    info: Any = await node.redis.info("replication")
    return bool(info.get("role") == "slave" and info.get("master_link_status") == "up")


async def _is_whole(node: Node) -> bool:
    slots: Any = await node.command("CLUSTER SLOTS")
    state = _text(await node.command("CLUSTER INFO"))
    return "cluster_state:ok" in state and len(slots) == _MASTERS and all(len(part) >= 4 for part in slots)


async def _until(condition: Any) -> None:
    """Within the bound of forming the cluster."""
    while True:
        try:
            if await condition():
                return
        except (RedisError, OSError):
            pass
        await asyncio.sleep(_POLL_S)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
