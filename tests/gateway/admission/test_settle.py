"""Settlement: the hold released, the call charged, the record appended, once; grants spent in their order; orphans swept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.prices import ModelPrice, cost
from billing.usage import Usage
from gateway.admission.records import record_of
from gateway.call import Call, Outcome
from gateway.errors import InsufficientQuota
from tests.gateway.admission.shard import Shard
from tests.gateway.values import (
    CACHED_NANO,
    INPUT_NANO,
    OUTPUT_NANO,
    a_call,
    a_caller,
    a_price,
    new_account_id,
)

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
    await shard.sent(hold, output_seen=7)
    alive = await shard.admit(a_call(call.caller))
    assert await shard.ask("W", 100, 30_000) == ["ok", 1, 0]
    assert await shard.ask("W", 100, 30_000) == ["ok", 0, 0]
    (record,) = await shard.records()
    assert record.usage == record_of(call, Outcome(Usage(25, 0, 7), estimated_reason="worker lost"))
    estimate = 25 * INPUT_NANO + 7 * OUTPUT_NANO
    assert record.nano_usd == estimate <= hold.amount_nano_usd
    assert await shard.in_hand(call) == (0, estimate, alive.amount_nano_usd)
    await shard.admission.give_back(hold)
    assert await shard.in_hand(call) == (0, estimate, alive.amount_nano_usd)


async def test_a_settlement_after_the_sweep_takes_the_place_of_its_estimate(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    shard.books.grant("gra_1", 10, NOW - DAY, NOW + DAY)
    call = new_call()
    hold = await dead.admit(call)
    await shard.sent(hold, output_seen=7)
    assert await shard.ask("W", 100, 30_000) == ["ok", 1, 0]
    assert await shard.grants_left(call.caller.account_id) == {"gra_1": 0}
    settlement = await shard.settle(hold, Usage(40, 0, 2))
    assert settlement.granted == Usage(8, 0, 2)  # not one token less for the estimate that went before
    assert settlement.cost_usd * 10**9 == 32 * INPUT_NANO
    estimate, exact = await shard.records()
    assert (estimate.usage.is_orphan, exact.usage.is_orphan) == (True, False)
    counted, pending, held = await shard.in_hand(call)
    # What the estimate was charged is taken back but for what rounding up may have added: a thousandth of a nano-USD a token, and one.
    assert (counted, held) == (0, 0)
    assert 32 * INPUT_NANO <= pending <= 32 * INPUT_NANO + 2
    assert await shard.settle(hold, Usage(40, 0, 2)) == settlement
    assert len(await shard.records()) == 2


async def test_a_call_that_was_never_sent_is_swept_for_nothing(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    call = new_call()
    await shard.sent(await dead.admit(call), sent=0)
    assert await shard.ask("W", 100, 30_000) == ["ok", 0, 1]
    assert await shard.records() == []
    assert await shard.in_hand(call) == (0, 0, 0)


async def test_a_call_of_which_nobody_told_that_it_waits_is_taken_for_sent(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    waited = await dead.admit(new_call())
    await dead.admit(new_call())
    await shard.sent(waited, sent=0)
    await shard.sent(waited, sent=1)
    assert await shard.ask("W", 100, 30_000) == ["ok", 2, 0]


async def test_an_orphan_is_never_charged_more_than_its_hold(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    hold = await dead.admit(new_call())
    await shard.sent(hold, output_seen=1000)
    await shard.ask("W", 100, 30_000)
    (record,) = await shard.records()
    covered = (hold.amount_nano_usd - 25 * INPUT_NANO) // OUTPUT_NANO
    assert record.nano_usd == 25 * INPUT_NANO + covered * OUTPUT_NANO <= hold.amount_nano_usd
    assert record.usage.usage == (25, 0, covered, 0, 0)
    assert record.usage.absorbed == (0, 0, 1000 - covered, 0, 0)
    assert record.usage.absorbed_reason == "beyond its hold"


async def test_the_sweep_takes_no_more_than_it_is_told_and_spends_grants_too(shard: Shard) -> None:
    shard.books.grant("gra_1", 30, NOW - DAY, NOW + DAY)
    dead = Shard(shard.redis, shard.books, hold_s=0)
    caller = a_caller(new_account_id())
    for _ in range(3):
        await shard.sent(await dead.admit(a_call(caller)))
    assert [(await shard.ask("W", 2, 30_000))[1] for _ in range(3)] == [2, 1, 0]
    assert [record.taken for record in await shard.records()] == [[("gra_1", 2, 25)], [("gra_1", 2, 5)], []]


async def test_a_hold_that_was_settled_or_given_back_is_never_swept(shard: Shard) -> None:
    dead = Shard(shard.redis, shard.books, hold_s=0)
    caller = a_caller(new_account_id())
    await dead.settle(await dead.admit(a_call(caller)), Usage(1, 0, 1))
    await dead.admission.give_back(await dead.admit(a_call(caller)))
    assert await shard.ask("W", 100, 30_000) == ["ok", 0, 0]
    assert len(await shard.records()) == 1


# ---- never above the cap -----------------------------------------------------------------------------------------------------


async def test_what_is_served_beyond_the_cap_is_absorbed_and_the_charged_part_is_within_it_to_the_last_digit(
    shard: Shard,
) -> None:
    price = a_price(discount="0.33333333")  # a token costs no whole number of pico-USD
    caller = a_caller(new_account_id(), cap_nano=40_003)
    call = a_call(caller, prompt_max=20, output_max=20, price=price)
    settlement = await shard.settle(await shard.admit(call), Usage(30, 10, 500))
    (record,) = await shard.records()
    charged = Usage(*record.usage.usage)
    assert charged == Usage(30, 10, 500 - settlement.absorbed.output_tokens)  # the prompt is kept before the output
    assert settlement.absorbed == Usage(0, 0, record.usage.absorbed[2])
    assert record.usage.absorbed_reason == "beyond the cap"
    assert settlement.cost_usd == cost(charged, Usage(), price.prices, price.discount) <= Decimal("0.000040003")
    one_more = Usage(30, 10, charged.output_tokens + 1)
    assert cost(one_more, Usage(), price.prices, price.discount) > Decimal("0.000040003")
    assert (await shard.in_hand(call))[1] <= 40_003


async def test_without_a_cap_all_that_was_served_is_charged(shard: Shard) -> None:
    call = new_call()
    settlement = await shard.settle(await shard.admit(call), Usage(1000, 0, 5000))
    assert settlement.absorbed == Usage()
    assert await shard.in_hand(call) == (0, 1000 * INPUT_NANO + 5000 * OUTPUT_NANO, 0)


async def test_a_settlement_may_use_the_room_beside_its_hold_but_not_what_others_hold(shard: Shard) -> None:
    caller = a_caller(new_account_id(), cap_nano=400_000)
    hold, other = await shard.admit(a_call(caller)), await shard.admit(a_call(caller))
    settlement = await shard.settle(hold, Usage(0, 0, 1000))
    assert settlement.charged_nano_usd == (400_000 - other.amount_nano_usd) // OUTPUT_NANO * OUTPUT_NANO
    assert await shard.in_hand(other.call) == (0, settlement.charged_nano_usd, other.amount_nano_usd)


async def test_a_settlement_whose_counters_redis_has_forgotten_is_charged_within_the_cap_that_the_ledger_leaves(
    shard: Shard,
) -> None:
    hold = await shard.admit(a_call(a_caller(new_account_id(), cap_nano=10**6)))
    await shard.redis.flushall()
    settlement = await shard.settle(hold, Usage(0, 0, 1000))
    assert settlement.charged_nano_usd == 10**6 // OUTPUT_NANO * OUTPUT_NANO


async def test_a_document_is_clamped_by_whole_pages(shard: Shard) -> None:
    pages = a_price(ModelPrice(standard=Decimal("0.01"), enhanced=Decimal("0.03")))
    caller = a_caller(new_account_id(), cap_nano=45_000_000)
    call = a_call(caller, prompt_max=0, output_max=0, price=pages)
    settlement = await shard.settle(await shard.admit(call), Usage(standard_pages=2, enhanced_pages=3))
    assert settlement.absorbed == Usage(enhanced_pages=3)
    assert settlement.cost_usd == Decimal("0.02")


# ---- grants in holds ---------------------------------------------------------------------------------------------------------


async def test_free_tokens_can_be_spent_when_the_money_is_used_up(shard: Shard) -> None:
    shard.books.grant("gra_1", 300, NOW - DAY, NOW + DAY)
    caller = a_caller(new_account_id(), prepaid_nano=0)
    hold = await shard.admit(a_call(caller))  # 100 + 100 tokens at most
    assert hold.amount_nano_usd == 0
    with pytest.raises(InsufficientQuota):  # 100 tokens are left: two calls never count on the same ones
        await shard.admit(a_call(caller))
    settlement = await shard.settle(hold, Usage(50, 0, 100))
    assert settlement.granted == Usage(50, 0, 100)
    assert settlement.cost_usd == 0
    short = await shard.admit(a_call(caller, prompt_max=50, output_max=100))
    assert (await shard.settle(short, Usage(50, 0, 100))).cost_usd == 0
    assert await shard.grants_left(caller.account_id) == {"gra_1": 0}
    with pytest.raises(InsufficientQuota):
        await shard.admit(a_call(caller, prompt_max=1, output_max=0))


async def test_a_hold_takes_in_money_only_what_free_tokens_leave(shard: Shard) -> None:
    shard.books.grant("gra_1", 120, NOW - DAY, NOW + DAY)
    caller = a_caller(new_account_id(), cap_nano=80 * INPUT_NANO)
    hold = await shard.admit(a_call(caller))
    assert hold.amount_nano_usd == 80 * INPUT_NANO
    assert (await shard.settle(hold, Usage(100, 0, 100))).charged_nano_usd == 80 * INPUT_NANO


async def test_free_tokens_on_which_another_hold_counts_are_not_taken(shard: Shard) -> None:
    shard.books.grant("gra_1", 100, NOW - DAY, NOW + DAY)
    caller = a_caller(new_account_id(), cap_nano=200_000)
    paid = await shard.admit(a_call(caller))
    counts_on_it = await shard.admit(a_call(caller))
    assert counts_on_it.amount_nano_usd <= 50_000
    assert (await shard.settle(paid, Usage(100, 0, 100))).granted == Usage()
    assert (await shard.settle(counts_on_it, Usage(100, 0, 100))).granted == Usage(0, 0, 100)
