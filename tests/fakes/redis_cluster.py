"""A real Redis Cluster on loopback: three masters with a replica each, six processes of the sandbox's own Valkey, formed from here.

Formed as an operator would, without any tool: ADDSLOTSRANGE on the masters, MEET, REPLICATE (parts.md, 2026-11). A node forgets one that
it was to meet after its node timeout, and never tries again: on a busy machine that happens, so it is told again, and while the cluster is
forming the timeout is long (valkey 9.1, `clusterCron`, 2026-11-24). Afterwards a master that does not answer for `node_timeout_ms` is
replaced by its replica; the slots of the other masters are served meanwhile (`cluster-require-full-coverage no`).
Errors: `NotFormed`, with the step that hung, what each node knows, and the end of its log.
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

from gateway.sandbox.processes import log_tail
from gateway.sandbox.server import free_port
from gateway.sandbox.valkey import binary

NODE_TIMEOUT_MS = 5000
"""Of tests in which no master dies: a busy machine is no failure."""
_MASTERS, _SLOTS = 3, 16384
_FORM_S, _MEET_AGAIN_S = 120.0, 1.0
_FORMING_TIMEOUT_MS, _SETTLING_TIMEOUT_MS = 30_000, 2000
_POLL_S = 0.05
_STARTS = 3


class NotFormed(AssertionError):
    """No cluster came of the six processes."""


@dataclass
class Node:
    """One process."""

    port: int
    bus: int
    home: Path
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
    step: str = ""
    """What forming it is at."""

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
async def running_cluster(home: Path, *, node_timeout_ms: int = NODE_TIMEOUT_MS) -> AsyncIterator[Cluster]:
    """Six processes that have become one cluster; all are gone at the end."""
    cluster = Cluster()
    try:
        cluster.nodes = [_launched(home / f"node{n}") for n in range(2 * _MASTERS)]
        try:
            async with asyncio.timeout(_FORM_S):
                for place in range(len(cluster.nodes)):
                    await _answers(cluster, place)
                await _form(cluster, node_timeout_ms)
        except TimeoutError:
            raise NotFormed(await _what_is_known(cluster)) from None
        yield cluster
    finally:
        for node in cluster.nodes:
            node.process.kill()
            node.process.wait(10)
            await node.redis.aclose()


async def _answers(cluster: Cluster, place: int) -> None:
    """Wait for a node. A port that was free can be taken when it is wanted: then it is started again, with other ports."""
    cluster.step = f"node {place} answers"
    for _ in range(_STARTS):
        node = cluster.nodes[place]
        while node.process.poll() is None:
            try:
                if await node.redis.ping():
                    return
            except (RedisError, OSError):
                await asyncio.sleep(_POLL_S)
        await node.redis.aclose()
        cluster.nodes[place] = _launched(node.home.with_name(f"{node.home.name}-again"))
    raise NotFormed(f"a node does not start: {log_tail(node.home / 'log')}")


def _launched(home: Path) -> Node:
    home.mkdir(parents=True)
    port, bus = free_port(), free_port()
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"cluster-port {bus}",
        "cluster-enabled yes",
        f"cluster-config-file {home / 'nodes.conf'}",
        f"cluster-node-timeout {_FORMING_TIMEOUT_MS}",
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
    return Node(port, bus, home, process, Redis(host="127.0.0.1", port=port, socket_timeout=30))


async def _form(cluster: Cluster, node_timeout_ms: int) -> None:
    nodes, masters, replicas = cluster.nodes, cluster.nodes[:_MASTERS], cluster.nodes[_MASTERS:]
    cluster.step = "names and slots"
    for n, node in enumerate(nodes):
        node.id = _text(await node.command("CLUSTER MYID"))
        await node.command("CLUSTER SET-CONFIG-EPOCH", n + 1)
    for n, node in enumerate(masters):
        first = -(-n * _SLOTS // _MASTERS)
        last = -(-(n + 1) * _SLOTS // _MASTERS) - 1
        await node.command("CLUSTER ADDSLOTSRANGE", first, last)
    cluster.step = "each knows all"
    while unknown := [(node, other) for node in nodes for other in nodes if not await _knows(node, other)]:
        for node, other in unknown:
            await node.command("CLUSTER MEET", "127.0.0.1", other.port, other.bus)
        for _ in range(int(_MEET_AGAIN_S / _POLL_S)):
            await asyncio.sleep(_POLL_S)
            if all([await _knows(node, other) for node, other in unknown]):
                break
    await _set_timeout(nodes, _SETTLING_TIMEOUT_MS)
    for replica, master in zip(replicas, masters, strict=True):
        cluster.step = f"the node at {replica.port} follows that at {master.port}"
        await _until(lambda replica=replica, master=master: _follows(replica, master))
    for node in nodes:
        cluster.step = f"the node at {node.port} sees all slots and replicas"
        await _until(lambda node=node: _is_whole(node))
    await _set_timeout(nodes, node_timeout_ms)


async def _set_timeout(nodes: list[Node], node_timeout_ms: int) -> None:
    """Nodes also tell each other their news at least every half of this."""
    for node in nodes:
        await node.redis.config_set("cluster-node-timeout", node_timeout_ms)


async def _knows(node: Node, other: Node) -> bool:
    lines = _text(await node.command("CLUSTER NODES")).splitlines()
    return any(line.startswith(other.id) and "handshake" not in line and "noaddr" not in line for line in lines)


async def _follows(replica: Node, master: Node) -> bool:
    info: Any = await replica.redis.info("replication")
    if info.get("role") != "slave":
        await replica.command("CLUSTER REPLICATE", master.id)
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


async def _what_is_known(cluster: Cluster) -> str:
    told = [f"no cluster within {_FORM_S:g} s, at: {cluster.step}"]
    for node in cluster.nodes:
        try:
            known = _text(await node.command("CLUSTER NODES"))
        except (RedisError, OSError) as error:
            known = f"does not answer: {error!r}"
        told += [f"--- {node.port}", known, log_tail(node.home / "log")]
    return "\n".join(told)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
