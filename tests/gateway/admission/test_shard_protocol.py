"""What the script says when somebody's knowledge is old, and how the ledger's counts come in without ever lowering a newer one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.ledger.read import RunningTotal
from billing.usage import Usage
from gateway.admission.admit import StaleCaller, StalePrices
from gateway.admission.batch import shard_of, stream_key
from gateway.admission.records import to_wire_place
from gateway.errors import BudgetExceeded, ServiceUnavailable
from tests.gateway.admission.shard import PRICES_VERSION, Shard
from tests.gateway.values import a_call, a_caller, new_account_id


async def counted(shard: Shard, account: str, scope: str) -> tuple[int, int]:
    known = (await shard.account(account))[f"${scope}"]
    return known[0], known[1]


async def test_a_caller_older_than_the_accounts_epoch_is_stale_until_read_again(shard: Shard) -> None:
    account = new_account_id()
    await shard.admit(a_call(a_caller(account, epoch=1)))
    await shard.admission.outdate(account, 3)
    await shard.admission.outdate(account, 2)  # an older word does not take it back
    for epoch in (1, 2):
        with pytest.raises(StaleCaller):
            await shard.admit(a_call(a_caller(account, epoch=epoch)))
    await shard.ask("Y", account, 2, [], [])  # nor does an older sync
    with pytest.raises(StaleCaller):
        await shard.admit(a_call(a_caller(account, epoch=2)))
    shard.books.epoch = 3
    await shard.admit(a_call(a_caller(account, epoch=3)))


async def test_prices_older_than_the_newest_card_are_refused(shard: Shard) -> None:
    caller = a_caller(new_account_id())
    await shard.admission.new_prices(PRICES_VERSION)
    await shard.admit(a_call(caller))
    await shard.admission.new_prices(PRICES_VERSION + 1)
    await shard.admission.new_prices(PRICES_VERSION)
    with pytest.raises(StalePrices):
        await shard.admit(a_call(caller))
    await shard.admission.admit(a_call(caller), PRICES_VERSION + 1)


async def test_a_price_version_in_milliseconds_keeps_its_last_digit(shard: Shard) -> None:
    version = 1_795_000_000_001
    await shard.admission.new_prices(version)
    await shard.admission.admit(a_call(a_caller(new_account_id())), version)
    with pytest.raises(StalePrices):
        await shard.admission.admit(a_call(a_caller(new_account_id())), version - 1)


async def test_an_unknown_account_is_synced_once_from_the_ledger(shard: Shard) -> None:
    caller = a_caller(new_account_id())
    await shard.admit(a_call(caller))
    await shard.admit(a_call(caller))
    assert shard.books.reads == 1
    await shard.admit(a_call(a_caller(caller.account_id, key_id="key_2")))
    assert shard.books.reads == 2  # the new key's counter was unknown


async def test_a_full_stream_refuses_admissions_but_not_settlements(shard: Shard) -> None:
    small = Shard(shard.redis, shard.books, stream_max=2)
    caller = a_caller(new_account_id())
    holds = [await small.admit(a_call(caller)) for _ in range(3)]
    for hold in holds[:2]:
        await small.settle(hold, Usage(1, 0, 1))
    before = await shard.dump()
    with pytest.raises(ServiceUnavailable):
        await small.admit(a_call(caller))
    assert await shard.dump() == before
    await small.settle(holds[2], Usage(1, 0, 1))
    assert len(await shard.records()) == 3


async def test_a_sync_never_lowers_a_newer_count(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()))
    account, month = call.caller.account_id, str(call.month)
    await shard.admit(call)
    await shard.ask("D", [], [(account, f"m:{month}", 900, 9)])
    shard.books.totals[month, "key_1"] = RunningTotal(Decimal("0.0000005"), 5)
    await shard.admission.sync(call.caller, month)
    assert await counted(shard, account, f"m:{month}") == (900, 9)
    assert await counted(shard, account, f"k:key_1:{month}") == (500, 5)
    shard.books.totals[month, "key_1"] = RunningTotal(Decimal("0.000001"), 10)
    await shard.admission.sync(call.caller, month)
    assert await counted(shard, account, f"m:{month}") == (1000, 10)


async def test_drained_records_move_from_pending_to_counted_and_each_only_once(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()))
    account, month = call.caller.account_id, str(call.month)
    for _ in range(2):
        await shard.settle(await shard.admit(a_call(call.caller)), Usage(1, 0, 0))
    first, second = await shard.records()
    done = [first.done()]
    for _ in range(2):  # two drains that read the same batch
        await shard.ask("D", done, [(account, f"m:{month}", 290, 1)])
        assert await shard.in_hand(call) == (290, 300, 0)
    assert [record.id for record in await shard.records()] == [second.id]
    await shard.ask("D", [first.done(), second.done()], [(account, f"m:{month}", 590, 2)])
    assert await shard.in_hand(call) == (590, 0, 0)


async def test_a_grants_rest_is_known_best_by_the_shard_and_a_new_grant_joins_it(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()))
    now = call.accepted_ns // 1_000_000
    grant = ("gra_1", now - 1000, now + 90_000_000, 100)
    account = call.caller.account_id
    await shard.ask("Y", account, 1, [(f"m:{call.month}", 0, 0), (f"k:key_1:{call.month}", 0, 0)], [grant])
    await shard.settle(await shard.admit(call), Usage(30))
    await shard.ask("Y", account, 2, [], [grant, ("gra_2", *grant[1:])])
    assert await shard.grants_left(account) == {"gra_1": 70, "gra_2": 100}
    await shard.ask("Y", account, 1, [], [grant])  # older news: nothing of it counts
    assert await shard.grants_left(account) == {"gra_1": 70, "gra_2": 100}


async def test_an_admission_that_arrives_after_its_hold_was_given_back_takes_nothing(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id(), cap_nano=10**9))
    await shard.admit(a_call(call.caller))
    await shard.ask("F", call.id.hex, call.caller.account_id, *to_wire_place(call), 30_000)
    before = await shard.dump()
    with pytest.raises(ServiceUnavailable):
        await shard.admit(call)
    assert await shard.dump() == before


async def test_the_same_call_is_never_held_twice(shard: Shard) -> None:
    call = a_call(a_caller(new_account_id()))
    hold = await shard.admit(call)
    with pytest.raises(ServiceUnavailable):
        await shard.admit(call)
    assert await shard.in_hand(call) == (0, 0, hold.amount_nano_usd)


async def test_counters_stay_whole_numbers_up_to_the_highest_cap(shard: Shard) -> None:
    cap = 9_000_000 * 10**9
    call = a_call(a_caller(new_account_id(), cap_nano=cap))
    account, month = call.caller.account_id, str(call.month)
    await shard.admission.sync(call.caller, month)
    await shard.ask("D", [], [(account, f"m:{month}", cap - 150_000, 1)])
    await shard.settle(await shard.admit(call), Usage(100, 0, 100))
    assert await shard.in_hand(call) == (cap - 150_000, 150_000, 0)
    with pytest.raises(BudgetExceeded):
        await shard.admit(a_call(call.caller, prompt_max=0, output_max=1))


def test_an_account_stays_in_its_shard_and_the_shards_keys_share_one_slot() -> None:
    account = "acc_" + "0" * 24 + "000000ff"
    assert [shard_of(account, shards) for shards in (1, 16, 64, 256)] == [0, 15, 63, 255]
    assert stream_key(3) == "{s3}:usage"
