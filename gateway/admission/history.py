"""Heartbeats of one worker, and what it tells a Redis whose history is not the one that it knew.

A failover may forget the last second, a restart more, a flush everything. Each shard therefore names its history (an era, see
`scripts/history.lua`). A worker that meets another era than the one it knew tells again what that may not know: the holds of its open
calls, what it gave back of late, and every settlement that is not known to be in the ledger, as it was decided. Only then does it call
itself registered, and only when all live workers have, or after `rebuild_s`, are calls under a cap let in again. Told twice changes
nothing: the script knows a settled call by its id, the ledger for good.
Units: seconds, nano-USD (rounded up). Errors: `StoreUnavailable`, `UnknownAccount`, and what reading the ledger raises.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec.structs import replace

from billing.money import nano_usd_up
from billing.terms import Counters
from gateway.admission.batch import Reply, Ticker, shard_of
from gateway.admission.recall import Kept, Operation, Recall, Told, freeing, kept_settlement, restoring
from gateway.call import PREPAID_SCOPE
from gateway.clock import to_ns
from gateway.errors import ServiceUnavailable
from gateway.metrics import HISTORIES, RETOLD_RECORDS

log = structlog.get_logger("history")
_BATCH = 200
_MS = 1_000_000
ReadCounters = Callable[[str], Awaitable[Counters | None]]

SettledCalls = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Which of these calls have their settlement in the ledger; raises `ServiceUnavailable` where that cannot be told."""


class UnknownAccount(Exception):
    """The ledger knows no such account."""


