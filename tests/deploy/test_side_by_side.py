"""Two versions side by side: the one before and this one, on the same stores, in a rolling upgrade and back again, under load.

Both versions' scripts work on the same counters, holds and grants in Redis, and each drains what the other appended. The schema is the
newer one, as `solar-gateway migrate` goes first; with an older schema this version does not start (test_schema.py).
"""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sandbox.world import World, open_world
from gateway.settings import Settings
from tests.deploy.files import ROOT
from tests.deploy.load import GATEWAYS, Load, new_key, truth
from tests.deploy.roles import role_of_the_file
from tests.deploy.stack import Balancer, Service, Stack
from tests.deploy.versions import VERSION_BEFORE, newest_revision, unpacked
from tests.waiting import wait_until

_SLOW = "[[sim: tokens=12 pace_ms=25]] 안녕?"
"""So that calls are under way whenever a process is replaced, and the load leaves the machine to those that start."""
_GRANT_TOKENS = 1_000
"""Used up in the middle of the load: both versions take from the grant, and both charge."""
_MANY = 1_000_000


async def replaced(load: Load, version: Path | None, *services: Service) -> None:
    """Replace some processes at once, and see calls answered by what stands there now."""
    for service in services:
        service.version = version
    assert set(await asyncio.gather(*(service.replace() for service in services))) == {0}
    good = load.outcomes["good"]
    await asyncio.to_thread(wait_until, lambda: load.outcomes["good"] > good + 12, 60, "calls are answered")


@pytest.mark.timeout(400)
async def test_a_rolling_upgrade_and_its_way_back_lose_no_call_and_no_token(tmp_path: Path) -> None:
    before = unpacked(VERSION_BEFORE, tmp_path / "before")
    assert newest_revision(before) < newest_revision(ROOT)
    async with open_world(Settings(data_dir=tmp_path / "world"), upstream_is_set=False) as world:
        environment = dict(world.environment)
        environment["GATEWAY_DATABASE_URL"] = await role_of_the_file(environment["GATEWAY_DATABASE_URL"])
        (tmp_path / "stack").mkdir()
        async with Stack.running(environment, tmp_path / "stack", workers=1, version=before) as stack:
            balancer = Balancer(stack.gateways)
            async with httpx.AsyncClient(transport=balancer, base_url=GATEWAYS, timeout=60) as client:
                await _upgraded_and_back(world, stack, client, before)


async def _upgraded_and_back(world: World, stack: Stack, client: httpx.AsyncClient, before: Path) -> None:
    limits = {"requests_per_minute": _MANY, "tokens_per_minute": _MANY * 100, "concurrency": 64}
    terms: dict[str, Any] = {"kind": "club", "monthly_cap": "1000", "limits": limits}
    headers = await new_key(client, world, grant_tokens=_GRANT_TOKENS, **terms)
    load = Load(client, headers, text=_SLOW)
    gateway_a, gateway_b = stack.gateways
    await replaced(load, None, gateway_a)  # the old jobs drain what the new one appends
    await replaced(load, None, gateway_b, stack.jobs)
    await replaced(load, before, gateway_a)  # the new jobs drain what the old one appends
    await replaced(load, before, gateway_b, stack.jobs)
    await load.over()
    assert set(load.outcomes) == {"good"}, load.outcomes
    usage = await _complete_usage(client, headers)
    calls, output_tokens, _ = truth(world)
    assert (usage["calls"], usage["output_tokens"]) == (calls, output_tokens)
    assert calls == load.outcomes["good"]
    assert usage["estimated_calls"] == 0
    await _counters_agree(client, headers, usage)


async def _complete_usage(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        usage = (await client.get("/v1/usage", headers=headers)).json()
        if usage["complete"]:
            return dict(usage["total"])
        assert time.monotonic() < deadline, usage


async def _counters_agree(client: httpx.AsyncClient, headers: dict[str, str], usage: dict[str, Any]) -> None:
    """Redis, which both versions wrote, says what the ledger says; and the ledger's money is what its tokens cost, less one grant."""
    told = (await client.get("/v1/account", headers=headers)).json()
    booked = Fraction(usage["cost"])
    # Each call is counted there in whole nano-dollars, rounded up.
    assert booked <= Fraction(told["month_to_date"]["cost"]) < booked + Fraction(usage["calls"], 10**9)
    assert Fraction(told["month_to_date"]["held"]) == 0
    models = (await client.get("/v1/models", headers=headers)).json()["data"]
    price = next(model["price"] for model in models if model["id"] == "solar-pro4")
    listed = sum(
        usage[f"{kind}_tokens"] * Fraction(price[kind]) / 10**6 for kind in ("input", "cached_input", "output")
    )
    assert Fraction(usage["list_cost"]) == listed
    assert told["grant_tokens_left"] == 0
    granted = [_GRANT_TOKENS * Fraction(price[kind]) / 10**6 for kind in ("input", "output")]
    assert granted[0] < listed - booked <= granted[1]
