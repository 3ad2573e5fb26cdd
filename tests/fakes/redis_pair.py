"""A Redis master with one replica behind an address that fails over, as a managed Redis has it: two of the sandbox's own Valkey.

Clients know one address, a proxy's. `fail_over` takes the replica out of step, lets the master go on alone for a while, kills it with
SIGKILL and turns the address to the replica: a failover that forgets the master's last writes. Units: seconds.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from gateway.sandbox.server import free_port
from gateway.sandbox.valkey import binary
from tests.fakes.fault_proxy import FaultProxy
from tests.waiting import wait_until

_START_S = 20


@dataclass
class RedisPair:
    """Two processes and the address in front of them."""

    master: subprocess.Popen[bytes]
    replica: Redis
    replica_url: str
    proxy: FaultProxy

    @property
    def url(self) -> str:
        return self.proxy.url

    def fail_over(self, forgotten_s: float) -> None:
        """The replica takes over without what the master was told in so many seconds."""
        self.replica.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        alone_until = time.monotonic() + forgotten_s
        wait_until(lambda: time.monotonic() >= alone_until, forgotten_s + 5, "the master has gone on alone")
        self.master.kill()
        self.master.wait(10)
        self.proxy.turn_to(self.replica_url)


@contextmanager
def running_pair(home: Path) -> Iterator[RedisPair]:
    """Both in step; all are gone at the end."""
    ports = [free_port(), free_port()]
    processes = [_started(home / f"redis{n}", port) for n, port in enumerate(ports)]
    clients = [Redis(host="127.0.0.1", port=port, socket_timeout=5) for port in ports]
    try:
        for client in clients:
            wait_until(partial(_answers, client), _START_S, "Valkey answers")
        clients[1].execute_command("REPLICAOF", "127.0.0.1", ports[0])  # type: ignore[no-untyped-call]
        wait_until(
            lambda: clients[1].info("replication")["master_link_status"] == "up", _START_S, "the replica is in step"
        )
        with FaultProxy(f"redis://127.0.0.1:{ports[0]}", lambda: None) as proxy:
            yield RedisPair(processes[0], clients[1], f"redis://127.0.0.1:{ports[1]}", proxy)
    finally:
        for client, process in zip(clients, processes, strict=True):
            client.close()
            process.kill()
            process.wait(10)


def _started(home: Path, port: int) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True)
    lines = ("bind 127.0.0.1", f"port {port}", "repl-diskless-sync-delay 0", "appendonly no", 'save ""', f"dir {home}")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([str(binary()), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert process.stdin is not None
    process.stdin.write("\n".join(lines).encode() + b"\n")
    process.stdin.close()
    return process


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
