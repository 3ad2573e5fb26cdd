"""All that runs while we measure: the mock, the floor, and the gateway with everything on, each where it belongs.

The measured processes (nginx's worker, the gateway's worker) share one core and are measured one after the other; stores, jobs, supervisor,
mock and load have the rest. After each measurement the ledger must hold exactly what the mock served: `settled` sees to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec

from tests.bench import calls, processes
from tests.bench.floor import Floor, nginx
from tests.bench.mock import Counts
from tests.running import Gateway
from tests.waiting import wait_until

_LEDGER_WAIT_S = 120.0
_STOP_S = 10.0
_LIMITS = {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1_000_000_000, "concurrency": 100_000}
_MONTHLY_CAP_USD = "5000000.00"


class LedgerDiffers(Exception):
    """The ledger does not hold what the mock served."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that is asked, and the processes whose CPU is its cost."""

    name: str
    url: str
    stream_url: str
    pids: list[int]


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    mock_url: str
    floor: Floor | None
    gateway: Gateway
    secret: str
    cores: processes.Cores
    work_dir: Path

    @property
    def worker_pids(self) -> list[int]:
        return processes.by_role(self.gateway.process.pid)[processes.WORKER]

    @property
    def targets(self) -> list[Target]:
        """The floor, where there is one, and the gateway."""
        ours = Target("gateway", self.gateway.url, self.gateway.url, self.worker_pids)
        if self.floor is None:
            return [ours]
        return [Target("nginx", self.floor.url, self.floor.stream_url, [self.floor.worker_pid]), ours]

    def settled(self) -> Counts:
        """What the ledger holds, once all calls have ended; raises `LedgerDiffers` where the mock served anything else."""
        found: list[tuple[Counts, Counts]] = []
        try:
            return wait_until(lambda: self._agreed(found), _LEDGER_WAIT_S, "the ledger holds what the mock served")
        except AssertionError as error:
            served, booked = found[-1]
            raise LedgerDiffers(f"the mock served {served}, the ledger holds {booked}") from error

    def _agreed(self, found: list[tuple[Counts, Counts]]) -> Counts | None:
        """A load that stops leaves calls under way behind it, which still reach both."""
        total = wait_until(self._ledger, _LEDGER_WAIT_S, "the ledger is complete")
        booked = Counts(total["calls"], total["input_tokens"] + total["cached_input_tokens"], total["output_tokens"])
        served = msgspec.json.decode(httpx.get(f"{self.mock_url}/counts", trust_env=False).content, type=Counts)
        found.append((served, booked))
        if total["estimated_calls"]:
            raise LedgerDiffers(f"{total['estimated_calls']} calls of the ledger are estimates")
        return booked if booked == served else None

    def _ledger(self) -> dict[str, Any] | None:
        today = datetime.now(UTC).date()
        days = {"from": str(today - timedelta(days=2)), "to": str(today + timedelta(days=2)), "group_by": "model"}
        with self.gateway.caller(self.secret) as caller:
            answer = caller.get("/usage", params=days)
        answer.raise_for_status()
        usage = answer.json()
        total: dict[str, Any] = usage["total"]
        return total if usage["complete"] else None


@contextmanager
def staged(work_dir: Path, door: str, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Stage]:
    """Start everything; stop everything at the end. The gateway must then exit with 0. `settings`: more of its environment."""
    cores = processes.Cores.split()
    processes.pin(os.getpid(), cores.others)  # what we start inherits it
    try:
        with _mock() as mock_url, nginx(mock_url.removeprefix("http://"), work_dir) as floor:
            environment = {
                "GATEWAY_UPSTREAM_URL": f"{mock_url}/v1",
                "GATEWAY_UPSTREAM_KEYS": calls.UPSTREAM_KEY,
                "GATEWAY_DOOR": door,
                **settings,
            }
            with Gateway.started(work_dir / "data", workers=1, environment=environment) as gateway:
                account = gateway.account(monthly_cap=_MONTHLY_CAP_USD, timezone="UTC")
                stage = Stage(mock_url, floor, gateway, gateway.key(account["id"], limits=_LIMITS), cores, work_dir)
                for target in stage.targets:
                    for pid in target.pids:
                        processes.pin(pid, cores.measured)
                yield stage
    finally:
        processes.stop_children()


@contextmanager
def _mock() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.mock"], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_STOP_S)
