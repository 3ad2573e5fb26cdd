"""Requests a minute, tokens a minute and calls at once, decided by the script on Redis's clock."""

from __future__ import annotations

import pytest

from billing.usage import Usage
from gateway.call import Call, RateLimit
from gateway.errors import RateLimited
from tests.gateway.admission.shard import BUCKET_MS, WINDOW_BUCKETS, Shard
from tests.gateway.values import a_call, a_caller, a_price, new_account_id


def limited(**limits: int) -> Call:
    account = new_account_id()
    return a_call(a_caller(account, limits=[RateLimit(f"a:{account}", **limits)]))


def again(call: Call) -> Call:
    return a_call(call.caller, prompt_max=call.prompt_tokens_max, output_max=call.output_tokens_max)


def scope_of(call: Call) -> str:
    return call.caller.rate_limits[0].scope


async def refused(shard: Shard, call: Call) -> RateLimited:
    with pytest.raises(RateLimited) as error:
        await shard.admit(call)
    return error.value


async def test_exactly_n_requests_are_admitted_in_a_minute_and_the_headers_count_down(shard: Shard) -> None:
    call = limited(requests_per_minute=3)
    holds = [await shard.admit(again(call)) for _ in range(3)]
    assert [hold.limit_headers["x-ratelimit-remaining-requests"] for hold in holds] == ["2", "1", "0"]
    error = await refused(shard, again(call))
    assert error.code == "rate_limit_exceeded"
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-tokens" not in error.headers
    # Giving a hold back does not give the request back: it was one.
    await shard.admission.give_back(holds[0])
    await refused(shard, again(call))


async def test_a_request_leaves_the_window_a_full_minute_after_the_last_instant_of_its_bucket(shard: Shard) -> None:
    call = limited(requests_per_minute=2)
    await shard.admit(again(call))
    before_ms = await shard.now_ms()
    bucket = before_ms // BUCKET_MS - 300
    await shard.fill_window(scope_of(call), [(bucket, 1, 0), (bucket + 50, 1, 0)])
    error = await refused(shard, call)
    after_ms = await shard.now_ms()
    leaves_ms = (bucket + WINDOW_BUCKETS) * BUCKET_MS
    assert leaves_ms >= (bucket + 1) * BUCKET_MS + 60_000
    assert leaves_ms - after_ms <= error.retry_after_ms <= leaves_ms - before_ms
    assert error.headers["retry-after-ms"] == str(error.retry_after_ms)
    assert int(error.headers["retry-after"]) * 1000 >= error.retry_after_ms


async def test_what_left_the_window_is_forgotten_and_what_is_still_in_it_counts(shard: Shard) -> None:
    call = limited(requests_per_minute=2)
    await shard.admit(again(call))
    bucket = await shard.now_ms() // BUCKET_MS
    await shard.fill_window(scope_of(call), [(bucket - 700, 5, 0), (bucket - 601, 5, 0), (bucket - 590, 1, 0)])
    await shard.admit(again(call))
    await refused(shard, again(call))
    window = await shard.window(scope_of(call))
    assert sum(requests for _, requests, _ in window) == 2
    assert window[0][0] == bucket - 590


async def test_a_bucket_that_was_corrected_to_nothing_leaves_without_a_fault(shard: Shard) -> None:
    call = limited(tokens_per_minute=1000)
    await shard.admit(again(call))
    bucket = await shard.now_ms() // BUCKET_MS
    await shard.fill_window(scope_of(call), [(bucket - 700, 1, 0), (bucket - 100, 1, 800)])
    hold = await shard.admit(call)
    assert hold.limit_headers["x-ratelimit-remaining-tokens"] == "0"


async def test_tokens_wait_until_enough_of_them_have_left(shard: Shard) -> None:
    call = limited(tokens_per_minute=1000)
    await shard.admit(again(call))
    before_ms = await shard.now_ms()
    bucket = before_ms // BUCKET_MS - 400
    await shard.fill_window(scope_of(call), [(bucket, 1, 100), (bucket + 10, 1, 50), (bucket + 20, 1, 850)])
    error = await refused(shard, call)  # needs 200: the first two buckets give 150, the third the rest
    after_ms = await shard.now_ms()
    leaves_ms = (bucket + 20 + WINDOW_BUCKETS) * BUCKET_MS
    assert leaves_ms - after_ms <= error.retry_after_ms <= leaves_ms - before_ms
    assert error.headers["x-ratelimit-remaining-tokens"] == "0"


