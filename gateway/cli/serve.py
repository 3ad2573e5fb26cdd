"""What runs the gateway: `serve`, `work`, `migrate`, `demo`.

Errors: `SettingsError` ends with 2; `SandboxError`, `OSError` and `TimeoutError` with 1, each with one line saying why.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
import uvloop

from billing.database import StorageError
from gateway.cli.terminal import fail, say
from gateway.logs import set_up_logs
from gateway.migrate import migrate as migrate_database
from gateway.processes.stack import Stack, run_stack
from gateway.sandbox.processes import SandboxError
from gateway.sandbox.world import World, open_world
from gateway.settings import Settings, SettingsError, read_settings

app = typer.Typer()


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        uvloop.run(main)
    except SettingsError as error:
        fail(error, 2)
    except (SandboxError, OSError, TimeoutError) as error:
        fail(error, 1)


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsError as error:
        fail(error, 2)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes that share the port.")] = 1,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Bring your own stores and a simulated Solar.")] = False,
    no_jobs: Annotated[
        bool, typer.Option("--no-jobs", help="Leave the background jobs to `solar-gateway work`.")
    ] = False,
) -> None:
    """The gateway."""
    settings = _settings()
    if settings.sandbox_clock is not None and not sandbox:
        fail(SettingsError("GATEWAY_SANDBOX_CLOCK: the clock can be set in a sandbox only; add --sandbox"), 2)
    set_up_logs("supervisor")
    stack = Stack(host=host, port=port, workers=workers, jobs=not no_jobs)
    _run(_serve(settings, stack, sandbox=sandbox))


async def _serve(settings: Settings, stack: Stack, *, sandbox: bool) -> None:
    stopping = _stopping()
    async with _world(settings, sandbox=sandbox) as world:
        environment = {} if world is None else world.environment

        def serving(url: str) -> None:
            say(f"solar-gateway serves on {url}/v1  (documentation: {url}/schema)")
            if world is not None and settings.operator_token is None:
                say(f"operator token: in {settings.data_dir.absolute() / 'operator-token'}")

        await run_stack(stack, environment, stopping, serving)


def _stopping() -> asyncio.Event:
    """Set once someone asks this process to stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    return stopping


@asynccontextmanager
async def _world(settings: Settings, *, sandbox: bool) -> AsyncIterator[World | None]:
    if not sandbox:
        yield None
        return
    async with open_world(settings, upstream_is_set="GATEWAY_UPSTREAM_URL" in os.environ) as world:
        yield world


@app.command()
def work() -> None:
    """The background jobs (drain, sweep) on their own, with health and metrics on the ops port."""
    set_up_logs("supervisor")
    settings = _settings()
    if settings.sandbox_clock is not None:
        fail(SettingsError("GATEWAY_SANDBOX_CLOCK: the clock can be set in a sandbox only"), 2)
    _run(_work())


async def _work() -> None:
    await run_stack(Stack(workers=0), {}, _stopping(), lambda _: say("solar-gateway works"))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema; safe to repeat, safe to race."""
    settings = _settings()
    if settings.database_url is None:
        fail(SettingsError("GATEWAY_DATABASE_URL is needed, such as postgresql://user:password@host/database"), 2)
    try:
        migrate_database(settings.database_url.get_secret_value(), app_role=settings.app_role)
    except (OSError, StorageError) as error:
        fail(error, 1)
    say("The database has the newest schema.")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
def demo(context: typer.Context) -> None:
    """The whole story on one machine: keys, calls, a bill, a share. [--keep] [--model local]"""
    # The demo is a client: it calls through the SDK, which a server has no need of.
    os.execv(sys.executable, [sys.executable, "-m", "gateway.demo", *context.args])  # noqa: S606
