"""The gateway as a user starts it: `solar-gateway serve --sandbox`, in a process of its own, and a hand for its operator.

Nothing here reaches inside: it speaks HTTP, and reads the files that the sandbox leaves for people.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import wait_until

_SERVES = re.compile(r"serves on (http://\S+)/v1")
_START_S = 150
_STOP_S = 40
_numbers = itertools.count()


def command() -> list[str]:
    """The console script of this environment."""
    return [str(Path(sys.executable).parent / "solar-gateway")]


def inherited_environment(*, covered: bool) -> dict[str, str]:
    """Ours, without settings of a gateway. `covered`: what it runs is measured too, where we are; that costs it twice its CPU, so it is
    for the gateways that many tests share, and for none of those that run under load.
    """
    left_out = ("GATEWAY_",) if covered else ("GATEWAY_", "COVERAGE_PROCESS")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log_path: Path
    operator_token: str
    addresses: Mapping[str, str]
    operator: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {self.operator_token}"}
        self.operator = httpx.Client(base_url=f"{self.url}/operator/v1", headers=headers, timeout=30, trust_env=False)

    @classmethod
    @contextmanager
    def started(
        cls, data_dir: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None, covered: bool = False
    ) -> Iterator[Gateway]:
        """Start one and stop it at the end; it must exit with 0."""
        gateway = cls.start(data_dir, workers=workers, environment=environment, covered=covered)
        try:
            yield gateway
        finally:
            gateway.operator.close()
            code = gateway.stop()
        assert code == 0, f"the gateway exited with {code}: {gateway.log()[-2000:]}"

    @classmethod
    def start(
        cls, data_dir: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None, covered: bool = False
    ) -> Gateway:
        data_dir.mkdir(parents=True, exist_ok=True)
        log_path = data_dir / f"serve-{next(_numbers)}.log"
        given = {"GATEWAY_DATA_DIR": str(data_dir), "GATEWAY_OPS_PORT": "0", "COLUMNS": "200", **(environment or {})}
        inherited = inherited_environment(covered=covered)
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command(), "serve", "--sandbox", "--port", "0", "--workers", str(workers)],
                env=inherited | given,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def serves() -> re.Match[str] | None:
            text = log_path.read_text(errors="replace")
            assert process.poll() is None, f"the gateway ended while starting: {text[-2000:]}"
            return _SERVES.search(text)

        found = wait_until(serves, _START_S, "the gateway serves")
        addresses = json.loads((data_dir / "sandbox.json").read_text())
        token_path = data_dir / "operator-token"
        token = given.get("GATEWAY_OPERATOR_TOKEN") or token_path.read_text()
        return cls(found[1], data_dir, process, log_path, token, addresses)

    @classmethod
    @contextmanager
    def beside(
        cls, other: Gateway, redis_url: str, home: Path, *, workers: int, environment: Mapping[str, str] | None = None
    ) -> Iterator[Gateway]:
        """One without a sandbox, on another's Postgres and Solar, and a Redis of its own; it must exit with 0."""
        home.mkdir(parents=True, exist_ok=True)
        inherited = inherited_environment(covered=False)
        log_path = home / f"serve-{next(_numbers)}.log"
        given = {
            "GATEWAY_DATABASE_URL": other.addresses["database_url"],
            "GATEWAY_REDIS_URL": redis_url,
            "GATEWAY_UPSTREAM_URL": other.addresses["solar_url"],
            "GATEWAY_UPSTREAM_KEYS": "up_sandbox",
            "GATEWAY_OPERATOR_TOKEN": other.operator_token,
            "GATEWAY_DATA_DIR": str(home),
            "GATEWAY_OPS_PORT": "0",
            "COLUMNS": "200",
            **(environment or {}),
        }
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command(), "serve", "--port", "0", "--workers", str(workers)],
                env=inherited | given,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def serves() -> re.Match[str] | None:
            text = log_path.read_text(errors="replace")
            assert process.poll() is None, f"the gateway ended while starting: {text[-2000:]}"
            return _SERVES.search(text)

        try:
            url = wait_until(serves, _START_S, "the gateway serves")[1]
            running = cls(url, home, process, log_path, other.operator_token, other.addresses)
            yield running
            running.operator.close()
        finally:
            process.terminate()
            code = process.wait(_STOP_S + 20)
        assert code == 0, f"the gateway exited with {code}: {log_path.read_text(errors='replace')[-2000:]}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(_STOP_S)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    # ---- the operator's hand ------------------------------------------------------------------------------------------------

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST to the operator API; must succeed."""
        answer = self.operator.post(path, json=dict(body))
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()

    def account(self, **fields: Any) -> Any:
        return self.post("/accounts", {"name": f"account {next(_numbers)}", **fields})

    def key(self, account_id: str, **fields: Any) -> str:
        """A new key's secret."""
        return str(self.post(f"/accounts/{account_id}/keys", {"name": "test", **fields})["secret"])

    def new_key(self, **fields: Any) -> str:
        """The secret of a key of a new account."""
        return self.key(self.account(**fields)["id"])

    def caller(self, secret: str, *, from_address: str | None = None, headers: Mapping[str, str] = {}) -> httpx.Client:
        """A client that calls with a gateway key, from an address of the loopback net."""
        return httpx.Client(
            base_url=f"{self.url}/v1",
            headers={"authorization": f"Bearer {secret}", **headers},
            timeout=30,
            trust_env=False,
            transport=httpx.HTTPTransport(local_address=from_address, trust_env=False),
        )

    def in_flight(self) -> int:
        """Calls that the simulated Solar is answering now."""
        base = self.addresses["solar_url"].removesuffix("/v1")
        return int(httpx.get(f"{base}/_sim/totals", trust_env=False).json()["in_flight"])

    def truth(self, after: int = 0) -> list[dict[str, Any]]:
        """What the simulated Solar served since a sequence number: its own records."""
        base = self.addresses["solar_url"].removesuffix("/v1")
        records: list[dict[str, Any]] = []
        while True:
            page = httpx.get(f"{base}/_sim/truth", params={"after": after, "limit": 1000}, trust_env=False).json()
            records += page["data"]
            if page["next"] is None:
                return records
            after = page["next"]
