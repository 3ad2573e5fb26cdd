"""Caps of the account, of the key, and the prepaid balance: Σ (holds + charged) ≤ cap, and a refusal takes nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from billing.ledger.read import RunningTotal
from billing.usage import Usage
from gateway.call import Call, Hold, RateLimit
from gateway.errors import BudgetExceeded, InsufficientQuota, RateLimited
from gateway.sandbox.stores import Stores
from tests.gateway.admission.shard import Shard, open_redis
from tests.gateway.values import FREE, a_call, a_caller, a_price, new_account_id

HOLD_NANO = 150_000  # 100 prompt and 100 output tokens at most


async def test_a_cap_admits_what_it_covers_to_the_last_nano_usd(shard: Shard) -> None:
    exact = a_caller(new_account_id(), cap_nano=2 * HOLD_NANO)
    await shard.admit(a_call(exact))
    await shard.admit(a_call(exact))
    short = a_caller(new_account_id(), cap_nano=2 * HOLD_NANO - 1)
    await shard.admit(a_call(short))
    with pytest.raises(BudgetExceeded, match="cap of this account"):
        await shard.admit(a_call(short))


async def test_the_caps_of_a_key_and_of_its_account_both_hold(shard: Shard) -> None:
    account = new_account_id()
    first = a_caller(account, key_id="key_1", cap_nano=3 * HOLD_NANO, key_cap_nano=2 * HOLD_NANO)
    second = a_caller(account, key_id="key_2", cap_nano=3 * HOLD_NANO)
    await shard.admit(a_call(first))
    await shard.admit(a_call(first))
    with pytest.raises(BudgetExceeded, match="cap of this key"):
        await shard.admit(a_call(first))
    await shard.admit(a_call(second))
    with pytest.raises(BudgetExceeded, match="cap of this account"):
        await shard.admit(a_call(second))


async def test_an_empty_prepaid_balance_is_insufficient_quota(shard: Shard) -> None:
    shard.books.totals["2020-01", "key_1"] = RunningTotal(
        Decimal("0.0001"), 3
    )  # spent long ago: a balance has no month
    caller = a_caller(new_account_id(), prepaid_nano=HOLD_NANO + 100_000)
    await shard.admit(a_call(caller))
    with pytest.raises(InsufficientQuota):
        await shard.admit(a_call(caller))


async def test_what_the_ledger_counted_before_is_part_of_the_cap(shard: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=2 * HOLD_NANO)
    call = a_call(caller)
    shard.books.totals[str(call.month), "key_9"] = RunningTotal(Decimal("0.000150000001"), 5)
    with pytest.raises(BudgetExceeded):  # a thousandth of a nano too much
        await shard.admit(call)


async def test_a_refusal_takes_nothing_whatever_its_reason(shard: Shard) -> None:
    account = new_account_id()
    scope = f"a:{account}"
    reasons = [
        (a_caller(account, cap_nano=HOLD_NANO), BudgetExceeded),
        (a_caller(account, key_cap_nano=HOLD_NANO), BudgetExceeded),
        (a_caller(account, prepaid_nano=HOLD_NANO), InsufficientQuota),
        (a_caller(account, limits=[RateLimit(scope, requests_per_minute=1)]), RateLimited),
        (a_caller(account, limits=[RateLimit(scope, tokens_per_minute=250)]), RateLimited),
        (a_caller(account, limits=[RateLimit(scope, concurrency=1)]), RateLimited),
    ]
    everything = [RateLimit(scope, 1, 250, 1)]
    await shard.admit(a_call(a_caller(account, prepaid_nano=10**12, limits=everything)))
    before = await shard.dump()
    for caller, kind in reasons:
        with pytest.raises(kind):
            await shard.admit(a_call(caller))
        assert await shard.dump() == before


@pytest.mark.parametrize("covered", [0, 1, 7, 49])
async def test_fifty_calls_at_once_over_two_workers_never_pass_the_cap(
    stores: Stores, shard: Shard, covered: int
) -> None:
    other = Shard(open_redis(stores.redis_url), shard.books, batch_max=3)
    caller = a_caller(new_account_id(), cap_nano=covered * HOLD_NANO + HOLD_NANO - 1)

    async def one(number: int) -> Hold | None:
        try:
            return await (shard, other)[number % 2].admit(a_call(caller))
        except BudgetExceeded:
            return None

    holds = [hold for hold in await asyncio.gather(*map(one, range(50))) if hold is not None]
    assert len(holds) == covered
    assert await shard.in_hand(a_call(caller)) == (0, 0, covered * HOLD_NANO)
    full = Usage(100, 0, 100)
    await asyncio.gather(*[(other, shard)[at % 2].settle(hold, full) for at, hold in enumerate(holds)])
    assert await shard.in_hand(a_call(caller)) == (0, covered * HOLD_NANO, 0)
    assert len(await shard.records()) == covered
    await other.ticker.close()


async def test_a_model_that_costs_nothing_passes_a_cap_of_zero(shard: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=0)
    free: Call = a_call(caller, price=a_price(FREE))
    hold = await shard.admit(free)
    assert hold.amount_nano_usd == 0
    assert (await shard.settle(hold, Usage(10, 0, 10))).cost_usd == 0
    await shard.admission.give_back(await shard.admit(a_call(caller, price=a_price(FREE))))
    with pytest.raises(BudgetExceeded):
        await shard.admit(a_call(caller))


async def test_a_hold_is_the_dearest_that_the_call_can_become(shard: Shard) -> None:
    caller = a_caller(new_account_id())
    hold = await shard.admit(a_call(caller, prompt_max=1, output_max=1, price=a_price(discount="0.333")))
    assert hold.amount_nano_usd == 1001  # 200.1 + 800.4, rounded up once
