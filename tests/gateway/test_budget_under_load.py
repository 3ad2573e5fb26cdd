"""Two thousand calls and streams at once over four workers against one cap: never a digit above it, and nothing is left over.

Played twice: in peace, and with a worker killed by SIGKILL in the middle. What is printed: how much of the cap was used, what upstream
served beyond it, and how much was refused while more than one in a hundred of the budget was left and nobody else was calling.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import psutil
import pytest

from tests.running import Gateway
from tests.waiting import wait_until

CALLS, AT_ONCE, WORKERS = 2000, 200, 4
CAP = Decimal("0.2000")
LEASE_S = 6


@pytest.fixture(scope="module")
def four_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = {"GATEWAY_HOLD_LEASE_S": str(LEASE_S)}
    with Gateway.started(tmp_path_factory.mktemp("four"), workers=WORKERS, environment=environment) as running:
        yield running


def a_body(chance: random.Random) -> dict[str, Any]:
    """Half streams; half of all without a bound; prompts of 50 to 2,000 tokens."""
    tokens = chance.choice((5, 40, 256, 700))
    text = f"[[sim: tokens={tokens}]] " + "안녕 " * chance.randrange(25, 1000)
    body = {"model": "solar-pro4", "messages": [{"role": "user", "content": text}], "stream": chance.random() < 0.5}
    return {**body, "max_tokens": 256} if chance.random() < 0.5 else body


async def storm(gateway: Gateway, secret: str, in_the_middle: Callable[[], object] | None = None) -> Counter[str]:
    """All of them, `AT_ONCE` at a time; how they ended. In a thread of its own, something happens in the middle."""
    chance, ended = random.Random(5), Counter[str]()
    happening: list[asyncio.Future[object]] = []
    bodies = iter([a_body(chance) for _ in range(CALLS)])
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(
        base_url=f"{gateway.url}/v1", headers=headers, limits=limits, timeout=90, trust_env=False
    ) as client:

        async def caller() -> None:
            for body in bodies:
                try:
                    answer = await client.post("/chat/completions", json=body)
                except httpx.TransportError:
                    ended["cut"] += 1
                    continue
                cut = answer.status_code == 200 and "budget_exceeded" in answer.text[-400:]
                ended["ended in its middle" if cut else str(answer.status_code)] += 1
                if in_the_middle is not None and ended.total() > CALLS // 8 and not happening:
                    happening.append(asyncio.ensure_future(asyncio.to_thread(in_the_middle)))

        await asyncio.gather(*[caller() for _ in range(AT_ONCE)])
        await asyncio.gather(*happening)
    return ended


def settled(gateway: Gateway, secret: str) -> tuple[Decimal, dict[str, Any]]:
    """Once no hold is left: (charged, usage)."""
    with gateway.caller(secret) as caller:

        def nothing_is_held() -> bool:
            return bool(caller.get("/account").json()["month_to_date"]["held"] == "0.000000000")

        wait_until(nothing_is_held, LEASE_S + 30, "no hold is left")
        total: dict[str, Any] = caller.get("/usage").json()["total"]
    return Decimal(total["cost"]), total


def use_up_one_by_one(gateway: Gateway, secret: str) -> tuple[int, int]:
    """Call alone until the budget is used up; (calls, those refused while more than 1 % of it was left)."""
    chance, calls, too_early = random.Random(6), 0, 0
    with gateway.caller(secret) as caller:
        for _ in range(400):
            left = CAP - Decimal(caller.get("/account").json()["month_to_date"]["cost"])
            if left <= CAP / 100:
                break
            calls += 1
            too_early += caller.post("/chat/completions", json=a_body(chance)).status_code == 402
    return calls, too_early


@pytest.mark.parametrize("killed", [False, True], ids=["in peace", "a worker killed"])
async def test_two_thousand_calls_never_pass_the_cap_and_leave_nothing_over(
    four_workers: Gateway, killed: bool
) -> None:
    gateway = four_workers
    secret = gateway.new_key(monthly_cap=str(CAP))
    workers = [p for p in psutil.Process(gateway.process.pid).children() if "gateway.processes.worker" in p.cmdline()]
    assert len(workers) == WORKERS
    ended = await storm(gateway, secret, workers[0].kill if killed else None)
    charged, total = settled(gateway, secret)
    print(
        f"\n{dict(ended)}; charged {charged} of {CAP} in {total['calls']} calls, {total['estimated_calls']} estimated"
    )
    assert charged <= CAP
    assert ended["200"] > 0
    assert ended["402"] > 0
    calls, too_early = use_up_one_by_one(gateway, secret)
    after, _ = settled(gateway, secret)
    print(f"then {after} of it by calls that came one by one; {too_early} of {calls} refused with more than 1 % left")
    assert CAP * 95 / 100 <= after <= CAP
