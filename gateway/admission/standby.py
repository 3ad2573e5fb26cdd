"""What a worker does while Redis is away, and when it comes back.

 - A settlement that Redis does not take at once goes to the journal on the local disk, and from there to Redis as soon as it answers: by
   this worker, or, where that is gone, by the next process that finds its files. Always through Redis, never past it into the ledger:
   there is one place where grants are spent and caps are kept. Once only: before a record is told, the ledger is asked whether it has
   the call; what is not there yet, the script knows by the call's id.
   What Redis was told from a journal is told again where its history moves back soon after.
 - Open circuits are probed until they work again; the probe is the heartbeat of `history.py`, so that a Redis that has forgotten something
   is told it again before anybody asks it.
 - A call that comes meanwhile may be let through on the account's share of the exposure (`offline.py`), if the disk would take its
   settlement and its key was confirmed. Limits are kept then by each worker's part of them.

Units: nano-USD, seconds. Errors: `JournalRefused` where the disk does not take a record either.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import ResponseError

from billing.ids import uuid7
from gateway.admission.batch import Circuit, Reply, Ticker, shard_of
from gateway.admission.history import History, HistoryBounds, LedgerSync, SettledCalls, UnknownAccount
from gateway.admission.offline import RateShares, Scope, Shares
from gateway.admission.pipe import StoreUnavailable
from gateway.admission.recall import Kept, Operation, from_wire_kept, to_wire_kept
from gateway.admission.records import to_wire_place
from gateway.call import Call
from gateway.errors import ServiceUnavailable
from gateway.metrics import JOURNAL_FAULTS, MONEY_AT_RISK_USD, REPLAYED_RECORDS
from gateway.spool.journal import Journal, JournalRefused

log = structlog.get_logger("standby")
_REPLAY_BATCH = 200
_FORGOTTEN_S = 10.0
"""What a living Redis was told longer ago, a failover does not forget."""
_RECORD_BYTES = 4096
"""Set aside on the disk for each call that is let through; a settlement takes about a third of it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are looked at."""

    probe_s: float = 0.05
    beat_s: float = 1.0
    adopt_s: float = 5.0


@dataclass(frozen=True, slots=True)
class OfflineRules:
    """Who may be let through while Redis is away, beyond what the shares say."""

    workers_max: int = 16
    unconfirmed_keys_s: float = 0.0
    """How long after Redis went away a key that the ledger's database cannot confirm either still serves."""


_BOUNDS = HistoryBounds()


