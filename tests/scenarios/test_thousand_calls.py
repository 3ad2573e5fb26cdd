"""A thousand mixed calls against the simulated Solar: the ledger's calls and tokens equal the simulator's own records exactly.

Mixed: whole and streamed, with and without usage asked for, cached and reasoning tokens, refusals, faults before the first byte, cuts
and hang-ups in mid-stream. Where upstream never said what it used, the entry is marked as estimated, and only there.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import httpx

from tests.running import Gateway

CALLS = 1000
SEED = 20261124
PRICES = {
    "solar-pro4": ("0.30", "0.06", "1.20"),
    "solar-mini4": ("0.10", "0.01", "0.40"),
    "solar-pro3": ("0.15", "0.015", "0.60"),
}
_SNAPSHOTS = {"solar-pro4-260806": "solar-pro4", "solar-mini4-260922": "solar-mini4", "solar-pro3-260323": "solar-pro3"}


@dataclass(frozen=True)
class Plan:
    """One call to be made."""

    number: int
    model: str
    directive: str
    streamed: bool
    include_usage: bool
    hangs_up: bool

    def body(self) -> dict[str, Any]:
        text = f"[[sim: id=call-{self.number} {self.directive}]] 질문 {self.number}"
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        if self.streamed:
            body["stream"] = True
            if self.include_usage:
                body["stream_options"] = {"include_usage": True}
        return body


def planned(seed: int) -> list[Plan]:
    chance = random.Random(seed)
    directives = [
        *["tokens={n}"] * 8,
        *["tokens={n} cached={c}"] * 3,
        "tokens={n} reasoning={c}",
        "tokens={n} usage_on=finish",
        "tokens={n} keepalive=2",
        "tokens={n} chunk_bytes=7",
        "error=400:invalid_request_body",
        "error=429:too_many_requests",
        "error=500",
        "drop=1",
    ]
    plans = []
    for number in range(CALLS):
        directive = chance.choice(directives).format(n=chance.randint(1, 60), c=chance.randint(1, 9))
        streamed = chance.random() < 0.5
        broken = streamed and chance.random() < 0.05
        if broken:
            directive = f"tokens=40 {chance.choice(['cut_after=9', 'no_usage=1', 'error_after=5'])}"
        hangs_up = streamed and not broken and chance.random() < 0.05
        if hangs_up:
            directive = "tokens=60 pace_ms=20"
        model = chance.choice([*_SNAPSHOTS, *_SNAPSHOTS.values()])
        plans.append(Plan(number, model, directive, streamed, chance.random() < 0.5, hangs_up))
    return plans


def make(caller: httpx.Client, plan: Plan) -> None:
    with caller.stream("POST", "/chat/completions", json=plan.body()) as answer:
        if not plan.hangs_up:
            answer.read()
            return
        for _ in answer.iter_bytes():
            return  # having seen something, leave


def exact_cost(rows: list[dict[str, Any]]) -> Decimal:
    """The second calculation: straight from the simulator's counts and the list prices."""
    total = Decimal(0)
    for row in rows:
        uncached, cached, output = (Decimal(price) for price in PRICES[_SNAPSHOTS[row["snapshot"]]])
        prompt = row["prompt_tokens"] - row["cached_tokens"]
        total += prompt * uncached + row["cached_tokens"] * cached + row["completion_tokens"] * output
    return total / 1_000_000


def make_all(gateway: Gateway, secret: str) -> None:
    with gateway.caller(secret) as caller, ThreadPoolExecutor(24) as pool:
        for _ in pool.map(lambda plan: make_quietly(caller, plan), planned(SEED)):
            continue


async def exact_part(gateway: Gateway, account_id: str) -> asyncpg.Record:
    """The entries whose count came from upstream, summed by the database."""
    connection = await asyncpg.connect(gateway.addresses["database_url"].replace("+asyncpg", ""))
    try:
        row = await connection.fetchrow(
            """SELECT sum(input_tokens) AS input, sum(cached_input_tokens) AS cached, sum(output_tokens) AS output,
                      sum(cost) AS cost, count(DISTINCT call_id) AS calls
               FROM ledger_entry WHERE account_id = $1 AND estimated_reason IS NULL""",
            account_id,
        )
    finally:
        await connection.close()
    assert row is not None
    return row


async def test_the_ledger_equals_what_the_simulator_served(gateway: Gateway) -> None:
    print(f"seed {SEED}")
    before = max((row["seq"] for row in gateway.truth()), default=0)
    account_id = gateway.account()["id"]
    secret = gateway.key(account_id)
    await asyncio.to_thread(make_all, gateway, secret)
    served = [row for row in gateway.truth(before) if row["id"].startswith("call-") and row["outcome"] != "refused"]
    told = [row for row in served if row["usage_sent"]]
    untold = [row for row in served if not row["usage_sent"] and row["events_sent"]]
    with gateway.caller(secret) as caller:
        usage = caller.get("/usage", params={"group_by": "model"}).json()
    total = usage["total"]
    assert usage["complete"] is True
    counted = Counter(row["id"] for row in served)
    assert max(counted.values()) == 1, "no call was sent to upstream twice"
    assert len(told) > 600
    assert len(untold) > 20
    assert (total["calls"], total["estimated_calls"]) == (len(told) + len(untold), len(untold))
    exact = await exact_part(gateway, account_id)
    assert exact["calls"] == len(told)
    assert exact["input"] == sum(row["prompt_tokens"] - row["cached_tokens"] for row in told)
    assert exact["cached"] == sum(row["cached_tokens"] for row in told)
    assert exact["output"] == sum(row["completion_tokens"] for row in told)
    assert exact["cost"] == exact_cost(told)


def make_quietly(caller: httpx.Client, plan: Plan) -> None:
    """A stream that breaks off is part of the plan."""
    try:
        make(caller, plan)
    except httpx.RemoteProtocolError:
        assert plan.streamed
