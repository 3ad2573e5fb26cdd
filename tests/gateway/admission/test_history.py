"""A Redis that has forgotten something: flushed, restarted empty, or a replica that lacks the last writes. It is told again, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from billing.usage import Usage
from gateway.errors import ServiceUnavailable
from tests.gateway.admission.outage import Outage, an_outage, until
from tests.gateway.admission.shard import Shard
from tests.gateway.values import INPUT_NANO, OUTPUT_NANO, a_call, a_caller, new_account_id

COST = 3 * INPUT_NANO + 7 * OUTPUT_NANO
CAP = 10**9


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    async with an_outage(tmp_path) as made:
        yield made


async def told_again(shard: Shard, count: int) -> None:
    async def all_of_them() -> bool:
        try:
            return len(await shard.records()) == count
        except RedisError:  # the test's own connection was to the one that is gone
            return False

    await until(all_of_them, f"{count} settlements are in the stream")


async def test_settlements_lost_with_a_flushed_redis_are_told_again_as_they_were_decided(outage: Outage) -> None:
    async with outage.running_worker() as shard:
        caller = a_caller(new_account_id(), cap_nano=CAP)
        calls = [a_call(caller) for _ in range(5)]
        for call in calls:
            await shard.settle(await shard.admit(call), Usage(3, 0, 7))
        await shard.redis.flushall()
        await told_again(shard, 5)
        assert {record.usage.call_id for record in await shard.records()} == {call.id.hex for call in calls}
        assert (await shard.in_hand(calls[0]))[1] == 5 * COST
        hold = await shard.admit(a_call(caller))
        assert await shard.in_hand(calls[0]) == (0, 5 * COST, hold.amount_nano_usd)


async def test_settlements_lost_with_a_restart_to_nothing_are_told_again_once(outage: Outage) -> None:
    async with outage.running_worker() as shard:
        caller = a_caller(new_account_id(), cap_nano=CAP)
        for _ in range(5):
            await shard.settle(await shard.admit(a_call(caller)), Usage(3, 0, 7))
        for _ in range(2):
            await outage.restart_empty()
            await told_again(shard, 5)
        await outage.met(shard)  # the records are there before the probe that told them has returned
        await shard.admit(a_call(caller))
        assert (await shard.in_hand(a_call(caller)))[1] == 5 * COST


async def test_what_the_ledger_has_is_not_told_again(outage: Outage) -> None:
    async with outage.running_worker() as shard:
        caller = a_caller(new_account_id())
        known, new = a_call(caller), a_call(caller)
        for call in (known, new):
            await shard.settle(await shard.admit(call), Usage(3, 0, 7))
        outage.books.booked = {known.id.hex}
        await outage.restart_empty()
        await told_again(shard, 1)
        assert [record.usage.call_id for record in await shard.records()] == [new.id.hex]


async def test_a_restart_that_forgot_nothing_doubles_nothing(outage: Outage) -> None:
    async with outage.running_worker() as shard:
        caller = a_caller(new_account_id(), cap_nano=CAP)
        for _ in range(5):
            await shard.settle(await shard.admit(a_call(caller)), Usage(3, 0, 7))
        await outage.valkey.kill()
        await outage.valkey.start()
        await outage.met(shard)
        await shard.admit(a_call(caller))
        assert len(await shard.records()) == 5
        assert (await shard.in_hand(a_call(caller)))[1] == 5 * COST


async def test_calls_go_on_within_the_share_while_redis_is_away_and_are_charged_when_it_is_back(outage: Outage) -> None:
    amount = 100 * INPUT_NANO + 100 * OUTPUT_NANO
    async with outage.running_worker(share_nano=3 * amount) as shard:
        caller = a_caller(new_account_id(), cap_nano=CAP)
        await shard.settle(await shard.admit(a_call(caller)), Usage(3, 0, 7))
        await outage.valkey.kill()
        through = [await shard.admit(a_call(caller)) for _ in range(3)]
        with pytest.raises(ServiceUnavailable):
            await shard.admit(a_call(caller))
        for hold in through:
            assert not (await shard.settle(hold, Usage(3, 0, 7))).cost_is_known
        await outage.valkey.start()
        await told_again(shard, 4)
        assert (await shard.in_hand(a_call(caller)))[1] == 4 * COST
