"""The simulated Solar in a process of its own, to be killed and started again at the same port."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx


class SolarProcess:
    """Starts at a free port, and keeps it."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gateway.sandbox.solar", "--port", str(self.port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = json.loads(self._process.stdout.readline())["port"]

    def kill(self) -> None:
        """As a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def fault(self, key: str, does: str) -> None:
        """From now on a key has this fault; an empty one ends it."""
        answer = self._ask("POST", f"/_sim/fault?key={key}&does={does}")
        assert answer.is_success

    def truth(self) -> list[dict[str, Any]]:
        """What it did, call by call, since it was started."""
        rows: list[dict[str, Any]] = self._ask("GET", "/_sim/truth?after=0&limit=10000").json()["data"]
        return rows

    def _ask(self, method: str, path: str) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=10)


@contextmanager
def a_solar_process(*options: str) -> Iterator[SolarProcess]:
    """One that runs for the length of a block, whatever was done to it meanwhile."""
    process = SolarProcess(*options)
    try:
        yield process
    finally:
        process.stop()
