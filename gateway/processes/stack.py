"""Runs the gateway's processes for a command: reads what the environment and a sandbox say, and supervises until stopped.

SIGHUP replaces the processes one after another while the others serve.
Errors: `SettingsError`, also where the database has the schema of an older version (a newer one will do); `OSError` where the port is
taken, `TimeoutError` where a process does not get ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

import structlog

from billing.database import Sessions, StorageError, revision_of
from gateway.app import open_house
from gateway.metrics import exposition
from gateway.migrate import lacking
from gateway.processes.supervisor import Supervisor
from gateway.settings import SettingsError, read_settings
from gateway.traces import TracesMissing, check_traces

log = structlog.get_logger("supervisor")


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
        await _check_schema(house.sessions)
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


async def _check_schema(sessions: Sessions) -> None:
    """An older schema is no place to start in: each call would be served, and none could be booked."""
    try:
        revision = await revision_of(sessions)
    except (StorageError, OSError, TimeoutError) as error:
        log.warning("schema_unknown", why=type(error).__name__)  # Postgres is away: we start, and wait for it
        return
    if needed := await asyncio.to_thread(lacking, revision):
        found = "no schema" if revision is None else f"the schema {revision}"
        raise SettingsError(
            f"GATEWAY_DATABASE_URL: the database has {found}, this version needs {needed}. Next: `solar-gateway migrate`"
        )


def _url(address: tuple[str, int] | None) -> str:
    if address is None:
        return ""
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop_when(stopping: asyncio.Event, supervisor: Supervisor) -> None:
    await stopping.wait()
    supervisor.stop()