class LedgerSync:
    """Reads the ledger and tells Redis."""

    def __init__(self, ticker: Ticker, read_counters: ReadCounters, *, shards: int) -> None:
        self._ticker = ticker
        self._read_counters = read_counters
        self._shards = shards

    async def tell(self, account_id: str, key_id: str, month: str) -> list[str]:
        """Tell the shard what the ledger says of an account, a key and a month; returns the script's reply."""
        counters = await self._read_counters(account_id)
        if counters is None:
            raise UnknownAccount
        totals = {
            f"m:{month}": counters.month(month),
            f"k:{key_id}:{month}": counters.key_month(key_id, month),
            PREPAID_SCOPE: counters.lifetime(),
        }
        money = [(scope, nano_usd_up(total.cost), total.entries) for scope, total in totals.items()]
        grants = [(g.id, to_ns(g.from_at) // _MS, to_ns(g.until_at) // _MS, g.tokens_left) for g in counters.grants]
        told = self._ticker.ask(
            shard_of(account_id, self._shards), ("Y", account_id, counters.epoch, money, grants), through=True
        )
        return await told


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """How long calls under a cap wait for workers that are thought to live, and how much is remembered."""

    rebuild_s: float = 2.0
    live_s: float = 5.0
    records_max: int = 20_000
    freed_s: float = 30.0


class History:
    """What one worker knows of the histories of all shards."""

    def __init__(
        self,
        ticker: Ticker,
        ledger: LedgerSync,
        settled_calls: SettledCalls,
        keep: Callable[[Kept], Awaitable[None]],
        *,
        worker: str,
        shards: int,
        bounds: HistoryBounds,
    ) -> None:
        self._ticker = ticker
        self._ledger = ledger
        self._settled_calls = settled_calls
        self._keep = keep
        self._worker = worker
        self._bounds = bounds
        self._eras = [0] * shards
        self._locks = [asyncio.Lock() for _ in range(shards)]
        each_max = max(64, bounds.records_max // shards)
        self.recalls = [Recall(records_max=each_max, freed_s=bounds.freed_s) for _ in range(shards)]
        self.open_holds: Callable[[int], Iterable[Operation]] = lambda shard: ()
        """The registrations of a shard's open calls."""
        self.others: Callable[[int], Awaitable[None]] = _nobody
        """Whoever else has something to tell a shard that is back."""
        self.replayed: Callable[[int], Awaitable[None]] = _nobody
        """Whoever told Redis of late what journals held."""
        self.confirmed: Callable[[int], None] = _no_news
        """Whoever wants to know that a shard lives, with the history that is known."""
        self.live_workers = 0

    # ---- what calls leave here ----------------------------------------------------------------------------------------------

    def freed(self, shard: int, operation: Operation) -> None:
        """Redis was told that a call is not served."""
        self.recalls[shard].freed(operation, time.monotonic())

    # ---- heartbeats ---------------------------------------------------------------------------------------------------------

    async def look(self, shard: int) -> None:
        """One heartbeat; returns when Redis knows what it has to."""
        async with self._locks[shard]:
            known, bounds = self._eras[shard], self._bounds
            bounds_ms = int(bounds.rebuild_s * 1000), int(bounds.live_s * 1000)
            _, era, upto, included, self.live_workers = await self._ask(shard, ("B", self._worker, known, *bounds_ms))
            if known == era:
                self.recalls[shard].confirm(upto, included=bool(included), now_s=time.monotonic())
                self.confirmed(shard)
                return
            if known:
                HISTORIES.inc()
                await self._tell_again(shard)
                await self._ask(shard, ("K", self._worker))
            self._eras[shard] = era
            self.confirmed(shard)

    async def register(self, shard: int) -> None:
        """Redis was away and has come back as it was: of the open calls it does not know those that went on without it."""
        for batch in _batches(list(self.open_holds(shard))):
            await asyncio.gather(*(self._ask(shard, operation) for operation in batch))
        await self.others(shard)

    async def leave(self) -> None:
        """This worker ends: nobody is to wait for it."""
        await asyncio.gather(*(self._ask(shard, ("L", self._worker)) for shard in range(len(self._eras))))

    def _ask(self, shard: int, operation: Operation) -> asyncio.Future[Reply]:
        return self._ticker.ask(shard, operation, through=True)

    # ---- told again ---------------------------------------------------------------------------------------------------------

    async def _tell_again(self, shard: int) -> None:
        recall, holds = self.recalls[shard], list(self.open_holds(shard))
        settled, freed = recall.take()
        again: list[Told] = []
        try:
            for batch in _batches([*holds, *freed]):
                await asyncio.gather(*(self._ask(shard, operation) for operation in batch))
            for told in _batches(settled):
                again += await self._settle_again(shard, told)
        except BaseException:
            recall.put_back([*again, *settled[len(again) :]])
            raise
        recall.put_back(again)
        await self.replayed(shard)
        await self.others(shard)
        RETOLD_RECORDS.inc(len(again))
        log.warning("history_moved", shard=shard, holds=len(holds), given_back=len(freed), settled=len(settled))

    async def _settle_again(self, shard: int, batch: Sequence[Told]) -> list[Told]:
        try:
            booked = await self._settled_calls([told.call.entry_id.hex for told in batch])
        except ServiceUnavailable:
            booked = (
                set()
            )  # the ledger takes each call once all the same; until then its cost may count twice against caps
        return list(await asyncio.gather(*(self._settle_one(shard, told, booked) for told in batch)))

    async def _settle_one(self, shard: int, told: Told, booked: set[str]) -> Told:
        call = told.call
        if call.entry_id.hex in booked:  # all that is left of it may be its hold
            await self._ask(shard, freeing(told))
            return told
        operation = restoring(told)
        reply: list[Any] = await self._ask(shard, operation)
        if reply[0] == "sync":
            try:
                await self._ledger.tell(call.caller.account_id, call.caller.key_id, str(call.month))
            except (ServiceUnavailable, UnknownAccount):
                await self._keep(kept_settlement(call, int(told.reply[1]), operation))
                return told
            reply = await self._ask(shard, operation)
        return replace(told, stream_id=reply[4])


async def _nobody(shard: int) -> None:
    """Nobody else has anything to tell."""


def _no_news(shard: int) -> None:
    """Nobody wants to know."""


def _batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
