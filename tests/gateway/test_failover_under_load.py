"""A plain Redis fails over to a replica that lacks its last writes, in the middle of 2,000 calls over four workers against one cap.

The stated exposure: no worker died, so that all of them register their holds again and tell what they had settled, and the cap holds to
the digit (design.md section 6: overshoot is at most the holds of workers that died in the same window). What is printed: how the calls
ended, what was charged, and what the replica had not been told.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from pathlib import Path

from tests.fakes.redis_pair import RedisPair, running_pair
from tests.gateway.test_budget_under_load import CAP, LEASE_S, WORKERS, settled, storm, use_up_one_by_one
from tests.running import Gateway

FORGOTTEN_S = 0.5
EXPOSURE = Decimal(0)


async def test_a_failover_in_the_middle_of_two_thousand_calls_never_charges_above_the_cap(
    gateway: Gateway, tmp_path: Path
) -> None:
    with running_pair(tmp_path / "redis") as pair:
        await asyncio.to_thread(stormed, gateway, pair, tmp_path / "gateway")


def stormed(other: Gateway, pair: RedisPair, home: Path) -> None:
    environment = {"GATEWAY_HOLD_LEASE_S": str(LEASE_S)}
    with Gateway.beside(other, pair.url, home, workers=WORKERS, environment=environment) as gateway:
        secret = gateway.new_key(monthly_cap=str(CAP))
        served_before = len(other.truth())
        ended = asyncio.run(storm(gateway, secret, partial(pair.fail_over, FORGOTTEN_S)))
        charged, total = settled(gateway, secret)
        served = [record for record in other.truth(served_before) if record["outcome"] == "served"]
        calls, too_early = use_up_one_by_one(gateway, secret)
        after, _ = settled(gateway, secret)
        told_again = gateway.log().count("history_moved")
    print(
        f"\nfailover, {FORGOTTEN_S} s forgotten: {dict(ended)}; upstream served {len(served)}; charged {charged} of {CAP} in "
        f"{total['calls']} calls ({total['estimated_calls']} estimated); exposure {EXPOSURE}; {told_again} workers told it again; "
        f"then {after} by calls one by one, {too_early} of {calls} refused with more than 1 % left"
    )
    assert charged <= CAP + EXPOSURE
    assert ended["200"] > 0
    assert ended["402"] > 0
    assert total["calls"] >= ended["200"] + ended["ended in its middle"]
    assert told_again >= 1
    assert CAP * 95 / 100 <= after <= CAP + EXPOSURE
