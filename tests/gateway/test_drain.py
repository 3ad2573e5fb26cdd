"""The usage stream → the ledger: each call once, whatever is lost on the way; what cannot be read is set aside; counters follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from sqlmodel import col, func, select

from billing.database import Sessions, open_engine, sessions_of
from billing.keeping.retention import late_records
from billing.ledger.entry import partition_of
from billing.ledger.read import RunningTotal, grant_use, totals_of
from billing.ledger.record import to_wire_record
from billing.ledger.tables import DetachedMonth, LedgerEntry
from billing.usage import Usage
from gateway.admission.batch import Ticker
from gateway.admission.pipe import StoreUnavailable
from gateway.admission.records import record_of
from gateway.call import Call, Outcome
from gateway.clock import Clock
from gateway.drain import Drain, DrainBounds, flushed, unreadable
from gateway.sandbox.stores import Stores
from tests.gateway.admission.shard import STREAM, Shard, open_pipe, open_redis
from tests.gateway.values import a_call, a_caller, new_account_id

UNREADABLE = "{s0}:unreadable"
NOW = datetime.now(UTC)


@dataclass
class Works:
    """A shard, a ledger, and the drains between them."""

    shard: Shard
    sessions: Sessions

    def drain(
        self, *, ticker: Ticker | None = None, sessions: Sessions | None = None, batch_max: int = 100, **bounds: Any
    ) -> Drain:
        given = DrainBounds(shards=1, batch_max=batch_max, idle_ms=5, swept_memory_s=30, **bounds)
        return Drain(self.shard.redis, ticker or self.shard.ticker, sessions or self.sessions, Clock(), given)

    async def settled(self, call: Call, count: int = 10) -> Call:
        await self.shard.settle(await self.shard.admit(call), Usage(count, 0, count))
        return call

    async def entries(self) -> int:
        async with self.sessions() as session:
            return (await session.execute(select(func.count(col(LedgerEntry.entry_id))))).scalar_one()

    async def totals(self, account_id: str) -> dict[tuple[str, str], RunningTotal]:
        async with self.sessions() as session:
            return await totals_of(session, account_id)

    async def left(self, stream: str = STREAM) -> int:
        return int(await self.shard.redis.xlen(stream))


@pytest.fixture
async def works(stores: Stores, redis: Redis, sessions: Sessions) -> AsyncIterator[Works]:
    client = open_redis(stores.redis_url)
    yield Works(Shard(client), sessions)
    await client.aclose()


@pytest.fixture
async def lost(unused_tcp_port: int) -> AsyncIterator[Ticker]:
    """A ticker whose Redis is not there: what it is told is lost."""
    ticker = Ticker(open_pipe(f"redis://127.0.0.1:{unused_tcp_port}/0", 1), batch_max=9, stream_max=9)
    yield ticker
    await ticker.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - stores have nobody to tell
            await asyncio.sleep(0.01)


async def test_a_batch_moves_into_the_ledger_and_the_counters_follow(works: Works) -> None:
    caller = a_caller(new_account_id())
    calls = [await works.settled(a_call(caller)) for _ in range(3)]
    drain = works.drain(batch_max=2)
    assert [await drain.once(0) for _ in range(3)] == [2, 1, 0]
    assert (await works.entries(), await works.left()) == (3, 0)
    assert await works.shard.in_hand(calls[0]) == (45_000, 0, 0)
    total = RunningTotal(Decimal("0.000045"), 3)
    assert await works.totals(caller.account_id) == {(str(calls[0].month), "key_1"): total}


async def test_an_acknowledgement_that_is_lost_after_the_commit_doubles_nothing(works: Works, lost: Ticker) -> None:
    call = await works.settled(a_call(a_caller(new_account_id())))
    await works.settled(a_call(call.caller))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await works.drain(ticker=lost).once(0)
        assert (await works.entries(), await works.left()) == (2, 2)
        assert await works.shard.in_hand(call) == (0, 30_000, 0)
    await works.drain().once(0)
    assert (await works.entries(), await works.left()) == (2, 0)
    assert await works.shard.in_hand(call) == (30_000, 0, 0)
    assert (await works.totals(call.caller.account_id))[str(call.month), "key_1"].entries == 2


async def test_a_record_that_is_in_the_stream_twice_is_one_call(works: Works) -> None:
    call = await works.settled(a_call(a_caller(new_account_id())))
    (entry,) = await _entries(works.shard.redis)
    await works.shard.redis.xadd(STREAM, entry[1])
    await works.drain().once(0)
    assert (await works.entries(), await works.left()) == (1, 0)
    assert (await works.totals(call.caller.account_id))[str(call.month), "key_1"] == RunningTotal(
        Decimal("0.000015"), 1
    )


async def test_drains_at_once_double_nothing(works: Works) -> None:
    caller = a_caller(new_account_id())
    calls = [await works.settled(a_call(caller)) for _ in range(30)]
    drains = [works.drain(batch_max=7) for _ in range(3)]

    async def to_the_end(drain: Drain) -> None:
        while await drain.once(0):
            continue

    await asyncio.gather(*map(to_the_end, drains))
    assert (await works.entries(), await works.left()) == (30, 0)
    assert await works.shard.in_hand(calls[0]) == (450_000, 0, 0)
    total = RunningTotal(Decimal("0.00045"), 30)
    assert await works.totals(caller.account_id) == {(str(calls[0].month), "key_1"): total}


async def test_the_split_of_grants_goes_with_the_record(works: Works) -> None:
    works.shard.books.grant("gra_1", 12, NOW - timedelta(days=1), NOW + timedelta(days=1))
    call = await works.settled(a_call(a_caller(new_account_id())))
    for _ in range(2):
        await works.drain().once(0)
    async with works.sessions() as session:
        assert await grant_use(session, ["gra_1"]) == {"gra_1": 12}
        (entry,) = (await session.execute(select(LedgerEntry))).scalars()
    assert (entry.call_id, entry.granted_output_tokens, entry.granted_input_tokens) == (call.id, 10, 2)
    assert entry.cost == Decimal("0.0000024")


def _spoiled() -> dict[str, dict[Any, Any]]:
    """Fields of records that cannot be read, each for a reason of its own."""
    record = record_of(a_call(a_caller("acc_00000001")), Outcome(Usage(1, 0, 1)))
    fields: dict[Any, Any] = {
        "r": to_wire_record(record),
        "a": "acc_00000001",
        "n": "5",
        "m": msgspec.msgpack.encode(["m:2026-11"]),
    }
    fields["g"] = msgspec.msgpack.encode([])

    def with_record(**changes: Any) -> dict[Any, Any]:
        return fields | {"r": to_wire_record(msgspec.structs.replace(record, **changes))}

    return {
        "no fields": {"x": "y"},
        "no json": fields | {"r": b"\xff"},
        "half a record": fields | {"r": to_wire_record(record)[:40]},
        "no number": fields | {"n": "five"},
        "no split": fields | {"g": b"\xc1"},
        "unknown kind in the split": fields | {"g": msgspec.msgpack.encode([("gra_1", 9, 5)])},
        "no identity": with_record(call_id="nobody"),
        "an identity of no instant": with_record(call_id="f" * 32),
        "no month": with_record(billing_month="2026-13"),
        "no price": with_record(prices=("free", "0", "0", "0", "0")),
        "no discount": with_record(discount="none"),
        "negative count": with_record(usage=(-1, 0, 0, 0, 0)),
        "an instant beyond time": with_record(accepted_ns=10**30),
        "a count no column holds": with_record(usage=(2**40, 0, 0, 0, 0)),
        "a text no column holds": with_record(model_answered="solar\x00pro"),
    }


async def test_records_that_cannot_be_read_or_stored_are_set_aside_and_hold_nothing_up(works: Works) -> None:
    drain = works.drain()
    for at, (name, fields) in enumerate(_spoiled().items(), 1):
        call = await works.settled(a_call(a_caller(new_account_id())))
        await works.shard.redis.xadd(STREAM, fields)
        await works.settled(a_call(call.caller))
        assert [await drain.once(0), await drain.once(0)] == [3, 0], name
        assert (await works.entries(), await works.left(), await works.left(UNREADABLE)) == (2 * at, 0, at), name
        assert await works.shard.in_hand(call) == (30_000, 0, 0), name
        _, kept = (await _entries(works.shard.redis, UNREADABLE))[-1]
        assert set(kept) == {*(field.encode() for field in fields), b"why", b"at"}, name


async def test_flushed_waits_for_what_was_settled_before_and_not_for_what_comes_after(works: Works) -> None:
    caller = a_caller(new_account_id())
    assert await flushed(works.shard.redis, 1, wait_s=0.1)
    await works.settled(a_call(caller))
    await works.settled(a_call(caller))
    assert not await flushed(works.shard.redis, 1, wait_s=0.05)
    before = await _reads_of_the_newest(works.shard.redis)
    waiting = asyncio.ensure_future(flushed(works.shard.redis, 1, wait_s=5))

    async def newest_is_read() -> bool:
        return await _reads_of_the_newest(works.shard.redis) > before

    await until(newest_is_read)
    await works.settled(a_call(caller))
    await works.drain(batch_max=1).once(0)
    assert not waiting.done()
    await works.drain(batch_max=1).once(0)
    assert await waiting
    assert await works.left() == 1


async def _reads_of_the_newest(redis: Redis) -> int:
    statistics: Any = await redis.info("commandstats")
    return int(statistics["cmdstat_xrevrange"]["calls"])


async def test_flushed_says_no_where_redis_is_away(unused_tcp_port: int) -> None:
    away = open_redis(f"redis://127.0.0.1:{unused_tcp_port}/0")
    assert not await flushed(away, 1, wait_s=0.5)
    await away.aclose()


async def test_a_drain_that_is_told_to_stop_empties_the_stream_first(works: Works) -> None:
    caller = a_caller(new_account_id())
    for _ in range(5):
        await works.settled(a_call(caller))
    stopping = asyncio.Event()
    stopping.set()
    await works.drain(batch_max=2).run(stopping)
    assert (await works.entries(), await works.left()) == (5, 0)


async def test_a_running_drain_sweeps_holds_of_workers_that_are_gone_into_the_ledger(works: Works) -> None:
    dead = Shard(works.shard.redis, hold_s=0)
    call = a_call(a_caller(new_account_id()))
    await works.shard.sent(await dead.admit(call))
    stopping = asyncio.Event()
    running = asyncio.ensure_future(works.drain().run(stopping))

    async def booked() -> bool:
        return await works.entries() == 1 and await works.left() == 0

    await until(booked)
    stopping.set()
    await running
    async with works.sessions() as session:
        (entry,) = (await session.execute(select(LedgerEntry))).scalars()
    assert (entry.call_id, entry.estimated_reason, entry.input_tokens) == (call.id, "worker lost", 25)
    assert (await works.shard.in_hand(call))[1:] == (0, 0)


async def test_while_postgres_is_away_the_drain_keeps_trying_and_the_stream_keeps_everything(
    works: Works, unused_tcp_port: int
) -> None:
    call = await works.settled(a_call(a_caller(new_account_id())))
    engine = open_engine(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none", connect_timeout_s=1)
    stopping = asyncio.Event()
    running = asyncio.ensure_future(works.drain(sessions=sessions_of(engine)).run(stopping))
    assert not await flushed(works.shard.redis, 1, wait_s=0.4)
    assert not running.done()
    stopping.set()
    await running
    assert await works.left() == 1
    await works.drain().once(0)
    assert await works.shard.in_hand(call) == (15_000, 0, 0)
    await engine.dispose()


@pytest.mark.parametrize("is_swept", [False, True])
async def test_another_attempt_of_a_call_whose_worker_died_is_one_call_with_its_attempts(
    works: Works, is_swept: bool
) -> None:
    first = a_call(a_caller(new_account_id(), cap_nano=10**9))
    await works.shard.admit(first)
    if is_swept:
        await works.shard.expire(first)
        assert (await works.shard.ask("W", 10, 30_000))[1] == 1
        await works.drain().once(0)
    second = msgspec.structs.replace(a_call(first.caller), continues=first.id, attempts_before=1)
    settlement = await works.shard.settle(await works.shard.admit(second), Usage(10, 0, 10))
    assert settlement.charged_nano_usd == 15_000
    await works.drain().once(0)
    assert await works.shard.holds() == 0
    assert await works.shard.in_hand(first) == (15_000, 0, 0)
    async with works.sessions() as session:
        rows = (await session.execute(select(LedgerEntry))).scalars().all()
    standing = [row for row in rows if row.kind == "call" and row.entry_id not in {other.reverses for other in rows}]
    assert {row.call_id for row in rows} == {first.id}
    assert len(rows) == (3 if is_swept else 1)
    (exact,) = standing
    assert (exact.output_tokens, exact.attempts, exact.estimated_reason) == (10, 2, None)
    total = RunningTotal(Decimal("0.000015"), 3 if is_swept else 1)
    assert await works.totals(first.caller.account_id) == {(str(first.month), "key_1"): total}


async def _entries(redis: Redis, stream: str = STREAM) -> list[tuple[bytes, dict[Any, Any]]]:
    found: Any = await redis.xrange(stream)
    return list(found)


async def test_a_drain_that_is_told_to_stop_gives_up_after_its_bound_and_loses_nothing(
    works: Works, unused_tcp_port: int
) -> None:
    for _ in range(4):
        await works.settled(a_call(a_caller(new_account_id())))
    writing = asyncio.Event()

    class SlowDrain(Drain):
        async def _append(self, messages: Any) -> None:
            writing.set()
            await asyncio.sleep(0.2)
            await super()._append(messages)

    given = DrainBounds(shards=1, batch_max=1, idle_ms=5, swept_memory_s=30, stop_s=0.5)
    stopping = asyncio.Event()
    stopping.set()
    begun = time.monotonic()
    await SlowDrain(works.shard.redis, works.shard.ticker, works.sessions, Clock(), given).run(stopping)
    assert writing.is_set()
    assert 0.4 < time.monotonic() - begun < 5
    entries, left = await works.entries(), await works.left()
    assert left >= 1
    assert entries + left in (4, 5)  # one may be in the ledger and not yet off the stream
    await works.drain().run(stopping)
    assert (await works.entries(), await works.left()) == (4, 0)


async def test_what_is_set_aside_is_bounded_counted_shown_and_no_longer_counted_against_caps(works: Works) -> None:
    drain = works.drain(unreadable_max=3)
    before = _counted("solar_unreadable_records_total")
    calls = []
    for _ in range(5):
        call = await works.settled(a_call(a_caller(new_account_id())))
        ((message_id, fields),) = await _entries(works.shard.redis)
        await works.shard.redis.xdel(STREAM, message_id)
        await works.shard.redis.xadd(STREAM, {**fields, b"r": fields[b"r"].replace(b'"solar-pro4"', b'"solar\\u0000"')})
        assert (await works.shard.in_hand(call))[1] == 15_000
        assert [await drain.once(0), await drain.once(0)] == [1, 0]
        assert await works.shard.in_hand(call) == (0, 0, 0)
        calls.append(call)
    assert (await works.entries(), await works.left(UNREADABLE)) == (0, 3)
    assert _counted("solar_unreadable_records_total") == before + 5
    shown = await unreadable(works.shard.redis, 1, 10)
    assert [row["call_id"] for row in shown] == [str(call.id) for call in calls[:1:-1]]
    assert {row["account_id"] for row in shown} == {call.caller.account_id for call in calls[2:]}
    assert len(await unreadable(works.shard.redis, 1, 2)) == 2


async def test_a_record_that_is_set_aside_twice_lies_there_once(works: Works, lost: Ticker) -> None:
    await works.settled(a_call(a_caller(new_account_id())))
    ((message_id, fields),) = await _entries(works.shard.redis)
    await works.shard.redis.xdel(STREAM, message_id)
    await works.shard.redis.xadd(STREAM, {**fields, b"r": b"\xff"})
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await works.drain(ticker=lost).once(0)  # it dies between the two steps
    assert (await works.left(), await works.left(UNREADABLE)) == (1, 1)
    await works.drain().once(0)
    assert (await works.left(), await works.left(UNREADABLE)) == (0, 1)


async def test_a_record_of_a_detached_month_is_counted_as_late_kept_and_off_the_stream(works: Works) -> None:
    call = await works.settled(a_call(a_caller(new_account_id())))
    month = partition_of(call.id)
    async with works.sessions.begin() as session:
        session.add(DetachedMonth(partition_month=month, detached_at=NOW))
    before = _counted("solar_late_records_total")
    assert [await works.drain().once(0), await works.drain().once(0)] == [1, 0]
    assert _counted("solar_late_records_total") == before + 1
    assert (await works.entries(), await works.left(), await works.left(UNREADABLE)) == (0, 0, 0)
    async with works.sessions() as session:
        (kept,) = await late_records(session, 10)
    assert (kept.call_id, kept.partition_month) == (call.id, month)


async def test_the_lag_counts_all_shards_also_those_that_do_not_answer(works: Works) -> None:
    drain = works.drain()
    drain._lag_records = [0, 0, 0]
    drain._show_lag([5, 7, 9])
    assert _counted("solar_drain_lag_records") == 21
    drain._show_lag([1, StoreUnavailable("away"), 0])
    assert _counted("solar_drain_lag_records") == 8


def _counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0