class Standby:
    """The other leg of one worker."""

    def __init__(
        self,
        ticker: Ticker,
        journal: Journal,
        shares: Shares,
        ledger: LedgerSync,
        settled_calls: SettledCalls,
        *,
        shards: int,
        pace: Pace = Pace(),
        rules: OfflineRules = OfflineRules(),
        bounds: HistoryBounds = _BOUNDS,
        rates_max: int = 10_000,
    ) -> None:
        self.circuit = Circuit()
        self.shares = shares
        self.gives_shares = shares.share_nano_usd > 0
        """Must it be told of each call that is admitted?"""
        worker = uuid7(time.time_ns() // 1_000_000).hex
        self.history = History(ticker, ledger, settled_calls, self.keep, worker=worker, shards=shards, bounds=bounds)
        self._ticker = ticker
        self._journal = journal
        self._ledger = ledger
        self._settled_calls = settled_calls
        self._shards = shards
        self._pace = pace
        self._rules = rules
        self._rates = RateShares(scopes_max=rates_max)
        self.open_calls: Callable[[], Iterable[Call]] = tuple
        """The calls of this worker that are not over yet."""
        self._through: dict[str, tuple[list[Scope], int]] = {}
        self._at_risk_nano_usd = 0
        self._replayed: deque[tuple[float, Kept]] = deque(maxlen=bounds.records_max)
        self.history.replayed = self._tell_replayed

    # ---- what calls ask of it -----------------------------------------------------------------------------------------------

    async def keep(self, kept: Kept) -> None:
        """Returns once the settlement is safe on the disk; raises `JournalRefused` where it is not."""
        await self._journal.append(to_wire_kept(kept))
        through = self._through.pop(kept.call_id, None)
        if through is None:
            self.shares.owe(kept.share_scopes, kept.nano_usd)
            self._risk(kept.nano_usd)
        else:
            scopes, amount_nano_usd = through
            self.shares.ended(scopes, amount_nano_usd, kept.nano_usd)
            self._risk(kept.nano_usd - amount_nano_usd)

    async def lets_through(self, call: Call, amount_nano_usd: int) -> bool:
        """May this call go on without Redis, at a cost of at most this? Raises `JournalRefused` where only the disk has no room for it."""
        caller, month, shard = call.caller, str(call.month), shard_of(call.caller.account_id, self._shards)
        if not caller.confirmed and self.circuit.open_for_s(shard) >= self._rules.unconfirmed_keys_s:
            return False
        if self.history.live_workers > self._rules.workers_max:
            log.error("too_many_workers_for_the_exposure", live=self.history.live_workers, max=self._rules.workers_max)
            return False
        scopes = [(caller.account_id, scope) for scope, _ in caller.money_scopes(month)]
        if not self.shares.covers(scopes, caller.epoch, amount_nano_usd):
            return False
        if not await self._journal.is_ready(_RECORD_BYTES * (len(self._through) + 1)):
            raise JournalRefused
        if not self.shares.take(scopes, caller.epoch, amount_nano_usd):
            return False
        self._through[call.entry_id.hex] = scopes, amount_nano_usd
        self._risk(amount_nano_usd)
        rates, tokens, _ = to_wire_place(call)
        self._rates.saw(rates, tokens, time.monotonic())
        return True

    def over_rates(self, call: Call) -> tuple[str, str, int] | None:
        """(what is used up, of which scope, ms to wait) where this worker's part of a limit has no room for a call without Redis."""
        rates, tokens, _ = to_wire_place(call)
        if not rates or self.shares.share_nano_usd == 0:
            return None
        open_calls: Counter[str] = Counter()
        if any(rate.concurrency for rate in rates):
            of_account = (each for each in self.open_calls() if each.caller.account_id == call.caller.account_id)
            open_calls.update(rate.scope for each in of_account for rate in to_wire_place(each)[0])
        workers = max(1, self.history.live_workers)
        return self._rates.refuses(rates, tokens, open_calls, workers, time.monotonic())

    def grow(self, call: Call, more_nano_usd: int, *, is_away: bool) -> bool:
        """May a running call cost so much more, without asking Redis? One that was let through may, within the share; one that Redis
        admitted too, while it is away."""
        through = self._through.get(call.entry_id.hex)
        if through is not None:
            scopes, amount_nano_usd = through
            if not self.shares.grow(scopes, more_nano_usd):
                return False
        elif is_away:
            caller, amount_nano_usd = call.caller, 0
            scopes = [(caller.account_id, scope) for scope, _ in caller.money_scopes(str(call.month))]
            if not self.shares.take(scopes, caller.epoch, more_nano_usd):
                return False
        else:
            return False
        self._through[call.entry_id.hex] = scopes, amount_nano_usd + more_nano_usd
        self._risk(more_nano_usd)
        return True

    def settled(self, shard: int, call: Call, operation: Operation, reply: Reply) -> None:
        """Redis has taken a settlement."""
        self.history.recalls[shard].settled(call, operation, reply)
        if self._through:
            self._over(call, int(reply[1]))

    def freed(self, call: Call, operation: Operation) -> None:
        """A call is not served; Redis knows, or will."""
        self.history.freed(shard_of(call.caller.account_id, self._shards), operation)
        if self._through:
            self._over(call, 0)

    def _over(self, call: Call, cost_nano_usd: int) -> None:
        """If this call was let through, its place is free again."""
        through = self._through.pop(call.entry_id.hex, None)
        if through is not None:
            scopes, amount_nano_usd = through
            self.shares.ended(scopes, amount_nano_usd, cost_nano_usd)
            self.shares.told(scopes, cost_nano_usd)
            self._risk(-amount_nano_usd)

    def admitted(self, call: Call) -> None:
        """Redis has admitted a call."""
        caller = call.caller
        scopes = caller.money_scopes(str(call.month))
        self.shares.renew([(caller.account_id, scope) for scope, _ in scopes], caller.epoch)
        if caller.rate_limits or caller.model_limits:
            rates, tokens, _ = to_wire_place(call)
            self._rates.saw(rates, tokens, time.monotonic())

    def _risk(self, change_nano_usd: int) -> None:
        self._at_risk_nano_usd += change_nano_usd
        MONEY_AT_RISK_USD.set(self._at_risk_nano_usd / 1e9)

    # ---- in the background --------------------------------------------------------------------------------------------------

    async def run(self, stopping: asyncio.Event) -> None:
        """Probe, replay and take over until told to stop; then replay once more, if Redis is there."""
        self._ticker.circuit = self.circuit
        loop = asyncio.get_running_loop()
        adopted_at = beat_at = float("-inf")
        while not stopping.is_set():
            now = loop.time()
            if now - adopted_at >= self._pace.adopt_s:
                adopted_at = now
                await self._adopt()
            if now - beat_at >= self._pace.beat_s:
                beat_at = now
                await self._probe(range(self._shards))
            else:
                await self._probe(self.circuit.open_shards)
            if not self.circuit.open_shards:
                await self.replay()
            await self._pause(stopping)
        if not self.circuit.open_shards:
            await self.replay()
            with suppress(StoreUnavailable):
                await self.history.leave()

    async def _pause(self, stopping: asyncio.Event) -> None:
        """Until the next probe is due; a circuit that opens cuts it short."""
        self.circuit.opened.clear()
        seconds = self._pace.probe_s if self.circuit.open_shards or not self._journal.is_empty else self._pace.beat_s
        waits = [asyncio.ensure_future(event.wait()) for event in (stopping, self.circuit.opened)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _probe(self, shards: Sequence[int] | frozenset[int]) -> None:
        await asyncio.gather(*map(self._probe_one, shards))

    async def _probe_one(self, shard: int) -> None:
        try:
            await self.history.look(shard)
            self._forget_replayed()
            if self.circuit.is_open(shard):
                await self.history.register(shard)
                self.circuit.works(shard)
                await self.history.register(shard)  # those that went on without Redis while it was told of the others
        except StoreUnavailable:
            self.circuit.failed(shard)

    async def _adopt(self) -> None:
        try:
            payloads = await self._journal.adopt()
        except OSError as error:
            JOURNAL_FAULTS.inc()
            log.error("journal_not_adopted", kind=type(error).__name__)
            return
        for kept in _readable(payloads):
            self.shares.owe(kept.share_scopes, kept.nano_usd)
            self._risk(kept.nano_usd)

    # ---- back to Redis ------------------------------------------------------------------------------------------------------

    async def replay(self) -> int:
        """Tell Redis what the journal holds; returns how many settlements it knows now."""
        if self._journal.is_empty:
            return 0
        try:
            return await self._journal.take(self._tell_all)
        except OSError as error:
            JOURNAL_FAULTS.inc()
            log.error("journal_unreadable", kind=type(error).__name__)
            return 0

    async def _tell_all(self, payloads: Sequence[bytes]) -> bool:
        """Every record of a file; False where Redis or the ledger went away meanwhile."""
        told = list(_readable(payloads))
        try:
            for batch in _batches(told, _REPLAY_BATCH):
                await self._tell(batch)
        except (StoreUnavailable, ServiceUnavailable):
            return False
        for kept in told:
            self.shares.told(kept.share_scopes, kept.nano_usd)
            self._risk(-kept.nano_usd)
        self._replayed.extend((time.monotonic(), kept) for kept in told)
        REPLAYED_RECORDS.inc(len(told))
        log.info("journal_replayed", records=len(told))
        return True

    async def _tell(self, batch: Sequence[Kept]) -> None:
        booked = await self._settled_calls([kept.call_id for kept in batch])
        await asyncio.gather(*(self._tell_one(kept) for kept in batch if kept.call_id not in booked))

    def _forget_replayed(self) -> None:
        """Redis lives, and has been told all: what it was told a while ago is safe there."""
        long_ago_s = time.monotonic() - _FORGOTTEN_S
        while self._replayed and self._replayed[0][0] < long_ago_s:
            self._replayed.popleft()

    async def _tell_replayed(self, shard: int) -> None:
        """Redis's history has moved back: it may have forgotten what it was told from journals of late."""
        of_shard = [kept for _, kept in self._replayed if shard_of(kept.account_id, self._shards) == shard]
        for batch in _batches(of_shard, _REPLAY_BATCH):
            try:
                await self._tell(batch)
            except ServiceUnavailable:  # the ledger cannot be asked: back to the disk, until it can
                with suppress(JournalRefused):
                    for kept in batch:
                        await self.keep(kept)

    async def _tell_one(self, kept: Kept) -> None:
        try:
            if (await self._ask(kept))[0] == "sync":
                await self._ledger.tell(kept.account_id, kept.key_id, kept.month)
                await self._ask(kept)
        except (ResponseError, UnknownAccount) as error:
            # It can never be told. The rest must not wait for it; its bytes are in the log for whoever has to mend it.
            JOURNAL_FAULTS.inc()
            log.error("kept_settlement_refused", kind=type(error).__name__, call_id=kept.call_id, kept=kept.operation)

    def _ask(self, kept: Kept) -> asyncio.Future[Reply]:
        return self._ticker.ask(shard_of(kept.account_id, self._shards), kept.operation, through=True)


def _readable(payloads: Sequence[bytes]) -> list[Kept]:
    readable = []
    for payload in payloads:
        try:
            readable.append(from_wire_kept(payload))
        except ValueError as error:
            JOURNAL_FAULTS.inc()
            log.error("kept_settlement_unreadable", why=str(error), bytes=payload.hex())
    return readable


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
