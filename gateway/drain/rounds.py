"""The usage stream → the ledger.

Reads a shard's stream from its beginning, writes a batch in one transaction, and only then takes it off the stream and rebases the
counters, in one atomic step. Whatever dies in between: the batch is read again, the ledger knows each call's id, and the stream gives
up each record once. Two drains at a time are safe, only wasteful.
Told to stop, it drains on to the end, within a bound: what is left then stays on the stream for the next drain.
Errors: a fault of Redis or Postgres is counted, logged once in a row, and the round is repeated; a record that cannot be read or stored
is set aside (`unreadable`), so that it holds nothing up and is not lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from billing.database import Sessions
from billing.ledger.journal import append
from billing.ledger.read import RunningTotal, totals_of_each
from billing.money import add, nano_usd_up
from gateway.admission.batch import Ticker, shard_of, stream_key
from gateway.admission.connect import AnyRedis
from gateway.admission.pipe import StoreUnavailable
from gateway.call import PREPAID_SCOPE
from gateway.clock import Clock
from gateway.drain.message import UNREADABLE, Fields, Message, from_wire_message
from gateway.drain.unreadable import Aside, waiting
from gateway.metrics import (
    DRAIN_FAULTS,
    DRAIN_LAG_RECORDS,
    DRAINED_RECORDS,
    LATE_RECORDS,
    SWEPT_HOLDS,
    UNREADABLE_WAITING_RECORDS,
)

log = structlog.get_logger("drain")
_PAUSE_AFTER_FAULT_S = 0.25
_SWEEP_EVERY_S = 1.0
_SWEEP_MAX = 100
_SHARDS_AT_ONCE = 4
_LOOK_ASIDE_EVERY_S = 10.0
_SWEEP_PAUSE_S = 5.0
_FLUSH_POLL_S = 0.01
_Entries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class DrainBounds:
    """How much at a time, how long between rounds, and what is remembered."""

    shards: int
    batch_max: int
    idle_ms: int
    swept_memory_s: int
    settled_memory_s: int = 60
    stop_s: float = 15.0
    """How long it drains on when it is told to stop."""
    unreadable_max: int = 10_000
    """How many records that cannot be read a shard keeps."""


class Drain:
    """Drains the shards of one deployment."""

    def __init__(self, redis: AnyRedis, ticker: Ticker, sessions: Sessions, clock: Clock, bounds: DrainBounds) -> None:
        self._redis = redis
        self._ticker = ticker
        self._sessions = sessions
        self._clock = clock
        self._bounds = bounds
        self._aside = Aside(redis, ticker, kept_max=bounds.unreadable_max)
        self._failing = self._faulty = False
        self._sweep_from_s: dict[int, float] = {}
        self._lag_records = [0] * bounds.shards

    async def run(self, stopping: asyncio.Event) -> None:
        """Drain until told to stop, then on to the end, within a bound."""
        swept_at = looked_at = float("-inf")
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            moved = await self._round()
            if loop.time() - swept_at >= _SWEEP_EVERY_S:
                swept_at = loop.time()
                await self._sweep()
            if loop.time() - looked_at >= _LOOK_ASIDE_EVERY_S:
                looked_at = loop.time()
                UNREADABLE_WAITING_RECORDS.set(await waiting(self._redis, self._bounds.shards))
            # A round that was not full waits a little for company: a transaction costs the same for one record as for many.
            if moved < self._bounds.batch_max:
                await _wait(stopping, _PAUSE_AFTER_FAULT_S if self._failing else self._bounds.idle_ms / 1000)
        try:
            async with asyncio.timeout(self._bounds.stop_s):
                while await self._round():
                    continue
        except (
            TimeoutError
        ):  # given up in mid-batch: it is rolled back, or it is in the ledger and is known there next time
            log.warning("drain_stopped_early", records_left=sum(self._lag_records), after_s=self._bounds.stop_s)

    async def _round(self) -> int:
        """One batch of every shard that holds any, a few shards at a time. A shard that fails holds up no other."""
        lengths = await asyncio.gather(*self._ticker.lengths(self._bounds.shards), return_exceptions=True)
        self._show_lag(lengths)
        some = asyncio.Semaphore(_SHARDS_AT_ONCE)
        filled = [shard for shard, length in enumerate(lengths) if isinstance(length, int) and length > 0]
        batches = await asyncio.gather(*[self._batch(shard, some) for shard in filled])
        outcomes = [*enumerate(lengths), *zip(filled, batches, strict=True)]
        faults = {shard: outcome for shard, outcome in outcomes if isinstance(outcome, BaseException)}
        self._note(faults)
        # It waits for the stores only where nothing works: one master that is away is no reason to keep the others' records waiting.
        self._failing = len(faults) == self._bounds.shards or 0 < len(filled) <= len(faults)
        return sum(batch for batch in batches if isinstance(batch, int))

    async def _batch(self, shard: int, some: asyncio.Semaphore) -> int | Exception:
        async with some:
            try:
                return await self.once(shard)
            except (RedisError, StoreUnavailable, SQLAlchemyError, OSError, TimeoutError) as error:
                return error

    def _show_lag(self, lengths: Sequence[int | BaseException]) -> None:
        """Over all shards; one that does not answer has what it had, rather than nothing."""
        for shard, length in enumerate(lengths):
            if isinstance(length, int):
                self._lag_records[shard] = length
        DRAIN_LAG_RECORDS.set(sum(self._lag_records))

    def _note(self, faults: Mapping[int, BaseException]) -> None:
        """Count faults, log the first in a row, and leave the holds of those shards alone for a while: nobody could renew them."""
        if faults:
            DRAIN_FAULTS.inc(len(faults))
            if not self._faulty:
                kinds = sorted({type(error).__name__ for error in faults.values()})
                log.warning("drain_fault", kinds=kinds, shards=len(faults))
            from_s = asyncio.get_running_loop().time() + _SWEEP_PAUSE_S
            self._sweep_from_s.update(dict.fromkeys(faults, from_s))
        self._faulty = bool(faults)

    async def once(self, shard: int) -> int:
        """Move one batch of a shard into the ledger; returns how many records it held."""
        entries: _Entries = await self._redis.xrange(stream_key(shard), count=self._bounds.batch_max)  # type: ignore[assignment]
        if not entries:
            return 0
        messages = []
        for message_id, fields in entries:
            try:
                messages.append(from_wire_message(message_id, fields))
            except UNREADABLE as error:
                await self._set_aside(shard, message_id, fields, error)
        if messages:
            try:
                await self._append(messages)
            except (DBAPIError, *UNREADABLE) as error:
                if not _refuses_the_data(error):
                    raise
                messages = await self._append_one_by_one(shard, messages, dict(entries))
        if messages:
            totals = await self._totals(
                {m.moved.account_id for m in messages}, {m.settled.record.key_id for m in messages}
            )
            done = [message.done() for message in messages]
            await self._ticker.ask(shard, ("D", done, totals, self._bounds.settled_memory_s * 1000))
            DRAINED_RECORDS.inc(len(messages))
        return len(entries)

    async def _append(self, messages: Sequence[Message]) -> None:
        async with self._sessions.begin() as session:
            appended = await append(session, [message.settled for message in messages], self._clock.now())
        if appended.refused:
            LATE_RECORDS.inc(appended.refused)
            log.warning("records_refused", code="detached_month", records=appended.refused)

    async def _append_one_by_one(
        self, shard: int, messages: Sequence[Message], fields_of: dict[bytes, dict[bytes, bytes]]
    ) -> list[Message]:
        """One of these cannot be priced, or Postgres cannot take it: find it, and let the others through."""
        appended = []
        for message in messages:
            try:
                await self._append([message])
                appended.append(message)
            except (DBAPIError, *UNREADABLE) as error:
                if not _refuses_the_data(error):
                    raise
                await self._set_aside(shard, message.id, fields_of[message.id], error)
        return appended

    async def _set_aside(self, shard: int, message_id: bytes, fields: Fields, error: Exception) -> None:
        DRAIN_FAULTS.inc()
        await self._aside.put(shard, message_id, fields, error)

    async def _totals(self, accounts: set[str], keys: set[str]) -> list[tuple[str, str, int, int]]:
        """What the ledger says now of the counters that this batch moved."""
        rebased = []
        async with self._sessions() as session:
            found = await totals_of_each(session, sorted(accounts))
        for account_id, totals in found.items():
            for month in {month for month, _ in totals}:
                of_month = [total for (m, _), total in totals.items() if m == month]
                rebased.append(_to_wire_total(account_id, f"m:{month}", of_month))
                for key_id in keys & {key for m, key in totals if m == month}:
                    rebased.append(_to_wire_total(account_id, f"k:{key_id}:{month}", [totals[month, key_id]]))
            rebased.append(_to_wire_total(account_id, PREPAID_SCOPE, list(totals.values())))
        return rebased

    async def _sweep(self) -> None:
        """Book the holds of workers that are gone. Where Redis was away nobody could renew, so they are given a moment."""
        now_s = asyncio.get_running_loop().time()
        shards = [shard for shard in range(self._bounds.shards) if now_s >= self._sweep_from_s.get(shard, 0.0)]
        asked = [self._ticker.ask(shard, ("W", _SWEEP_MAX, self._bounds.swept_memory_s * 1000)) for shard in shards]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        faults: dict[int, BaseException] = {}
        for shard, reply in zip(shards, replies, strict=True):
            if isinstance(reply, RedisError | StoreUnavailable):
                faults[shard] = reply
            elif isinstance(reply, BaseException):
                raise reply
            elif reply[1] or reply[2]:
                SWEPT_HOLDS.inc(reply[1])
                log.warning("swept_holds", shard=shard, booked=reply[1], never_sent=reply[2])
        if faults:
            self._note(faults)


async def flushed(redis: AnyRedis, shards: int, account_id: str | None = None, *, wait_s: float) -> bool:
    """Wait until the ledger holds every call (of an account) settled before this moment; False where it does not after `wait_s`."""
    try:
        async with asyncio.timeout(wait_s):
            for shard in range(shards) if account_id is None else [shard_of(account_id, shards)]:
                key = stream_key(shard)
                newest: _Entries = await redis.xrevrange(key, count=1)  # type: ignore[assignment]
                while newest and await redis.xrange(key, max=newest[0][0], count=1):  # noqa: ASYNC110 - the drain is another process
                    await asyncio.sleep(_FLUSH_POLL_S)
    except (TimeoutError, RedisError, OSError):
        return False
    return True


def _refuses_the_data(error: Exception) -> bool:
    """Is it this data that cannot be read, or that Postgres cannot store (SQLSTATE classes 22 and 23), whenever it is asked?"""
    return not isinstance(error, DBAPIError) or str(getattr(error.orig, "sqlstate", "")).startswith(("22", "23"))


def _to_wire_total(account_id: str, scope: str, totals: Sequence[RunningTotal]) -> tuple[str, str, int, int]:
    cost_usd = add(total.cost for total in totals)
    return account_id, scope, nano_usd_up(cost_usd), sum(total.entries for total in totals)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
