"""`python -m gateway.demo`, started by `solar-gateway demo`. Exit codes: 0 the story was told; 1 it broke off, with one line saying why.

The sandbox's clock stands in the middle of last month for the calls, and a few hours into this month for the close.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, Literal

import httpx
import typer
import uvloop

from billing.periods import Month
from gateway.clock import Clock
from gateway.demo.show import Show
from gateway.demo.story import ZONE, Operator, Refused, Story
from gateway.logs import set_up_logs
from gateway.processes.stack import Stack, run_stack
from gateway.sandbox.processes import SandboxError
from gateway.sandbox.world import LOCAL_MODEL, World, open_world
from gateway.settings import SettingsError, read_settings
from solar_sdk import SolarError

OUTPUT = Path("solar-demo")
_MID_MONTH = timedelta(days=14, hours=12)
_AFTER_GRACE = timedelta(hours=3)
_KEPT_PORT = 8080


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on serving afterwards, and print a key and a curl line.")
    ] = False,
    model: Annotated[
        Literal["simulated", "local"], typer.Option(help="What answers: a simulated Solar, or a real small model.")
    ] = "simulated",
) -> None:
    """The whole story on one machine: keys, calls, a bill, a share."""
    set_up_logs("demo")
    show = Show()
    begun = time.monotonic()
    try:
        uvloop.run(_tell(show, keep=keep, local=model == "local", begun=begun))
    except (SandboxError, SettingsError, SolarError, Refused, httpx.HTTPError, OSError, TimeoutError) as error:
        show.failed(error)
        raise typer.Exit(1) from None


async def _tell(show: Show, *, keep: bool, local: bool, begun: float) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    month = _last_month()
    start, end = month.bounds(ZONE)
    with _data_dir(keep=keep) as data_dir, _log_file(data_dir) as log:
        settings = read_settings(data_dir=data_dir, ops_port=0, sandbox_clock=None)
        show.step(
            "Starting Postgres, Valkey and " + ("a real model (SmolLM2 in llama.cpp)" if local else "a simulated Solar")
        )
        async with open_world(settings, upstream_is_set=False, local_model=local) as world:
            story = Story(show, month, LOCAL_MODEL if local else "solar-pro4", local=local)
            async with _running(world, start + _MID_MONTH, 0, log, stopping) as url:
                await _unless(stopping, story.use(Operator(url, world.operator_token)))
            async with _running(world, end + _AFTER_GRACE, _KEPT_PORT if keep else 0, log, stopping) as url:
                await _unless(stopping, story.settle(Operator(url, world.operator_token), OUTPUT / str(month)))
                show.done(time.monotonic() - begun)
                if keep and not stopping.is_set():
                    show.kept(url, story.developer_key, story.model)
                    await stopping.wait()


@asynccontextmanager
async def _running(
    world: World, at: datetime, port: int, log: IO[bytes], stopping: asyncio.Event
) -> AsyncIterator[str]:
    """The gateway's processes, with a clock that starts at an instant."""
    environment = {
        **world.environment,
        "GATEWAY_CLOCK_OFFSET_NS": str(Clock.starting_at(at).offset_ns),
        "GATEWAY_OPS_PORT": "0",
    }
    ended, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    stack = asyncio.ensure_future(run_stack(Stack(port=port, log=log), environment, ended, url.set_result))
    waits = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({stack, url, waits}, return_when=asyncio.FIRST_COMPLETED)
        if stack.done():
            stack.result()
        if url.done():
            yield url.result()
        else:
            raise TimeoutError("stopped while the gateway was starting")
    finally:
        waits.cancel()
        ended.set()
        await stack


async def _unless(stopping: asyncio.Event, telling: object) -> None:
    """Tell, unless Ctrl-C comes first."""
    told = asyncio.ensure_future(telling)  # type: ignore[call-overload]
    waits = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({told, waits}, return_when=asyncio.FIRST_COMPLETED)
    waits.cancel()
    if not told.done():
        told.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await told
        raise TimeoutError("stopped")
    told.result()


@contextmanager
def _data_dir(*, keep: bool) -> Iterator[Path]:
    if keep:
        yield read_settings().data_dir.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="solar-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _log_file(data_dir: Path) -> IO[bytes]:
    data_dir.mkdir(parents=True, exist_ok=True)
    return (data_dir / "gateway.log").open("ab")


def _last_month() -> Month:
    first, _ = Month.of(datetime.now(UTC), ZONE).bounds(ZONE)
    return Month.of(first - timedelta(days=1), ZONE)


if __name__ == "__main__":
    typer.run(demo)
