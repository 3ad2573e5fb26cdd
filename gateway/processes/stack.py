"""Runs the gateway's processes for a command: reads what the environment and a sandbox say, and supervises until stopped.

SIGHUP replaces the processes one after another while the others serve.
Errors: `SettingsError`, `OSError` where the port is taken, `TimeoutError` where a process does not get ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from gateway.app import open_house
from gateway.metrics import exposition
from gateway.processes.supervisor import Supervisor
from gateway.settings import SettingsError, read_settings
from gateway.traces import TracesMissing, check_traces


@dataclass(frozen=True, slots=True)
class Stack:
    """What to run."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    jobs: bool = True
    log: IO[bytes] | None = None
    """Where the children's logs go; stderr if not given."""


async def run_stack(
    stack: Stack, environment: Mapping[str, str], stopping: asyncio.Event, serving: Callable[[str], None]
) -> None:
    """Run until `stopping`; `serving` is told the base URL ("" where there are no workers) once every process is ready."""
    os.environ.update(environment)
    settings = read_settings()
    try:
        check_traces(settings.traces_url)
    except TracesMissing as error:
        raise SettingsError(f"{error}") from None
    async with open_house(settings) as house:
        supervisor = Supervisor(
            environment,
            host=stack.host,
            port=stack.port,
            workers=stack.workers,
            jobs=stack.jobs,
            ops_host=settings.ops_host,
            ops_port=settings.ops_port,
            shutdown_delay_s=settings.shutdown_delay_s if stack.workers else 0,
            shutdown_grace_s=settings.shutdown_grace_s + settings.shutdown_linger_s + settings.settle_retry_s,
            jobs_grace_s=settings.drain_stop_s,
            stores_answer=house.stores_answer,
            exposition=exposition,
            log=stack.log,
        )
        url = _url(supervisor.address)
        watch = asyncio.ensure_future(_stop_when(stopping, supervisor))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.roll)
        try:
            await supervisor.run(lambda: serving(url))
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            watch.cancel()


def _url(address: tuple[str, int] | None) -> str:
    if address is None:
        return ""
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop_when(stopping: asyncio.Event, supervisor: Supervisor) -> None:
    await stopping.wait()
    supervisor.stop()
