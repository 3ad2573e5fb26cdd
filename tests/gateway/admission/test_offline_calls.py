"""While Redis is away: limits by each worker's part of them, and streams that go on beyond their slice within the share of the exposure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from billing.usage import Usage
from gateway.admission.keep import Keeper, Lease, Terms
from gateway.admission.offline import RateShares
from gateway.call import Caller, RateLimit
from gateway.errors import RateLimited, UpstreamInterrupted
from tests.gateway.admission.outage import Outage, an_outage, until
from tests.gateway.admission.shard import Shard
from tests.gateway.values import INPUT_NANO, OUTPUT_NANO, a_call, a_caller, new_account_id

TERMS = Terms(
    lease_s=60.0, sent_mark_s=0.05, progress_s=1.0, progress_tokens_max=64, slice_tokens=100, extend_wait_s=1.0
)
CAP = 10**9
SLICE_NANO = 100 * OUTPUT_NANO


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    async with an_outage(tmp_path) as made:
        yield made


def keeper_of(shard: Shard) -> Keeper:
    keeper = Keeper(shard.ticker, TERMS, shards=1)
    keeper.grow, shard.standby.open_calls = shard.standby.grow, keeper.open_calls
    return keeper


async def a_stream(shard: Shard, keeper: Keeper, caller: Caller) -> Lease:
    """One without a bound, of which 100 tokens are held."""
    call = a_call(caller, prompt_max=100, output_max=100_000, output_first=100, output_min=1)
    lease = keeper.begin(await shard.admit(call))
    lease.sent()
    return lease


async def told(shard: Shard) -> None:
    async def nothing_is_left() -> bool:
        return shard.journal.is_empty

    await until(nothing_is_left, "the journal is told")


@pytest.mark.parametrize("admitted_by", ["redis", "the share"])
async def test_a_stream_goes_on_beyond_its_slice_while_redis_is_away_and_no_further_than_the_share(
    outage: Outage, admitted_by: str
) -> None:
    share = 100 * INPUT_NANO + 6 * SLICE_NANO
    async with outage.running_worker(share_nano=share) as shard:
        keeper, caller = keeper_of(shard), a_caller(new_account_id(), cap_nano=CAP)
        await shard.settle(await shard.admit(a_call(caller, prompt_max=1, output_max=1)), Usage(1, 0, 1))
        if admitted_by == "redis":
            lease = await a_stream(shard, keeper, caller)
            await outage.valkey.kill()
        else:
            await outage.valkey.kill()
            lease = await a_stream(shard, keeper, caller)
        await lease.cover(150)
        await lease.cover(400)
        assert lease.covered_tokens >= 400
        with pytest.raises(UpstreamInterrupted):
            await lease.cover(900)
        settlement = await shard.settle(lease.hold, Usage(100, 0, 400))
        lease.end()
        assert not settlement.cost_is_known
        await outage.valkey.start()
        await told(shard)
        charged = 100 * INPUT_NANO + 400 * OUTPUT_NANO
        assert (await shard.in_hand(lease.hold.call))[1:] == (charged + INPUT_NANO + OUTPUT_NANO, 0)


async def test_without_an_exposure_a_stream_ends_where_its_slice_does(outage: Outage) -> None:
    async with outage.running_worker() as shard:
        lease = await a_stream(shard, keeper_of(shard), a_caller(new_account_id(), cap_nano=CAP))
        await outage.valkey.kill()
        await lease.cover(100)
        with pytest.raises(UpstreamInterrupted):
            await lease.cover(101)


async def test_limits_are_kept_by_the_workers_part_of_them_while_redis_is_away(outage: Outage) -> None:
    async with outage.running_worker(share_nano=CAP) as shard:
        keeper, account = keeper_of(shard), new_account_id()
        scope = f"a:{account}"
        caller = a_caller(account, cap_nano=CAP, limits=[RateLimit(scope, requests_per_minute=6, concurrency=4)])
        leases = [keeper.begin(await shard.admit(a_call(caller))) for _ in range(3)]
        await outage.valkey.kill()
        leases.append(keeper.begin(await shard.admit(a_call(caller))))
        with pytest.raises(RateLimited) as at_once:
            await shard.admit(a_call(caller))
        assert at_once.value.code == "concurrency_limit_exceeded"
        for lease in leases:
            await shard.settle(lease.hold, Usage(1, 0, 1))
            lease.end()
        for _ in range(2):
            await shard.admit(a_call(caller))
        with pytest.raises(RateLimited) as a_minute:
            await shard.admit(a_call(caller))
        assert a_minute.value.code == "rate_limit_exceeded"
        assert 0 < int(a_minute.value.headers["retry-after-ms"]) <= 61_000


def admitted(shares: list[RateShares], rate: RateLimit, tokens: int, now_s: float, tries: int) -> int:
    """How many of so many calls that come round robin the workers let through."""
    count = 0
    for n in range(tries):
        own = shares[n % len(shares)]
        if own.refuses([rate], tokens, {}, len(shares), now_s) is None:
            own.saw([rate], tokens, now_s)
            count += 1
    return count


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_all_workers_together_pass_a_limit_by_one_for_each_of_them_at_most(workers: int) -> None:
    for limit in (1, 10, 97, 600):
        shares = [RateShares(scopes_max=10) for _ in range(workers)]
        count = admitted(shares, RateLimit("a:1", requests_per_minute=limit), 0, 1000.0, 4000)
        assert limit <= count < limit + workers
        assert admitted(shares, RateLimit("a:1", requests_per_minute=limit), 0, 1059.0, 4000) == 0
        assert limit <= admitted(shares, RateLimit("a:1", requests_per_minute=limit), 0, 1061.0, 4000) < limit + workers


def test_tokens_are_bounded_too_and_a_call_larger_than_the_part_goes_into_an_empty_minute() -> None:
    shares = [RateShares(scopes_max=10) for _ in range(4)]
    rate = RateLimit("a:1", tokens_per_minute=1000)
    assert admitted(shares, rate, 100, 1000.0, 100) == 8  # two each of 250
    assert admitted(shares, rate, 5000, 1061.0, 100) == 4


def test_what_redis_admitted_in_the_last_minute_is_in_the_part() -> None:
    shares, rate = RateShares(scopes_max=10), RateLimit("a:1", requests_per_minute=10)
    for _ in range(10):
        shares.saw([rate], 0, 1000.0)
    assert shares.refuses([rate], 0, {}, 1, 1030.0) == ("requests", "a:1", 31_000)
    assert shares.refuses([rate], 0, {}, 1, 1061.0) is None
    for n in range(20):
        shares.saw([RateLimit(f"a:{n + 2}")], 0, 1061.0)
    assert shares.refuses([rate], 0, {}, 1, 1030.0) is None  # forgotten: so many scopes are remembered
