"""A whole world on one machine: embedded stores, a migrated database with list prices, and Solar, simulated or a real small model.

Nothing of it outlives us (processes.py), and its data stay under the data directory for the next start.
Errors: `SandboxError` and its children.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from billing.database import open_engine, sessions_of
from gateway.clock import Clock
from gateway.migrate import migrate
from gateway.sandbox.prices import post_list_prices
from gateway.sandbox.processes import Child, SandboxTimeout
from gateway.sandbox.server import free_port
from gateway.sandbox.stores import Stores
from gateway.settings import Settings

_SOLAR_START_S = 20.0
_MODEL_START_S = 60.0
_STOP_S = 5.0
_POLL_S = 0.05
_UPSTREAM_KEY = "up_sandbox"
LOCAL_MODEL = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class World:
    """Where everything is: settings for the gateway's processes, and the operator's token."""

    environment: dict[str, str]
    operator_token: str
    solar_url: str
    """Upstream's base, ending in /v1."""
    stores: Stores


@asynccontextmanager
async def open_world(settings: Settings, *, upstream_is_set: bool, local_model: bool = False) -> AsyncIterator[World]:
    """Start it all; stop it all at the end."""
    clock = (
        Clock(settings.clock_offset_ns) if settings.sandbox_clock is None else Clock.starting_at(settings.sandbox_clock)
    )
    data_dir = settings.data_dir.absolute()
    async with Stores.open(data_dir) as stores:
        await asyncio.to_thread(migrate, stores.database_url)
        await _post_prices(stores.database_url, clock)
        token = _operator_token(settings, data_dir)
        environment = {
            "GATEWAY_DATABASE_URL": stores.database_url,
            "GATEWAY_REDIS_URL": stores.redis_url,
            "GATEWAY_OPERATOR_TOKEN": token,
            "GATEWAY_CLOCK_OFFSET_NS": str(clock.offset_ns),
            "GATEWAY_SANDBOX_CLOCK": "",
        }
        if upstream_is_set:
            yield _introduce(World(environment, token, settings.upstream_url, stores), data_dir)
            return
        async with _solar(data_dir, local_model=local_model) as url:
            environment |= {"GATEWAY_UPSTREAM_URL": url, "GATEWAY_UPSTREAM_KEYS": _UPSTREAM_KEY}
            yield _introduce(World(environment, token, url, stores), data_dir)


def _introduce(world: World, data_dir: Path) -> World:
    """Leave the addresses where a person (or a test) finds them, in a file that only we can read."""
    names = {"database_url": "GATEWAY_DATABASE_URL", "redis_url": "GATEWAY_REDIS_URL"}
    addresses = {name: world.environment[variable] for name, variable in names.items()} | {"solar_url": world.solar_url}
    path = data_dir / "sandbox.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(addresses, indent=2) + "\n", encoding="utf-8")
    return world


@asynccontextmanager
async def _solar(data_dir: Path, *, local_model: bool) -> AsyncIterator[str]:
    port = free_port()
    module = ["gateway.sandbox.llama", "--api-key", _UPSTREAM_KEY] if local_model else ["gateway.sandbox.solar"]
    name = "llama" if local_model else "solar"
    child = Child.spawn(
        [sys.executable, "-m", *module, "--port", str(port)],
        name=name,
        log_path=data_dir / "logs" / f"{name}.log",
        death_signal=signal.SIGTERM,
    )
    try:
        await _answers(f"http://127.0.0.1:{port}/v1/models", child, _MODEL_START_S if local_model else _SOLAR_START_S)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await child.stop(signal.SIGTERM, _STOP_S)


async def _answers(url: str, child: Child, timeout_s: float) -> None:
    headers = {"authorization": f"Bearer {_UPSTREAM_KEY}"}
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(trust_env=False, headers=headers) as client:
            while child.running:
                try:
                    if (await client.get(url)).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise SandboxTimeout(
            f"{child.name} does not answer after {timeout_s:g} s. Next: see {child.log_path}"
        ) from None
    raise SandboxTimeout(f"{child.name} ended while starting. Next: see {child.log_path}")


async def _post_prices(database_url: str, clock: Clock) -> None:
    engine = open_engine(database_url, connections_max=1)
    try:
        async with sessions_of(engine).begin() as session:
            await post_list_prices(session, clock.now())
    finally:
        await engine.dispose()


def _operator_token(settings: Settings, data_dir: Path) -> str:
    """From the settings, else made once and kept in a file that only we can read."""
    if settings.operator_token is not None:
        return settings.operator_token.get_secret_value()
    path = data_dir / "operator-token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"op-{secrets.token_urlsafe(32)}", encoding="ascii")
    return path.read_text(encoding="ascii").strip()
