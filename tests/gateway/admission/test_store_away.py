"""Redis forgets its functions, is full, restarts, is gone, hangs, or answers too late: within bounds, and nothing charged for nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from billing.usage import Usage
from gateway.admission.pipe import StoreUnavailable
from gateway.call import Hold
from gateway.errors import NotBooked, ServiceUnavailable
from gateway.sandbox.valkey import Valkey
from tests.gateway.admission.shard import Shard, open_redis
from tests.gateway.values import a_call, a_caller, new_account_id


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a condition of Redis; fails after five seconds."""
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110 - Redis has nobody to tell
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A TCP server on loopback; its address as a Redis URL."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"redis://{host}:{port}/0"
    finally:
        server.close()


async def hold_the_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything, answer nothing."""
    while await reader.read(65536):
        continue
    writer.close()


async def test_a_redis_that_forgot_its_functions_is_given_them_again(shard: Shard) -> None:
    caller = a_caller(new_account_id())
    hold = await shard.admit(a_call(caller))
    await shard.redis.function_flush("SYNC")
    await shard.settle(hold, Usage(1, 0, 1))
    await shard.redis.function_flush("SYNC")
    await asyncio.gather(*[shard.admit(a_call(caller)) for _ in range(5)])
    assert len(await shard.records()) == 1


async def test_a_full_redis_admits_nothing_but_takes_what_makes_room_again(shard: Shard) -> None:
    hold = await shard.admit(a_call(a_caller(new_account_id())))
    await shard.settle(hold, Usage(1, 0, 1))
    (record,) = await shard.records()
    memory: Any = await shard.redis.config_get("maxmemory")
    await shard.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ServiceUnavailable):
            await shard.admit(a_call(hold.call.caller))
        assert await shard.ask("D", [record.done()], [], 1000) == ["ok"]
    finally:
        await shard.redis.config_set("maxmemory", memory["maxmemory"])
    assert await shard.records() == []


async def test_a_restart_of_redis_is_survived_and_keeps_holds_and_records(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, appendfsync="always")
    await valkey.start()
    try:
        shard = Shard(open_redis(valkey.url), timeout_s=1.0)
        caller = a_caller(new_account_id())
        hold, other = await shard.admit(a_call(caller)), await shard.admit(a_call(caller))
        await shard.settle(other, Usage(1, 0, 1))
        await valkey.stop()
        with pytest.raises(ServiceUnavailable):
            await shard.admit(a_call(caller))
        await valkey.start()
        settlement = await shard.settle(hold, Usage(2, 0, 2))
        assert settlement.cost_usd > 0
        assert await shard.in_hand(hold.call) == (0, 1500 + 3000, 0)
        assert len(await shard.records()) == 2
        await shard.ticker.close()
    finally:
        await valkey.stop()


async def test_a_settlement_waits_for_redis_to_come_back(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, appendfsync="always")
    await valkey.start()
    try:
        shard = Shard(open_redis(valkey.url), timeout_s=1.0)
        shard.admission._settle_retry_s = 10.0
        hold = await shard.admit(a_call(a_caller(new_account_id())))
        await valkey.stop()
        settling = asyncio.ensure_future(shard.settle(hold, Usage(1, 0, 1)))
        await valkey.start()
        assert (await settling).cost_usd > 0
        await shard.ticker.close()
    finally:
        await valkey.stop()


async def test_a_redis_that_is_not_there_refuses_at_once(unused_tcp_port: int) -> None:
    shard = Shard(open_redis(f"redis://127.0.0.1:{unused_tcp_port}/0"), timeout_s=5.0)
    begun = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        await shard.admit(a_call(a_caller(new_account_id())))
    assert time.monotonic() - begun < 2.0


async def test_a_redis_that_never_answers_is_given_up_within_the_timeout() -> None:
    async with a_server(hold_the_line) as url:
        shard = Shard(open_redis(url), timeout_s=0.2)
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            await shard.admit(a_call(a_caller(new_account_id())))
        assert 0.15 < time.monotonic() - begun < 2.0
        await shard.ticker.close()


async def test_a_settlement_that_redis_never_takes_ends_within_its_bound() -> None:
    async with a_server(hold_the_line) as url:
        far = Shard(open_redis(url), timeout_s=0.1)
        begun = time.monotonic()
        with pytest.raises(NotBooked) as caught:
            await far.settle(far_hold(), Usage(1, 0, 1))
        assert time.monotonic() - begun < 2.0
        # The model has answered: whoever asks again would make it answer, and bill, twice.
        assert caught.value.headers["x-should-retry"] == "false"
        await far.ticker.close()


async def test_a_refused_admission_that_redis_took_all_the_same_is_given_back_and_never_billed(shard: Shard) -> None:
    slow = Shard(shard.redis, shard.books, timeout_s=0.15, hold_s=0)
    caller = a_caller(new_account_id(), cap_nano=10**9)
    await shard.admission.sync(caller, str(a_call(caller).month))
    await shard.redis.client_pause(400, all=True)
    with pytest.raises(ServiceUnavailable):
        await slow.admit(a_call(caller))

    async def nothing_is_held() -> bool:
        return await shard.redis.zcard("{s0}:holds") == 0 and not slow.admission._to_free

    await until(nothing_is_held)
    assert await shard.ask("W", 100, 30_000) == ["ok", 0, 0]
    assert await shard.records() == []
    assert await shard.in_hand(a_call(caller)) == (0, 0, 0)


async def test_an_admission_whose_asker_is_cancelled_is_given_back(shard: Shard) -> None:
    caller = a_caller(new_account_id())
    await shard.admission.sync(caller, str(a_call(caller).month))
    for pauses in range(3):
        asking = asyncio.ensure_future(shard.admit(a_call(caller)))
        for _ in range(pauses):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    async def nothing_is_held() -> bool:
        return not shard.admission._to_free and await shard.in_hand(a_call(caller)) == (0, 0, 0)

    await until(nothing_is_held)


async def test_a_hold_that_could_not_be_given_back_is_given_back_later(shard: Shard) -> None:
    slow = Shard(shard.redis, shard.books, timeout_s=0.15)
    hold = await slow.admit(a_call(a_caller(new_account_id())))
    await shard.redis.client_pause(400, all=True)
    await slow.admission.give_back(hold)

    async def nothing_is_held() -> bool:
        return await shard.in_hand(hold.call) == (0, 0, 0)

    await until(nothing_is_held)
    assert await shard.records() == []


async def test_an_answer_that_is_no_reply_leaves_nobody_waiting(shard: Shard) -> None:
    async with a_server(answer_nonsense) as url:
        broken = Shard(open_redis(url), timeout_s=1.0)
        with pytest.raises(StoreUnavailable):
            await broken.ask("V", "acc_00000001", [])
        await broken.ticker.close()


async def test_a_defect_of_the_script_is_no_absence_of_redis(shard: Shard) -> None:
    with pytest.raises(ResponseError):
        await shard.ask("no such operation")
    assert (await shard.ask("V", "acc_00000001", []))[0] == "ok"


async def test_closing_sends_what_is_queued_first(shard: Shard) -> None:
    future = shard.ticker.ask(0, ("E", "acc_00000001", 5))
    await shard.ticker.close()
    assert await future == ["ok"]


async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every request is answered with a string that is no MessagePack array."""
    while await reader.read(65536):
        writer.write(b"$3\r\nabc\r\n" * 4)
        await writer.drain()
    writer.close()


def far_hold() -> Hold:
    return Hold(a_call(a_caller(new_account_id())), 150_000)
