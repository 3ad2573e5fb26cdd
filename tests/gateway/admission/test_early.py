"""What a budget that is not used up refuses: little, as a tighter bound is tried and open holds are waited for; never above the cap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from billing.usage import Usage
from gateway.call import Call, Caller
from gateway.errors import BudgetExceeded
from gateway.meter.learned import CALLS_MIN
from gateway.sandbox.stores import Stores
from tests.bench.early import measure
from tests.gateway.admission.shard import Shard, open_redis
from tests.gateway.values import a_call, a_caller, new_account_id

HOLD_NANO = 150_000  # 100 prompt and 100 output tokens at most
WAIT_S = 2.0


@pytest.fixture
async def patient(stores: Stores, redis: Redis) -> AsyncIterator[Shard]:
    """A worker that waits for open holds, and learns."""
    client = open_redis(stores.redis_url)
    made = Shard(client, wait_s=WAIT_S, ratios_max=10)
    yield made
    await made.pipe.close()
    await client.aclose()


async def test_a_call_waits_for_an_open_hold_and_gets_in_when_it_is_settled(patient: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=HOLD_NANO * 3 // 2)
    first = await patient.admit(a_call(caller))
    waiting = asyncio.ensure_future(patient.admit(a_call(caller)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await patient.settle(first, Usage(10, 0, 10))
    begun = time.monotonic()
    assert (await waiting).amount_nano_usd == HOLD_NANO
    assert time.monotonic() - begun < WAIT_S / 2


async def test_nobody_waits_where_even_all_holds_would_not_make_room(patient: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=HOLD_NANO * 3 // 2)
    await patient.settle(await patient.admit(a_call(caller)), Usage(100, 0, 50))
    begun = time.monotonic()
    with pytest.raises(BudgetExceeded):
        await patient.admit(a_call(caller))
    assert time.monotonic() - begun < WAIT_S / 2


async def test_a_wait_has_an_end(patient: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=HOLD_NANO * 3 // 2)
    await patient.admit(a_call(caller))
    begun = time.monotonic()
    with pytest.raises(BudgetExceeded):
        await patient.admit(a_call(caller))
    assert WAIT_S <= time.monotonic() - begun < WAIT_S + 2


async def taught(shard: Shard, caller: Caller) -> Call:
    """A call whose account is known for a quarter of a token a byte."""
    call = replace(a_call(caller, prompt_max=4000, output_max=100), prompt_tokens_best=1000)
    for _ in range(CALLS_MIN):
        shard.ratios.learn(caller.account_id, call.price.model, 1000, 1000)
    return call


async def test_the_bound_in_bytes_is_held_while_it_is_covered_and_the_learned_one_where_it_is_not(
    patient: Shard,
) -> None:
    rich, poor = (a_caller(new_account_id(), cap_nano=cap) for cap in (10**9, 600_000))
    assert (await patient.admit(await taught(patient, rich))).call.prompt_tokens_max == 4000
    hold = await patient.admit(await taught(patient, poor))
    assert hold.call.prompt_tokens_max == 1315  # 1,000 × 1.25, rounded up, and 64 for what a template adds
    assert hold.amount_nano_usd == 1315 * 300 + 100 * 1200
    settled = await patient.settle(hold, Usage(1000, 0, 100))
    assert settled.charged_nano_usd == 1000 * 300 + 100 * 1200
    assert (await patient.in_hand(hold.call))[2] == 0


async def test_a_prompt_that_has_more_tokens_than_was_learned_is_never_charged_above_the_cap(patient: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=600_000)
    hold = await patient.admit(await taught(patient, caller))
    settled = await patient.settle(hold, Usage(4000, 0, 100))
    assert settled.charged_nano_usd == 600_000
    assert settled.absorbed == Usage(2000, 0, 100)


async def test_of_the_mix_under_a_tenth_of_a_per_cent_is_refused_with_more_than_one_per_cent_left(
    stores: Stores, redis: Redis
) -> None:
    """The small form of `python -m tests.bench.early`: prompts of 50 to 2,000 tokens, `max_tokens` 256, a cap of 0.10 USD."""
    before = await measure(stores.redis_url, 0.10, 1, 800, added=False)
    after = await measure(stores.redis_url, 0.10, 1, 1200, added=True)
    at_once = await measure(stores.redis_url, 0.20, 16, 800, added=True)
    print(
        f"\nrefused with more than 1 % of 0.10 USD left: {before.too_early} of {before.calls} by bytes alone, "
        f"{after.too_early} of {after.calls} now; of 0.20 USD, 16 at once: {at_once.too_early} of {at_once.calls}"
    )
    assert before.ratio > 0.005  # or this measures nothing
    assert after.ratio < 0.001
    assert at_once.ratio < 0.01
    assert after.absorbed == at_once.absorbed == 0
