"""The stack of deploy/compose.yaml as plain processes: a rolling restart loses no call, and what is killed is right again by itself."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest

from gateway.sandbox.world import World, open_world
from gateway.settings import Settings
from tests.deploy.load import CALLERS, GATEWAYS, Load, body_of, new_key, truth
from tests.deploy.roles import role_of_the_file
from tests.deploy.stack import Balancer, Stack
from tests.waiting import wait_until


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Stores with the newest schema, and Solar."""
    async with open_world(Settings(data_dir=tmp_path_factory.mktemp("world")), upstream_is_set=False) as opened:
        # As in compose.yaml: who migrates owns the tables, the gateways and the jobs have a role that may only use them.
        opened.environment["GATEWAY_DATABASE_URL"] = await role_of_the_file(opened.environment["GATEWAY_DATABASE_URL"])
        yield opened


@pytest.fixture(scope="module")
async def stack(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack.running(world.environment, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=Balancer(stack.gateways), base_url=GATEWAYS, timeout=60) as balanced:
        yield balanced


async def test_both_gateways_and_the_jobs_are_replaced_under_load_without_one_failed_call(
    world: World, stack: Stack, client: httpx.AsyncClient
) -> None:
    headers = await new_key(client, world)
    _, _, before = truth(world)
    load = Load(client, headers)
    codes = [await service.replace() for service in stack.services]
    await load.over()
    assert codes == [0, 0, 0]
    assert set(load.outcomes) == {"good"}, load.outcomes
    usage = (await client.get("/v1/usage", headers=headers)).json()
    assert usage["complete"] is True
    assert usage["total"]["estimated_calls"] == 0
    calls, output_tokens, _ = truth(world, before)
    assert (usage["total"]["calls"], usage["total"]["output_tokens"]) == (calls, output_tokens)
    assert calls == load.outcomes["good"]


async def struck(world: World, stack: Stack, victim: str) -> None:
    """Kill -9 one process, and have it started again by whoever does that: the supervisor, or `restart: unless-stopped`."""
    if victim in ("valkey", "postgres"):
        store = world.stores.valkey if victim == "valkey" else world.stores.postgres
        await store.kill()
        await store.start()
        return
    name, _, module = victim.partition("'s ")
    [service] = [service for service in stack.services if service.name == name]
    if not module:
        assert await service.replace(signal.SIGKILL) == -signal.SIGKILL
        return
    children = psutil.Process(service.process.pid).children()
    next(child for child in children if f"gateway.processes.{module}" in child.cmdline()).kill()


@pytest.mark.parametrize(
    "victim",
    ["gateway-a", "jobs", "gateway-b's worker", "jobs's jobs", "valkey", "postgres"],
    ids=lambda victim: victim,
)
async def test_any_one_process_that_is_killed_is_right_again_by_itself_service_and_money(
    world: World, stack: Stack, client: httpx.AsyncClient, victim: str
) -> None:
    headers = await new_key(client, world)
    load = Load(client, headers)
    await asyncio.to_thread(wait_until, lambda: load.outcomes["good"] > 0, 30, "calls are answered")
    await struck(world, stack, victim)
    await asyncio.gather(*(service.until_ready() for service in stack.services))
    good = load.outcomes["good"]
    await asyncio.to_thread(wait_until, lambda: load.outcomes["good"] > good, 30, "calls are answered again")
    await load.over()

    def in_the_ledger() -> bool:
        url = f"http://127.0.0.1:{stack.gateways[1].port}/v1/usage"
        answer = httpx.get(url, headers=headers, trust_env=False, timeout=30)
        usage: dict[str, Any] = answer.json() if answer.is_success else {"complete": False}
        return bool(usage["complete"] and load.outcomes["good"] <= usage["total"]["calls"] <= load.outcomes.total())

    await asyncio.to_thread(wait_until, in_the_ledger, 60, "each answered call is in the ledger, and none twice")
    failed = {outcome: count for outcome, count in load.outcomes.items() if outcome != "good"}
    if victim in ("gateway-a", "gateway-b's worker"):
        # Only what the killed one had in its hands may fail: at most one call of each caller.
        assert sum(failed.values()) <= CALLERS, json.dumps(failed)
    elif victim in ("valkey", "postgres"):
        # Nothing is risked without Redis here (GATEWAY_OFFLINE_EXPOSURE_USD), and a worker that meets a key for the first time while
        # Postgres is away cannot know it: refused in one way, clearly, and not charged.
        # What grants pay of a call that is settled meanwhile is not known yet: its answer is whole, and says no cost.
        costless = {o for o in failed if o.startswith("200 ") and o.endswith("data: [DONE]\n\n")}
        assert all(outcome.startswith(("503", "200")) for outcome in failed), json.dumps(failed)
        assert victim == "valkey" or not costless
    else:
        assert failed == {}, json.dumps(failed)


def told(stack: Stack, name: str, **labels: str) -> float:
    """The sum of a series over both gateways."""
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    lines = [line for gateway in stack.gateways for line in gateway.metrics().splitlines() if line.startswith(name)]
    found = [line for line in lines if line[len(name)] in " {" and all(label in line for label in wanted)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def test_a_call_under_way_is_told_with_its_hold_and_once_over_with_its_seconds(
    world: World, stack: Stack, client: httpx.AsyncClient
) -> None:
    headers = await new_key(client, world)
    streams = told(stack, "solar_first_event_seconds_count")
    refused = told(stack, "solar_refusals_total", code="model_not_found")
    text = "[[sim: tokens=40 pace_ms=60]]"
    body = body_of(stream=True, messages=[{"role": "user", "content": text}], max_tokens=1000)
    call = asyncio.ensure_future(client.post("/v1/chat/completions", json=body, headers=headers))

    def under_way() -> bool:
        series = ("solar_calls_in_flight", "solar_open_holds", "solar_held_nano_usd")
        return all(told(stack, name) > 0 for name in series)

    await asyncio.to_thread(wait_until, under_way, 20, "the call and its hold are told")
    assert (await call).is_success
    nobody = await client.post("/v1/chat/completions", json=body_of(model="no-such"), headers=headers)
    assert nobody.status_code == 404

    def over() -> bool:
        return told(stack, "solar_calls_in_flight") == told(stack, "solar_open_holds") == 0 and (
            told(stack, "solar_first_event_seconds_count") == streams + 1
            and told(stack, "solar_refusals_total", code="model_not_found") == refused + 1
        )

    await asyncio.to_thread(wait_until, over, 20, "nothing is under way any more")
    assert told(stack, "solar_upstream_seconds_count") == told(stack, "solar_added_seconds_count") > 0


async def test_each_service_tells_its_metrics_and_the_jobs_have_no_public_port(stack: Stack) -> None:
    for service in stack.services:
        assert "solar_" in service.metrics()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", stack.jobs.port)
