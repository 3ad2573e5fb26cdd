"""Meters: every call once, in each open meter, across threads and tasks, and never a guess."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar, Sums
from solar_sdk.metering import Meter

from .answers import PRICE_HEADERS, TALE, completion
from .true_server import Fault, TrueServer, error, stream, whole

PRICED = whole(completion(), headers=PRICE_HEADERS)
COST = Decimal("0.00012345")


def test_a_meter_counts_calls_tokens_and_cost(server: TrueServer, client: Solar) -> None:
    server.play(PRICED, stream(TALE), PRICED)
    with solar_sdk.meter() as meter:
        client.chat("?")
        list(client.chat("?", stream=True))
    client.chat("not counted")
    assert (meter.calls, meter.unmeasured_calls) == (2, 0)
    assert (meter.input_tokens, meter.cached_input_tokens, meter.output_tokens) == (40, 20, 24)
    assert (meter.cost, meter.currency) == (2 * COST, "USD")


def test_models_are_told_apart_by_the_name_that_was_asked_for(server: TrueServer, client: Solar) -> None:
    server.play(PRICED, PRICED)
    with solar_sdk.meter() as meter:
        client.chat("?")
        client.chat("?", model="solar-mini4")
    assert {name: sums.calls for name, sums in meter.by_model.items()} == {"solar-pro4": 1, "solar-mini4": 1}
    assert meter.by_model["solar-mini4"].cost == COST


def test_nested_meters_both_count(server: TrueServer, client: Solar) -> None:
    server.play(PRICED, PRICED)
    with solar_sdk.meter() as outer:
        client.chat("?")
        with solar_sdk.meter() as inner:
            client.chat("?")
    assert (outer.calls, inner.calls) == (2, 1)


async def test_tasks_inherit_the_open_meter(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(*[PRICED] * 8)
    with solar_sdk.meter() as meter:
        await asyncio.gather(*(async_client.chat("?") for _ in range(8)))
    assert (meter.calls, meter.cost) == (8, 8 * COST)


async def test_tasks_side_by_side_do_not_see_each_others_meters(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(*[PRICED] * 6)

    async def ask(times: int) -> int:
        with solar_sdk.meter() as meter:
            for _ in range(times):
                await async_client.chat("?")
        return meter.calls

    assert list(await asyncio.gather(ask(1), ask(2), ask(3))) == [1, 2, 3]


def test_a_wrapped_function_is_counted_in_any_thread(server: TrueServer, client: Solar) -> None:
    server.play(*[PRICED] * 8)
    with solar_sdk.meter() as meter, ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(meter.wrap(client.chat), ["?"] * 8))
    assert (len(replies), meter.calls, meter.cost) == (8, 8, 8 * COST)


def test_a_stream_belongs_to_the_meter_it_began_in(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE))
    with solar_sdk.meter() as meter:
        pieces = client.chat("?", stream=True)
    assert (meter.calls, meter.unmeasured_calls) == (1, 1)
    list(pieces)
    assert (meter.calls, meter.unmeasured_calls, meter.cost) == (1, 0, COST)


def test_a_stream_left_early_is_a_call_whose_tokens_were_never_told(server: TrueServer, client: Solar) -> None:
    server.play(stream(TALE[:2], Fault.HOLD))
    with solar_sdk.meter() as meter, client.chat("?", stream=True) as pieces:
        next(pieces)
    assert (meter.calls, meter.unmeasured_calls, meter.output_tokens, meter.cost) == (1, 1, 0, Decimal(0))


def test_refusals_and_failed_attempts_are_not_calls(server: TrueServer, client: Solar) -> None:
    server.play(error(503, "x", {"retry-after-ms": "1"}), PRICED, error(400, "x"))
    with solar_sdk.meter() as meter:
        client.chat("?")
        with pytest.raises(solar_sdk.InvalidRequestError):
            client.chat("?")
    assert meter.calls == 1


def test_many_threads_lose_no_count() -> None:
    meter = Meter()
    one = Sums(calls=1, output_tokens=3, cost_by_currency={"USD": Decimal("0.1")})

    def add_many() -> None:
        for _ in range(500):
            meter.add("m", one)

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (meter.calls, meter.output_tokens, meter.cost) == (2_000, 6_000, Decimal("200.0"))


def test_costs_in_two_currencies_are_never_added() -> None:
    meter = Meter()
    meter.add("m", Sums(calls=1, cost_by_currency={"USD": Decimal(1)}))
    meter.add("m", Sums(calls=1, cost_by_currency={"KRW": Decimal(2)}))
    with pytest.raises(ValueError, match="USD and KRW do not add up"):
        _ = meter.cost
    assert meter.total.cost_by_currency == {"USD": Decimal(1), "KRW": Decimal(2)}
