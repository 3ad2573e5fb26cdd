"""Kills, pauses and restarts, one after another, each while calls are open. Which one when follows from the seed. Units: seconds."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway.sandbox.server import Server
from tests.chaos.stage import Stage

_OPEN_WAIT_S = 5.0
_FORGOTTEN_S = 1.0
_WORKER, _JOBS = "gateway.processes.worker", "gateway.processes.jobs"


@dataclass(frozen=True)
class Struck:
    """One fault that was done (or several at once), how many calls were open then, at clients and at upstream, and how long it took."""

    at_s: float
    kind: str
    open_at_clients: int
    open_upstream: int
    from_ns: int
    until_ns: int


class Saboteur:
    """Does faults to a stage."""

    def __init__(self, stage: Stage, open_calls: Callable[[], int], chance: random.Random) -> None:
        self._stage = stage
        self._open_calls = open_calls
        self._chance = chance
        self.struck: list[Struck] = []

    async def run(self, kinds: Sequence[str], seconds: float, pause_s: tuple[float, float], at_once: int = 1) -> None:
        """One fault after another, or so many at once, each kind once before any comes again, until the time is over and each has come."""
        begun = time.monotonic()
        left: list[str] = []
        while time.monotonic() - begun < seconds or len(self.struck) < len(kinds):
            await asyncio.sleep(self._chance.uniform(*pause_s))
            if not left:
                left = self._chance.sample(list(kinds), len(kinds))
            chosen = [left.pop()]
            for kind in [*left, *kinds]:
                if len(chosen) < at_once and _can_be_at_once([*chosen, kind]):
                    chosen.append(kind)
            open_upstream = await self._until_open()
            at_s, open_calls, from_ns = round(time.monotonic() - begun, 2), self._open_calls(), time.time_ns()
            await asyncio.gather(*(FAULTS[kind](self) for kind in chosen))
            self.struck.append(Struck(at_s, " + ".join(chosen), open_calls, open_upstream, from_ns, time.time_ns()))

    async def _until_open(self) -> int:
        """Kills must fall on open calls: wait for one, within a bound."""
        deadline = time.monotonic() + _OPEN_WAIT_S
        while True:
            count = await asyncio.to_thread(self._stage.in_flight)
            if count or time.monotonic() > deadline:
                return count
            await asyncio.sleep(0.02)

    # ---- the gateway's processes --------------------------------------------------------------------------------------------

    def _signal(self, module: str, how: signal.Signals) -> psutil.Process | None:
        processes = self._stage.processes(module)
        if not processes:
            return None
        process = self._chance.choice(processes)
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
        return process

    async def kill_worker(self) -> None:
        self._signal(_WORKER, signal.SIGKILL)

    async def restart_worker(self) -> None:
        self._signal(_WORKER, signal.SIGTERM)

    async def kill_jobs(self) -> None:
        self._signal(_JOBS, signal.SIGKILL)

    async def _pause(self, module: str, seconds: float) -> None:
        process = self._signal(module, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    async def pause_worker(self) -> None:
        await self._pause(_WORKER, 1.2)

    async def pause_jobs(self) -> None:
        await self._pause(_JOBS, 1.2)

    # ---- the stores ---------------------------------------------------------------------------------------------------------

    async def _kill_store(self, store: Server) -> None:
        await store.kill()
        await asyncio.sleep(self._chance.uniform(0.1, 0.6))
        await store.start()

    async def kill_redis(self) -> None:
        await self._kill_store(self._stage.stores.valkey)

    async def kill_postgres(self) -> None:
        await self._kill_store(self._stage.stores.postgres)

    async def pause_redis(self) -> None:
        redis = psutil.Process(self._stage.stores.valkey.pid)
        redis.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.3, 1.5))
        redis.send_signal(signal.SIGCONT)

    async def fail_over_redis(self) -> None:
        """To a replica that lacks the last writes: Redis comes back with what it had a second ago."""
        valkey = self._stage.stores.valkey
        files, replica = valkey.home / "appendonlydir", valkey.home.with_name("replica")
        await asyncio.to_thread(_copy, files, replica)
        await asyncio.sleep(_FORGOTTEN_S)
        await valkey.kill()
        await asyncio.to_thread(shutil.rmtree, files)
        await asyncio.to_thread(replica.rename, files)
        await valkey.start()

    # ---- the disk of the journals -------------------------------------------------------------------------------------------

    async def fill_disk(self) -> None:
        """The journal's disk is full while Redis is away: there is nowhere to book a call, for longer than a settlement is tried."""
        disk = self._stage.disk
        await asyncio.to_thread(disk.fill, self._stage.processes(_WORKER))
        await self._stage.stores.valkey.kill()
        await asyncio.sleep(self._chance.uniform(1.0, 2.5))
        await self._stage.stores.valkey.start()
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        await asyncio.to_thread(disk.empty, self._stage.processes(_WORKER))


def _can_be_at_once(kinds: Sequence[str]) -> bool:
    """No two of one target: each would undo the other."""
    targets = ["redis" if kind == "fill disk" else kind.split()[-1] for kind in kinds]
    return len(set(targets)) == len(targets)


def _copy(source: Path, target: Path) -> None:
    """A folder with its owners: the store runs as another user where we are root."""
    shutil.copytree(source, target)
    for path in (source, *source.rglob("*")):
        owner = path.stat()
        os.chown(target / path.relative_to(source), owner.st_uid, owner.st_gid)


FAULTS: dict[str, Callable[[Saboteur], Awaitable[None]]] = {
    "kill worker": Saboteur.kill_worker,
    "restart worker": Saboteur.restart_worker,
    "pause worker": Saboteur.pause_worker,
    "kill jobs": Saboteur.kill_jobs,
    "pause jobs": Saboteur.pause_jobs,
    "kill redis": Saboteur.kill_redis,
    "pause redis": Saboteur.pause_redis,
    "kill postgres": Saboteur.kill_postgres,
    "fail over redis": Saboteur.fail_over_redis,
    "fill disk": Saboteur.fill_disk,
}
