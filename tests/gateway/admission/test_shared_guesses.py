"""Guesses of keys are counted for all workers together: one allowance, whichever of them is asked; it fills up, and is forgotten."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway.errors import RateLimited
from gateway.keys.guesses import Guesses
from tests.gateway.admission.shard import Shard

BURST, WORKERS = 10, 4
SITE = "192.0.2.1"


def workers_on(shard: Shard, *, per_minute: int = 60, factor: int = 20) -> list[Guesses]:
    ask = partial(shard.ticker.ask, 0)
    return [
        Guesses(burst=BURST, per_minute=per_minute, addresses_max=100, everyone_factor=factor, shared=ask)
        for _ in range(WORKERS)
    ]


async def allowed(workers: list[Guesses], sites: list[str]) -> int:
    """How many look-ups of so many, spread over the workers and asked at once, are allowed."""
    asked = [workers[n % WORKERS].look_up(site) for n, site in enumerate(sites)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, RateLimited) for outcome in outcomes)
    return outcomes.count(None)


async def test_four_workers_together_allow_an_address_what_one_does(shard: Shard) -> None:
    assert await allowed(workers_on(shard, per_minute=1), [SITE] * 200) == BURST
    assert await allowed(workers_on(shard, per_minute=1), [SITE] * 200) == 0  # nor does a worker that is new


async def test_whoever_waits_as_long_as_told_is_looked_up_again(shard: Shard) -> None:
    workers = workers_on(shard, per_minute=600)
    await allowed(workers, [SITE] * 200)
    with pytest.raises(RateLimited) as refused:
        await workers_on(shard, per_minute=600)[0].look_up(SITE)
    wait_ms = int(refused.value.headers["retry-after-ms"])
    assert 0 < wait_ms <= 101
    await asyncio.sleep(wait_ms / 1000)
    await workers_on(shard, per_minute=600)[0].look_up(SITE)


async def test_a_key_that_was_no_guess_costs_nothing_anywhere(shard: Shard) -> None:
    workers = workers_on(shard, per_minute=1)
    for n in range(10 * BURST):
        await workers[n % WORKERS].look_up(SITE)
        await workers[n % WORKERS].was_none(SITE)
    assert await allowed(workers_on(shard, per_minute=1), [SITE] * 200) == BURST


async def test_all_addresses_together_have_an_allowance_that_bounds_what_is_remembered_and_that_expires(
    shard: Shard,
) -> None:
    workers, factor = workers_on(shard, per_minute=1, factor=3), 3
    sites = [f"2001:db8:{n:x}::/64" for n in range(200)]
    await allowed(workers, sites)
    keys = await shard.redis.keys("{s0}:g:*")
    assert len(keys) <= 201
    assert await allowed(workers_on(shard, per_minute=1, factor=factor), sites) == 0  # each has guessed lately
    assert await allowed(workers_on(shard, per_minute=1, factor=factor), ["198.51.100.7"]) == 1  # this one never did
    for key in keys:
        assert 0 < await shard.redis.pttl(key) <= 60_000 * BURST * factor


async def test_without_redis_each_worker_has_an_allowance_of_its_own(shard: Shard) -> None:
    workers = workers_on(shard, per_minute=1)

    async def away(_: object) -> list[object]:
        raise ConnectionError

    alone = [Guesses(burst=BURST, per_minute=1, addresses_max=100, shared=away) for _ in workers]
    assert await allowed(alone, [SITE] * 200) == WORKERS * BURST
