"""The simulated Solar as a real process, one for all tests of this folder; its ground truth is reset before each test."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

KEY = "up_sandbox"


class Solar:
    """A running simulator and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"})

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """One request; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body, headers=named)

    def chat(self, text: str, **more: Any) -> httpx.Response:
        """One chat call with one user message."""
        body = {"model": "solar-pro4", "messages": [{"role": "user", "content": text}], **more}
        return self.post("/v1/chat/completions", body)

    def stream(self, text: str, **more: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed chat call that asked for usage."""
        body = self.chat(text, stream=True, stream_options={"include_usage": True}, **more).text
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
        assert lines.pop() == "[DONE]"
        return [json.loads(line) for line in lines]

    def truth(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """The records since the reset."""
        rows: list[dict[str, Any]] = self.http.get(f"/_sim/truth?after={after}&limit={limit}").json()["data"]
        return rows


def start_solar(*options: str) -> Solar:
    """Starts a simulator on a free port and waits for its line."""
    command = [sys.executable, "-m", "gateway.sandbox.solar", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return Solar(process, json.loads(process.stdout.readline())["port"])


def stop_solar(solar: Solar) -> int:
    """Ends it politely; its exit code."""
    solar.http.close()
    solar.process.send_signal(signal.SIGTERM)
    code = solar.process.wait(timeout=10)
    assert solar.process.stdout is not None
    solar.process.stdout.close()
    return code


@pytest.fixture(scope="session")
def solar_process() -> Iterator[Solar]:
    """The one process."""
    solar = start_solar()
    yield solar
    assert stop_solar(solar) == 0


@pytest.fixture
def solar(solar_process: Solar) -> Solar:
    """The process, with nothing on record."""
    solar_process.http.post("/_sim/reset")
    return solar_process
