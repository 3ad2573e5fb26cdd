"""Keeps the processes of one machine running: N workers on one listening socket, the background jobs, the ops port.

With no workers there is no listening socket: `solar-gateway work` runs the jobs alone, with the same ops port beside them.

A child that dies is replaced at once, a child that keeps dying ever more slowly. On stop: readiness off, a while for balancers to
notice (answers tell clients to close their connections meanwhile), workers finish their calls, then the jobs drain what these settled,
then nothing is left. A roll replaces every process, one after another, while the others serve. Killed with -9, its children end with it
(lifeline.py).
Errors: `OSError` where the port is taken.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import IO

import structlog
import uvicorn

from gateway.edge.health import ops_app
from gateway.metrics import forget_process
from gateway.processes.server import LEAVING, Server

log = structlog.get_logger("supervisor")
_BACKLOG = 2048
_START_TIMEOUT_S = 120.0
_EXIT_MARGIN_S = 5.0
_RESTART_PAUSE_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 30.0


class _Child:
    """One process, and those that came before it in its place."""

    def __init__(
        self, name: str, argv: list[str], fds: tuple[int, ...], environment: Mapping[str, str], log: IO[bytes] | None
    ) -> None:
        self.name = name
        self._argv = argv
        self._fds = fds
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self._replacing = False
        self._ended = asyncio.Event()
        self._ended.set()

    async def keep_running(self, stopping: asyncio.Event) -> None:
        """Start it, and start it again whenever it ends, until stopping."""
        loop, falls = asyncio.get_running_loop(), 0
        while not stopping.is_set():
            started = loop.time()
            await self._run_once()
            if stopping.is_set():
                return
            if self._replacing:
                self._replacing = False
                continue
            falls = 0 if loop.time() - started > _STEADY_S else falls + 1
            log.error("child_died", child=self.name, falls=falls)
            with suppress(TimeoutError):
                async with asyncio.timeout(_RESTART_PAUSE_S[min(falls, len(_RESTART_PAUSE_S) - 1)]):
                    await stopping.wait()

    async def _run_once(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            pass_fds=self._fds,
            env=dict(self._environment),
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends its children in order
        )
        if self._process.stdout is not None and await self._process.stdout.readline():
            self.ready.set()
        await self._process.wait()
        forget_process(self._process.pid, self._environment["PROMETHEUS_MULTIPROC_DIR"])
        self.ready.clear()
        self._ended.set()

    def tell(self, how: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(how)

    async def replace(self, grace_s: float, stopping: asyncio.Event) -> None:
        """Stop it; `keep_running` starts the next. Returns when that works, or when everything stops."""
        if self._process is not None and self._process.returncode is None:
            self._replacing = True
            self._ended.clear()
            await self.stop(grace_s)
        waits = [asyncio.ensure_future(self._started_again()), asyncio.ensure_future(stopping.wait())]
        await asyncio.wait(waits, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _started_again(self) -> None:
        await self._ended.wait()
        await self.ready.wait()

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL once the grace time is over."""
        if self._process is None or self._process.returncode is not None:
            return
        self.tell(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            log.error("child_killed", child=self.name, grace_s=grace_s)
            with suppress(ProcessLookupError):
                self._process.kill()


class Supervisor:
    """The processes of `solar-gateway serve`."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        host: str,
        port: int,
        workers: int,
        jobs: bool,
        ops_host: str,
        ops_port: int,
        shutdown_delay_s: float,
        shutdown_grace_s: float,
        jobs_grace_s: float,
        stores_answer: Callable[[], Awaitable[bool]],
        exposition: Callable[[str], bytes],
        log: IO[bytes] | None = None,
    ) -> None:
        self._listening = _listen(host, port) if workers else None
        self._metrics_dir = tempfile.TemporaryDirectory(prefix="solar-metrics-")
        shared = {**os.environ, **environment, "PROMETHEUS_MULTIPROC_DIR": self._metrics_dir.name}
        fds = () if self._listening is None else (self._listening.fileno(),)
        python = [sys.executable, "-m"]
        self._workers = [
            _Child(f"worker {n}", [*python, "gateway.processes.worker", "--fd", str(*fds)], fds, shared, log)
            for n in range(workers)
        ]
        self._jobs = [_Child("jobs", [*python, "gateway.processes.jobs"], (), shared, log)] if jobs else []
        self._ops = Server(
            uvicorn.Config(
                ops_app(self._is_ready, lambda: exposition(self._metrics_dir.name)),
                host=ops_host,
                port=ops_port,
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            ),
            lambda: None,
        )
        self._stores_answer = stores_answer
        self._shutdown_delay_s = shutdown_delay_s
        self._shutdown_grace_s = shutdown_grace_s
        self._jobs_grace_s = jobs_grace_s
        self._rolling: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the gateway listens: (host, port); None where it has no workers."""
        if self._listening is None:
            return None
        host, port, *_ = self._listening.getsockname()
        return str(host), int(port)

    def stop(self) -> None:
        """Begin to stop; `run` returns when all is done."""
        self._stopping.set()

    def roll(self) -> None:
        """Replace every process, one after another, while the others serve. Asked again while it runs: nothing."""
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.ensure_future(self._roll())

    async def _roll(self) -> None:
        for child in [*self._workers, *self._jobs]:
            if self._stopping.is_set():
                return
            grace_s = self._jobs_grace_s if child in self._jobs else self._shutdown_grace_s
            await child.replace(grace_s + _EXIT_MARGIN_S, self._stopping)
        log.info("rolled", processes=len(self._workers) + len(self._jobs))

    async def run(self, serving: Callable[[], None]) -> None:
        """Run until stopped; `serving` is called once when every process is ready."""
        children = [*self._workers, *self._jobs]
        keeping = [asyncio.ensure_future(child.keep_running(self._stopping)) for child in children]
        ops = asyncio.ensure_future(self._ops.serve())
        try:
            await self._until_ready(children, serving)
            await self._stopping.wait()
        finally:
            self._stopping.set()
            if self._rolling is not None:
                await asyncio.wait([self._rolling])
            for child in self._workers:
                child.tell(LEAVING)
            await asyncio.sleep(self._shutdown_delay_s)
            await asyncio.gather(*(child.stop(self._shutdown_grace_s + _EXIT_MARGIN_S) for child in self._workers))
            await asyncio.gather(*(child.stop(self._jobs_grace_s + _EXIT_MARGIN_S) for child in self._jobs))
            self._ops.stop()
            await asyncio.gather(*keeping, ops)
            if self._listening is not None:
                self._listening.close()
            self._metrics_dir.cleanup()

    async def _until_ready(self, children: list[_Child], serving: Callable[[], None]) -> None:
        stopped = asyncio.ensure_future(self._stopping.wait())
        ready = asyncio.ensure_future(_all_ready(children))
        try:
            await asyncio.wait({stopped, ready}, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                serving()
            elif not stopped.done():
                raise TimeoutError(
                    f"the gateway's processes were not ready after {_START_TIMEOUT_S:g} s; see the log above"
                )
        finally:
            stopped.cancel()
            ready.cancel()

    async def _is_ready(self) -> bool:
        if self._stopping.is_set() or not all(child.ready.is_set() for child in self._workers or self._jobs):
            return False
        return await self._stores_answer()


async def _all_ready(children: list[_Child]) -> bool:
    for child in children:
        await child.ready.wait()
    return True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening
