"""Settlement: the hold released, the call charged, the record appended, once; grants spent in their order; orphans swept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.usage import Usage
from gateway.admission.records import record_of
from gateway.call import Call, Outcome
from tests.gateway.admission.shard import Shard
from tests.gateway.values import CACHED_NANO, INPUT_NANO, OUTPUT_NANO, a_call, a_caller, a_price, new_account_id

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def new_call() -> Call:
    return a_call(a_caller(new_account_id()))


async def test_a_settlement_charges_the_exact_cost_and_counts_it_rounded_up(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()), price=a_price(discount="0.1"))
    settlement = await shard.settle(await shard.admit(call), Usage(3, 5, 7))
    assert settlement.cost_usd == Decimal("0.00000864")
    assert await shard.in_hand(call) == (0, 8640, 0)
    (record,) = await shard.records()
    assert record.usage == record_of(call, Outcome(Usage(3, 5, 7)))
    assert (record.account_id, record.nano_usd, record.taken) == (call.caller.account_id, 8640, [])
    assert record.scopes == [f"m:{call.month}", f"k:key_1:{call.month}"]


async def test_a_counter_is_rounded_up_and_never_down(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()), price=a_price(discount="0.333"))
    settlement = await shard.settle(await shard.admit(call), Usage(1))
    assert settlement.cost_usd == Decimal("0.0000002001")
    assert await shard.in_hand(call) == (0, 201, 0)


async def test_settling_twice_gives_the_same_answer_and_one_record(shard: Shard) -> None:
    call = new_call()
    shard.books.grant("gra_1", 5, NOW - DAY, NOW + DAY)
    hold = await shard.admit(call)
    settled = await asyncio.gather(*[shard.settle(hold, Usage(10, 0, 10)) for _ in range(5)])
    # Even with other counts: what was decided first stands.
    settled.append(await shard.settle(hold, Usage(10, 0, 10)))
    assert len({settlement.cost_usd for settlement in settled}) == 1
    assert settled[0].granted == Usage(0, 0, 5)
    assert len(await shard.records()) == 1
    assert await shard.in_hand(call) == (0, 10 * INPUT_NANO + 5 * OUTPUT_NANO, 0)
    assert await shard.grants_left(call.caller.account_id) == {"gra_1": 0}


async def test_a_hold_given_back_leaves_nothing_and_only_once(shard: Shard) -> None:
    call = new_call()
    kept = await shard.admit(a_call(call.caller))
    hold = await shard.admit(call)
    for _ in range(3):
        await shard.admission.give_back(hold)
    assert await shard.in_hand(call) == (0, 0, kept.amount_nano_usd)
    assert await shard.records() == []
    assert await shard.redis.zcard("{s0}:holds") == 1


async def test_giving_back_after_settlement_changes_nothing(shard: Shard) -> None:
    hold = await shard.admit(new_call())
    await shard.settle(hold, Usage(1, 0, 1))
    before = await shard.dump()
    await shard.admission.give_back(hold)
    assert await shard.dump() == before


async def test_grants_pay_oldest_expiry_first_and_output_before_input_before_cached(shard: Shard) -> None:
    shard.books.grant("late", 100, NOW - DAY, NOW + 9 * DAY)
    shard.books.grant("soon", 8, NOW - DAY, NOW + DAY)
    shard.books.grant("expired", 100, NOW - 9 * DAY, NOW - DAY)
    shard.books.grant("not yet", 100, NOW + DAY / 2, NOW + 20 * DAY)
    call = new_call()
    settlement = await shard.settle(await shard.admit(call), Usage(4, 3, 5))
    (record,) = await shard.records()
    assert record.taken == [("soon", 1, 5), ("soon", 2, 3), ("late", 2, 1), ("late", 3, 3)]
    assert settlement.granted == Usage(4, 3, 5)
    assert (settlement.cost_usd, record.nano_usd) == (Decimal(0), 0)
    left = await shard.grants_left(call.caller.account_id)
    assert left == {"soon": 0, "late": 96, "expired": 100, "not yet": 100}


async def test_what_grants_do_not_cover_is_paid_and_the_split_is_on_the_record(shard: Shard) -> None:
    shard.books.grant("gra_1", 6, NOW - DAY, NOW + DAY)
    call = new_call()
    settlement = await shard.settle(await shard.admit(call), Usage(4, 3, 5))
    assert settlement.granted == Usage(1, 0, 5)
    nano = 3 * INPUT_NANO + 3 * CACHED_NANO
    assert settlement.cost_usd == Decimal(nano) / 10**9
    assert await shard.in_hand(call) == (0, nano, 0)


async def test_a_grant_is_judged_at_the_instant_of_acceptance_to_the_millisecond(shard: Shard) -> None:
    begins = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    ends = begins + DAY
    shard.books.grant("gra_1", 1000, begins, ends)
    caller = a_caller(new_account_id())
    begins_ms = (begins - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    instants = {begins_ms - 1: 0, begins_ms: 2, begins_ms + 86_400_000 - 1: 2, begins_ms + 86_400_000: 0}
    for accepted_ms, granted in instants.items():
        call = a_call(caller, accepted_ns=accepted_ms * 1_000_000)
        assert (await shard.settle(await shard.admit(call), Usage(1, 0, 1))).granted.tokens == granted


async def test_grants_are_never_spent_twice_by_calls_at_once(shard: Shard) -> None:
    shard.books.grant("gra_1", 50, NOW - DAY, NOW + DAY)
    caller = a_caller(new_account_id())
    holds = [await shard.admit(a_call(caller)) for _ in range(20)]
    settled = await asyncio.gather(*[shard.settle(hold, Usage(2, 0, 2)) for hold in holds])
    assert sum(settlement.granted.tokens for settlement in settled) == 50
    assert sum(tokens for record in await shard.records() for _, _, tokens in record.taken) == 50


async def test_the_sweep_books_the_estimate_of_an_expired_hold_exactly_once(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    call = new_call()
    hold = await dead.admit(call)
    alive = await shard.admit(a_call(call.caller))
    assert await shard.ask("W", 100, 30_000) == ["ok", 1]
    assert await shard.ask("W", 100, 30_000) == ["ok", 0]
    (record,) = await shard.records()
    assert record.usage == record_of(call, Outcome(Usage(25), estimated_reason="worker lost"))
    assert record.nano_usd == 25 * INPUT_NANO <= hold.amount_nano_usd
    assert await shard.in_hand(call) == (0, 25 * INPUT_NANO, alive.amount_nano_usd)
    await shard.admission.give_back(hold)
    late = await shard.settle(hold, Usage(25))
    assert late.cost_usd == Decimal(record.nano_usd) / 10**9
    assert len(await shard.records()) == 1
    assert await shard.in_hand(call) == (0, 25 * INPUT_NANO, alive.amount_nano_usd)


async def test_the_sweep_takes_no_more_than_it_is_told_and_spends_grants_too(shard: Shard) -> None:
    shard.books.grant("gra_1", 30, NOW - DAY, NOW + DAY)
    dead = Shard(shard.redis, shard.books, hold_s=0)
    caller = a_caller(new_account_id())
    for _ in range(3):
        await dead.admit(a_call(caller))
    assert [(await shard.ask("W", 2, 30_000))[1] for _ in range(3)] == [2, 1, 0]
    assert [record.taken for record in await shard.records()] == [[("gra_1", 2, 25)], [("gra_1", 2, 5)], []]


async def test_a_hold_that_was_settled_or_given_back_is_never_swept(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    caller = a_caller(new_account_id())
    await dead.settle(await dead.admit(a_call(caller)), Usage(1, 0, 1))
    await dead.admission.give_back(await dead.admit(a_call(caller)))
    assert await shard.ask("W", 100, 30_000) == ["ok", 0]
    assert len(await shard.records()) == 1
