"""What Redis is told of a hold while its call waits for a connection: whether its request was sent."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from billing.usage import Usage
from gateway.admission.keep import Keeper, Terms
from gateway.call import Hold
from tests.gateway.admission.shard import Shard
from tests.gateway.values import a_call, a_caller, new_account_id

TERMS = Terms(
    lease_s=60.0, sent_mark_s=0.05, progress_s=1.0, progress_tokens_max=64, slice_tokens=2048, extend_wait_s=1.0
)
HEAD, SENT_AT = "<ddddddd", 4


async def sent_of(shard: Shard, hold: Hold) -> bool:
    """What the sweep would take the request for."""
    packed: Any = await shard.redis.get(f"{{s0}}:h:{hold.call.id.hex}")
    return bool(struct.unpack_from(HEAD, packed, 1)[SENT_AT])


async def until_sent_is(shard: Shard, hold: Hold, value: bool) -> None:
    async with asyncio.timeout(10):
        while await sent_of(shard, hold) is not value:  # noqa: ASYNC110 - Redis has nobody to tell
            await asyncio.sleep(0.01)


async def test_a_call_that_waits_for_a_connection_is_told_as_not_sent_and_as_sent_once_it_is(shard: Shard) -> None:
    keeper = Keeper(shard.ticker, TERMS, shards=1)
    hold = await shard.admit(a_call(a_caller(new_account_id())))
    lease = keeper.begin(hold)
    assert await sent_of(shard, hold)
    await until_sent_is(shard, hold, False)
    lease.sent()
    await until_sent_is(shard, hold, True)
    lease.end()


async def test_a_call_that_was_sent_at_once_tells_nothing_and_is_never_taken_for_not_sent(shard: Shard) -> None:
    keeper = Keeper(shard.ticker, TERMS, shards=1)
    hold = await shard.admit(a_call(a_caller(new_account_id())))
    waiting = keeper.begin(await shard.admit(a_call(a_caller(new_account_id()))))
    lease = keeper.begin(hold)
    lease.sent()
    before: Any = await shard.redis.zscore("{s0}:holds", hold.call.id.hex)
    await until_sent_is(shard, waiting.hold, False)  # the timer has looked at both
    assert await sent_of(shard, hold)
    assert await shard.redis.zscore("{s0}:holds", hold.call.id.hex) == before
    lease.end()
    waiting.end()


async def test_a_call_that_goes_on_without_a_hold_in_redis_is_given_one_and_one_that_has_ended_is_not(
    shard: Shard,
) -> None:
    keeper = Keeper(shard.ticker, TERMS, shards=1)
    caller = a_caller(new_account_id())
    await shard.admission.sync(caller, str(a_call(caller).month))
    running, ended = (keeper.begin(Hold(a_call(caller), 150_000, {}, 100)) for _ in range(2))
    for lease in (running, ended):
        lease.tell()
    ended.end()
    async with asyncio.timeout(10):
        while await shard.holds() == 0:  # noqa: ASYNC110 - Redis has nobody to tell
            await asyncio.sleep(0.01)
    await shard.settle(running.hold, Usage(1, 0, 1))
    running.end()
    assert await shard.holds() == 0
    assert [record.usage.call_id for record in await shard.records()] == [running.hold.call.id.hex]
