"""The stack of deploy/compose.yaml as plain processes: a rolling change to another version and back loses no call, and what is killed is
right again by itself.
"""

from __future__ import annotations

import asyncio
import collections
import json
import re
import shutil
import signal
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.sandbox.server import free_port
from gateway.sandbox.world import World, open_world
from gateway.settings import Settings
from tests.deploy.files import ROOT
from tests.deploy.load import CALLERS, GATEWAYS, Load, body_of, complete_usage, counters_agree, new_key, truth
from tests.deploy.prometheus import prometheus_says, scraping, ups
from tests.deploy.proxy import nginx, nginx_before
from tests.deploy.roles import role_of_the_file
from tests.deploy.stack import Balancer, Service, Stack
from tests.deploy.test_monitoring import expressions, rules
from tests.deploy.versions import VERSION_BEFORE, newest_revision, unpacked
from tests.waiting import wait_until

_SLOW = "[[sim: tokens=12 pace_ms=25]] 안녕?"
"""So that calls are under way whenever a process is replaced, and the load leaves the machine to those that start."""
_GRANT_TOKENS = 1_000
"""Used up in the middle of the load: both versions take from the grant, and both charge."""
_MANY = 1_000_000
_REFUSED = "503 service_unavailable with retry-after"
_AGAIN_S = 10
"""Once all say that they are ready, nothing fails for longer than this (a circuit is probed every 50 ms; the rest is a busy machine's)."""


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


async def replaced(load: Load, version: Path | None, *services: Service) -> None:
    """Replace some processes at once, by a version's, and see calls answered by what stands there now."""
    for service in services:
        service.version = version
    assert set(await asyncio.gather(*(service.replace() for service in services))) == {0}
    good = load.outcomes["good"]
    await asyncio.to_thread(wait_until, lambda: load.outcomes["good"] > good + 12, 60, "calls are answered")