async def test_tokens_are_charged_by_the_estimate_and_corrected_at_settlement(shard: Shard) -> None:
    call = limited(tokens_per_minute=1000)
    hold = await shard.admit(call)
    assert hold.limit_headers["x-ratelimit-remaining-tokens"] == "800"
    await shard.settle(hold, Usage(30, 0, 10))
    second = await shard.admit(again(call))
    assert second.limit_headers["x-ratelimit-remaining-tokens"] == "760"
    await shard.admission.give_back(second)
    third = await shard.admit(again(call))
    assert third.limit_headers["x-ratelimit-remaining-tokens"] == "760"


async def test_tokens_used_beyond_the_estimate_delay_the_next_call(shard: Shard) -> None:
    call = limited(tokens_per_minute=1000)
    await shard.settle(await shard.admit(call), Usage(100, 0, 5000))
    error = await refused(shard, again(call))
    assert 59_000 <= error.retry_after_ms <= 60_100


async def test_a_call_longer_than_a_minute_still_pays_for_what_it_used_beyond_the_estimate(shard: Shard) -> None:
    call = limited(tokens_per_minute=1000)
    hold = await shard.admit(call)
    old = await shard.now_ms() // BUCKET_MS - 900
    await shard.fill_window(scope_of(call), [(old, 1, 200)])
    await shard.settle(hold, Usage(100, 0, 1000))
    await refused(shard, again(call))


async def test_a_call_larger_than_the_whole_limit_is_admitted_only_into_an_empty_window(shard: Shard) -> None:
    call = limited(tokens_per_minute=50)
    hold = await shard.admit(call)
    assert hold.limit_headers["x-ratelimit-remaining-tokens"] == "0"
    await refused(shard, again(call))


async def test_calls_at_once_are_counted_until_they_are_settled_or_given_back(shard: Shard) -> None:
    call = limited(concurrency=2)
    first, second = await shard.admit(again(call)), await shard.admit(again(call))
    error = await refused(shard, again(call))
    assert error.code == "concurrency_limit_exceeded"
    await shard.settle(first, Usage(1, 0, 1))
    third = await shard.admit(again(call))
    await refused(shard, again(call))
    await shard.admission.give_back(second)
    await shard.admission.give_back(second)
    await shard.settle(first, Usage(1, 0, 1))
    await shard.admit(again(call))
    await refused(shard, again(call))
    await shard.admission.give_back(third)


async def test_the_tightest_of_account_and_key_decides_and_is_shown(shard: Shard) -> None:
    account = new_account_id()
    limits = [RateLimit(f"a:{account}", requests_per_minute=5), RateLimit("k:key_1", requests_per_minute=2)]
    caller = a_caller(account, limits=limits)
    hold = await shard.admit(a_call(caller))
    assert hold.limit_headers["x-ratelimit-limit-requests"] == "2"
    assert hold.limit_headers["x-ratelimit-remaining-requests"] == "1"
    await shard.admit(a_call(caller))
    error = await refused(shard, a_call(caller))
    assert "key" in error.message
    other = a_caller(account, key_id="key_2", limits=limits[:1])
    assert (await shard.admit(a_call(other))).limit_headers["x-ratelimit-remaining-requests"] == "2"


async def test_a_models_own_limit_counts_its_calls_alone_beside_those_of_the_account(shard: Shard) -> None:
    account = new_account_id()
    of_model = RateLimit(f"a:{account}:solar-pro4", requests_per_minute=1)
    caller = a_caller(
        account,
        limits=[RateLimit(f"a:{account}", requests_per_minute=3)],
        model_limits=[("solar-pro4", of_model), ("solar-mini4", RateLimit(f"a:{account}:solar-mini4", concurrency=1))],
    )
    hold = await shard.admit(a_call(caller))
    assert hold.limit_headers["x-ratelimit-limit-requests"] == "1"
    error = await refused(shard, a_call(caller))
    assert "account for solar-pro4" in error.message
    mini = a_price(model="solar-mini4")
    other = await shard.admit(a_call(caller, price=mini))
    error = await refused(shard, a_call(caller, price=mini))
    assert error.code == "concurrency_limit_exceeded"
    await shard.admission.give_back(other)
    await shard.admit(a_call(caller, price=mini))
    await refused(shard, a_call(caller, price=a_price(model="solar-pro3")))  # the account's third was the last
