"""The processes of deploy/compose.yaml without an engine: two gateways, the jobs, the stores, and what an orchestrator does to them.

Same commands, same environment, same health checks. In the place of the proxy stands a transport with the rules of a balancer: it sends to
gateways that say that they are ready, in turn, and moves on only where a connection was refused, which is before any byte was sent.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from gateway.sandbox.server import free_port
from tests.deploy.files import DEPLOY, yaml_documents
from tests.running import command, inherited_environment
from tests.waiting import wait_until

_START_S = 60
_STOP_S = 60
_PROBE_S = 0.1


def _compose_environment() -> dict[str, str]:
    [compose] = yaml_documents(DEPLOY / "compose.yaml")
    return dict(compose["services"]["gateway-a"]["environment"])


def code_of(version: Path | None) -> dict[str, str]:
    """What makes Python run the code of a version in the place of the one that is installed (with its folder as the working one)."""
    return {} if version is None else {"PYTHONPATH": str(version)}


class Service:
    """One service of the stack: a process with an ops port, started again as `restart: unless-stopped` would."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], data_dir: Path) -> None:
        self.name = name
        self.version: Path | None = None
        """The folder of another version's code, to be run in the place of ours; from the next start on."""
        self.port, self.ops_port = free_port(), free_port()
        self._arguments = arguments
        self._log_path = data_dir / f"{name}.log"
        own = {
            "GATEWAY_DATA_DIR": str(data_dir / name),
            "GATEWAY_OPS_PORT": str(self.ops_port),
            "GATEWAY_SHUTDOWN_DELAY_S": _compose_environment()["GATEWAY_SHUTDOWN_DELAY_S"],
            "COLUMNS": "200",
        }
        inherited = inherited_environment(covered=False)
        self._environment = inherited | dict(environment) | own
        (data_dir / name).mkdir()

    def start(self) -> None:
        ports = ["--port", str(self.port)] if self._arguments[0] == "serve" else []
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command(), *self._arguments, *ports],
                cwd=self.version,
                env=self._environment | code_of(self.version),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def until_ready(self) -> None:
        await asyncio.to_thread(wait_until, self.is_ready, _START_S, f"{self.name} is ready; log: {self._log_path}")

    def is_ready(self) -> bool:
        """The health check of the compose file."""
        try:
            url = f"http://127.0.0.1:{self.ops_port}/readyz"
            return httpx.get(url, timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.ops_port}/metrics", trust_env=False).text

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and give its exit code."""
        self.process.send_signal(how)
        return await asyncio.to_thread(self.process.wait, _STOP_S)

    async def replace(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and start it again, as a rolling update does; gives the exit code of the old one."""
        code = await self.stop(how)
        self.start()
        await self.until_ready()
        return code

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")


class Balancer(httpx.AsyncBaseTransport):
    """Ready gateways in turn. A refused connection moves on to the next; whatever was sent is never sent again."""

    def __init__(self, gateways: list[Service]) -> None:
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=256))
        self._gateways = gateways
        self._ready = list(gateways)
        self._turn = itertools.count()
        self._watch = asyncio.ensure_future(self._watch_readiness())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ready = self._ready or self._gateways
        start = next(self._turn)
        for offset in range(len(ready)):
            gateway = ready[(start + offset) % len(ready)]
            request.url = request.url.copy_with(host="127.0.0.1", port=gateway.port)
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                continue
        raise httpx.ConnectError("no gateway takes connections", request=request)

    async def _watch_readiness(self) -> None:
        while True:
            states = await asyncio.gather(*(asyncio.to_thread(gateway.is_ready) for gateway in self._gateways))
            self._ready = [gateway for gateway, ready in zip(self._gateways, states, strict=True) if ready]
            await asyncio.sleep(_PROBE_S)

    async def aclose(self) -> None:
        self._watch.cancel()
        await self._transport.aclose()


class Stack:
    """gateway-a, gateway-b and jobs of the compose file."""

    def __init__(self, environment: Mapping[str, str], data_dir: Path) -> None:
        serve = ["serve", "--no-jobs", "--workers", "2"]
        self.gateways = [Service(name, serve, environment, data_dir) for name in ("gateway-a", "gateway-b")]
        self.jobs = Service("jobs", ["work"], environment, data_dir)
        self.services = [*self.gateways, self.jobs]

    @classmethod
    @asynccontextmanager
    async def running(cls, environment: Mapping[str, str], data_dir: Path) -> AsyncIterator[Stack]:
        stack = cls(environment, data_dir)
        for service in stack.services:
            service.start()
        try:
            await asyncio.gather(*(service.until_ready() for service in stack.services))
            yield stack
        finally:
            codes = await asyncio.gather(*(service.stop() for service in stack.services))
        assert codes == [0] * len(codes), "\n".join(service.log()[-1000:] for service in stack.services)
