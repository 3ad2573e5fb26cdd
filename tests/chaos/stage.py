"""What chaos is played on: real stores, a simulated Solar, `solar-gateway serve` as its own processes, and a fault proxy on either side.

Nothing outlives it. Units: seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from billing.database import open_engine, sessions_of
from gateway.migrate import migrate
from gateway.sandbox.prices import post_list_prices
from gateway.sandbox.stores import Stores
from tests.chaos.disk import SmallDisk, small_disk
from tests.fakes.fault_proxy import Fault, FaultProxy, Way
from tests.running import command, inherited_environment
from tests.waiting import wait_until

WORKERS = 2
_SERVES = re.compile(r"serves on (http://\S+)/v1")
_START_S, _STOP_S = 90, 60
_TOKEN = "op-chaos"
_SPOILED_RATIO = 0.5
"""Of connections: each carries many calls."""
_SPOILED_AFTER_LOG2 = (6, 15)  # from a few bytes of a head to many calls later
_COPY = "import os\nwhile piece := os.read(0, 65536): os.write(1, piece)"
SETTINGS = {
    "GATEWAY_OPERATOR_TOKEN": _TOKEN,
    "GATEWAY_UPSTREAM_KEYS": "up_sandbox",
    "GATEWAY_OPS_PORT": "0",
    "GATEWAY_TOTAL_TIMEOUT_S": "25",
    "GATEWAY_IDLE_TIMEOUT_S": "10",
    "GATEWAY_REDIS_TIMEOUT_S": "1",
    "GATEWAY_IDEMPOTENCY_LEASE_S": "3",
    "GATEWAY_HOLD_LEASE_S": "6",
    "GATEWAY_SETTLE_RETRY_S": "1.5",  # shorter than some outages: what could be booked nowhere has to be booked later
    "GATEWAY_OFFLINE_EXPOSURE_USD": "100",
    "COLUMNS": "200",
}


@dataclass
class Stage:
    """Everything that can be called, hurt, or asked what it did."""

    stores: Stores
    solar_url: str
    serve: subprocess.Popen[bytes]
    log_path: Path
    url: str
    front: FaultProxy
    back: FaultProxy
    disk: SmallDisk
    spoiling: Callable[[bool], None]
    environment: dict[str, str]
    operator: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {_TOKEN}"}
        self.operator = httpx.Client(base_url=f"{self.url}/operator/v1", headers=headers, timeout=30, trust_env=False)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.operator.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def processes(self, module: str) -> list[psutil.Process]:
        """The gateway's processes that run a module, oldest first."""
        found = []
        for process in psutil.Process(self.serve.pid).children():
            with suppress(psutil.Error):
                if module in process.cmdline():
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def in_flight(self) -> int:
        """Calls that upstream is answering now."""
        return int(self._sim("/_sim/totals")["in_flight"])

    def truth(self) -> list[dict[str, Any]]:
        """What upstream served, by its own records."""
        records: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._sim("/_sim/truth", after=after, limit=1000)
            records += page["data"]
            after = page["next"]
        return records

    def _sim(self, path: str, **params: int) -> Any:
        return httpx.get(self.solar_url + path, params=params, trust_env=False, timeout=30).json()

    def stop(self) -> int:
        """A clean stop; returns the exit code."""
        self.operator.close()
        self.serve.send_signal(signal.SIGTERM)
        return self.serve.wait(_STOP_S)


@asynccontextmanager
async def open_stage(folder: Path, seed: str, **settings: str) -> AsyncIterator[Stage]:
    """Start it all; whatever is left at the end is killed."""
    async with Stores.open(folder / "stores") as stores:
        await asyncio.to_thread(migrate, stores.database_url)
        engine = open_engine(stores.database_url, connections_max=1)
        async with sessions_of(engine).begin() as session:
            await post_list_prices(session, datetime.now(UTC))
        await engine.dispose()
        spoil = _Spoil(seed)
        with _solar() as solar_url, FaultProxy(f"{solar_url}/v1", spoil.plan("back")) as back:
            data_dir = folder / "data"
            environment = (
                SETTINGS
                | settings
                | {
                    "GATEWAY_DATABASE_URL": stores.database_url,
                    "GATEWAY_REDIS_URL": stores.redis_url,
                    "GATEWAY_UPSTREAM_URL": back.url,
                    "GATEWAY_DATA_DIR": str(data_dir),
                }
            )
            with (
                small_disk(data_dir / "spool") as disk,
                serving(folder / "serve.log", environment) as (process, log_path, url),
                FaultProxy(url, spoil.plan("front")) as front,
            ):
                yield Stage(stores, solar_url, process, log_path, url, front, back, disk, spoil.switch, environment)


class _Spoil:
    """Which connections are spoiled, and how: by the seed and the number of the connection."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._on = False

    def switch(self, on: bool) -> None:
        self._on = on

    def plan(self, side: str) -> Callable[[], Fault | None]:
        chance = random.Random(f"{self._seed}/{side}")

        def next_fault() -> Fault | None:
            spoiled, kind, way = chance.random() < _SPOILED_RATIO, chance.random(), chance.random()
            after_bytes = int(2 ** chance.uniform(*_SPOILED_AFTER_LOG2))
            if not (spoiled and self._on):
                return None
            towards: Way = "up" if way < 0.3 else "down"
            if kind < 0.25:
                return Fault("stall", towards, after_bytes, stall_s=chance.uniform(0.2, 1.5))
            return Fault("cut" if kind < 0.6 else "reset", towards, after_bytes)

        return next_fault


@contextmanager
def _solar() -> Any:
    argv = [sys.executable, "-m", "gateway.sandbox.solar", "--port", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_STOP_S)


@contextmanager
def serving(log_path: Path, environment: dict[str, str], *, workers: int = WORKERS) -> Any:
    """`solar-gateway serve`; its log goes through a pipe, so that no limit on files reaches it."""
    inherited = inherited_environment(covered=False)
    with log_path.open("wb") as log:
        copier = subprocess.Popen(
            [sys.executable, "-c", _COPY], stdin=subprocess.PIPE, stdout=log, start_new_session=True
        )
    process = subprocess.Popen(
        [*command(), "serve", "--port", "0", "--workers", str(workers)],
        env=inherited | environment,
        stdout=copier.stdin,
        stderr=copier.stdin,
        start_new_session=True,
    )
    try:

        def serves() -> re.Match[str] | None:
            text = log_path.read_text(errors="replace")
            assert process.poll() is None, f"the gateway ended while starting: {text[-2000:]}"
            return _SERVES.search(text)

        yield process, log_path, wait_until(serves, _START_S, "the gateway serves")[1]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(_STOP_S)
        assert copier.stdin is not None
        copier.stdin.close()
        copier.wait(_STOP_S)