@pytest.mark.timeout(400)
async def test_a_rolling_change_to_the_version_before_and_back_loses_no_call_and_no_token(
    world: World, stack: Stack, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    """Both versions' scripts work on the same counters, holds and grants, and each drains what the other appended. The schema is the newer
    one, as `solar-gateway migrate` goes first; with an older schema this version does not start (test_schema.py).
    """
    before = unpacked(VERSION_BEFORE, tmp_path / "before")
    assert newest_revision(before) < newest_revision(ROOT)
    limits = {"requests_per_minute": _MANY, "tokens_per_minute": _MANY * 100, "concurrency": 64}
    terms: dict[str, Any] = {"kind": "club", "monthly_cap": "1000", "limits": limits}
    headers = await new_key(client, world, grant_tokens=_GRANT_TOKENS, **terms)
    _, _, truth_before = truth(world)
    load = Load(client, headers, text=_SLOW)
    gateway_a, gateway_b = stack.gateways
    await replaced(load, before, gateway_a, stack.jobs)  # the old jobs drain what the new gateway appends
    await replaced(load, before, gateway_b)
    await replaced(load, None, gateway_a, stack.jobs)  # the new jobs drain what the old gateway appends
    await replaced(load, None, gateway_b)
    await load.over()
    assert set(load.outcomes) == {"good"}, load.outcomes
    usage = await complete_usage(client, headers)
    calls, output_tokens, _ = truth(world, truth_before)
    assert (usage["calls"], usage["output_tokens"]) == (calls, output_tokens)
    assert calls == load.outcomes["good"]
    assert usage["estimated_calls"] == 0
    await counters_agree(client, headers, usage, _GRANT_TOKENS)


async def struck(world: World, stack: Stack, victim: str, load: Load) -> tuple[float, float]:
    """Kill -9 one process, and have it started again by whoever does that: the supervisor, or `restart: unless-stopped`.

    A store stays away for a while, in which callers go on; gives from when to when it surely was (the same instant for the others).
    """
    if victim in ("valkey", "postgres"):
        store = world.stores.valkey if victim == "valkey" else world.stores.postgres
        await store.kill()
        dead_s, calls = time.monotonic(), load.outcomes.total()
        await asyncio.to_thread(wait_until, lambda: load.outcomes.total() >= calls + 4 * CALLERS, 60, "callers go on")
        back_s = time.monotonic()
        await store.start()
        return dead_s, back_s
    name, _, module = victim.partition("'s ")
    [service] = [service for service in stack.services if service.name == name]
    if module:
        children = psutil.Process(service.process.pid).children()
        next(child for child in children if f"gateway.processes.{module}" in child.cmdline()).kill()
    else:
        assert await service.replace(signal.SIGKILL) == -signal.SIGKILL
    return (time.monotonic(),) * 2


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
    await asyncio.to_thread(wait_until, lambda: load.outcomes["good"] >= 4 * CALLERS, 30, "calls are answered")
    dead_s, back_s = await struck(world, stack, victim, load)
    await asyncio.gather(*(service.until_ready() for service in stack.services))
    ready_s = time.monotonic()
    load.settle_down()
    await asyncio.to_thread(wait_until, lambda: min(load.in_a_row) >= 2, 60, "each caller is answered again")
    await load.over()

    def in_the_ledger() -> bool:
        url = f"http://127.0.0.1:{stack.gateways[1].port}/v1/usage"
        answer = httpx.get(url, headers=headers, trust_env=False, timeout=30)
        usage: dict[str, Any] = answer.json() if answer.is_success else {"complete": False}
        answered = load.outcomes["good"] + load.outcomes["costless"]
        return bool(usage["complete"] and answered <= usage["total"]["calls"] <= load.outcomes.total())

    await asyncio.to_thread(wait_until, in_the_ledger, 60, "each answered call is in the ledger, and none twice")
    failed = collections.Counter(failure.outcome for failure in load.failures)
    told = json.dumps(failed)
    if victim in ("gateway-a", "gateway-b's worker"):
        # Only what the killed one had in its hands may fail: at most one call of each caller.
        assert failed.total() <= CALLERS, told
    elif victim == "valkey":
        # Nothing is risked without Redis here (GATEWAY_OFFLINE_EXPOSURE_USD is 0): no call that came while it was away is served. What was
        # under way is settled later: its answer is whole, and says no cost, since what grants pay of it is not known yet.
        assert failed.keys() <= {_REFUSED, "costless"}, told
        assert failed[_REFUSED] >= CALLERS, told
        assert [span for span in load.good_spans_s if dead_s < span[0] and span[1] < back_s] == []
        assert [f for f in load.failures if f.outcome == "costless" and f.began_s > dead_s] == []
    elif victim == "postgres":
        # Calls go on, up to the bound of the stream that keeps their records. Only a worker that meets the key for the first time now
        # cannot know it.
        assert failed.keys() <= {_REFUSED}, told
        assert [span for span in load.good_spans_s if dead_s < span[0] and span[1] < back_s] != []
    else:
        assert failed == {}, told
    assert [f for f in load.failures if f.began_s > ready_s + _AGAIN_S] == [], told


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


async def test_prometheus_scrapes_each_service_and_takes_every_rule_and_every_panel(
    stack: Stack, client: httpx.AsyncClient, world: World, tmp_path: Path
) -> None:
    answer = await client.post("/v1/chat/completions", json=body_of(), headers=await new_key(client, world))
    assert answer.is_success
    binary = shutil.which("prometheus")
    if binary is None:
        warnings.warn(
            "No prometheus on this machine's PATH: only its client library read our series here", stacklevel=1
        )
        for service in stack.services:
            told = {family.name for family in text_string_to_metric_families(service.metrics())}
            assert {"solar_calls", "solar_drained_records", "gateway_money_at_risk_usd"} <= told
        return
    async with scraping(binary, stack, tmp_path) as prometheus:
        await asyncio.to_thread(wait_until, lambda: ups(prometheus) == ["1", "1", "1"], 60, "all three are scraped")
        groups = (await prometheus_says(prometheus, "rules"))["groups"]
        assert [rule["name"] for group in groups for rule in group["rules"]] == [rule["alert"] for rule in rules()]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
        [calls] = (await prometheus_says(prometheus, "query", query="sum(solar_calls_total)"))["result"]
        assert int(calls["value"][1]) >= 1
        for expression in expressions():
            assert "result" in await prometheus_says(prometheus, "query", query=expression)


async def test_nginx_with_our_configuration_passes_streams_at_once_leaves_out_the_dead_and_hides_the_operators_door(
    world: World, stack: Stack, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    headers = await new_key(client, world)
    binary = nginx()
    if binary is None:
        warnings.warn("No nginx on this machine's PATH: nginx.conf was not tried here", stacklevel=1)
        assert "non_idempotent" not in re.sub(r"#.*", "", (ROOT / "deploy" / "nginx.conf").read_text())
        return
    ports = [stack.gateways[0].port, free_port()]  # nobody listens there: as a gateway that is gone
    async with nginx_before(binary, ports, tmp_path) as url, httpx.AsyncClient(base_url=url, timeout=30) as outside:
        for _ in range(6):
            answer = await outside.post("/v1/chat/completions", json=body_of(), headers=headers)
            assert answer.is_success, answer.text
            assert "x-solar-cost" in answer.headers
        text = "[[sim: tokens=20 pace_ms=50]] 안녕?"
        body = body_of(stream=True, messages=[{"role": "user", "content": text}])
        async with outside.stream("POST", "/v1/chat/completions", json=body, headers=headers) as streamed:
            seen_s = [time.monotonic() async for _ in streamed.aiter_raw()]
        assert seen_s[-1] - seen_s[0] > 0.4  # of one second: it was not held back until its end
        operator = {"authorization": f"Bearer {world.operator_token}"}
        assert (await outside.get("/operator/v1/accounts", headers=operator)).status_code == 404
        assert (await client.get("/operator/v1/accounts", headers=operator)).status_code == 200
