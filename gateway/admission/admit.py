"""One decision: admit a call, or say why not; later, settle it or give the hold back.

Units: money in nano-USD for caps; the exact cost of a settlement is Decimal USD, from the grant split that the script decided.
Errors: `RateLimited`, `NotCovered`, `ServiceUnavailable`, `BacklogFull`, `NotBooked`; `StaleCaller` and `StalePrices` ask the journey
to look again.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace
from redis.exceptions import ResponseError

from billing.money import nano_usd_up
from billing.prices import cost_at
from billing.usage import NOTHING, less
from gateway.admission.batch import Ticker, shard_of
from gateway.admission.headers import to_wire_limits
from gateway.admission.history import LedgerSync, UnknownAccount
from gateway.admission.pipe import StoreUnavailable
from gateway.admission.recall import Kept, kept_settlement
from gateway.admission.records import (
    from_wire_usage,
    granted_usage,
    offline_bound_nano,
    to_wire_admission,
    to_wire_place,
    to_wire_settlement,
)
from gateway.admission.standby import Standby
from gateway.call import PREPAID_SCOPE, Call, Caller, Hold, Outcome, Settlement
from gateway.errors import (
    BacklogFull,
    BudgetExceeded,
    InsufficientQuota,
    NotBooked,
    NotCovered,
    RateLimited,
    ServiceUnavailable,
)
from gateway.spool.journal import JournalRefused
from gateway.spool.owed import Owed

log = structlog.get_logger("admission")
_SYNC_ATTEMPTS = 2
_REBUILD_WAIT_S = 10.0
_REBUILD_POLL_S = 0.05
_HOLDS_POLL_S, _HOLDS_POLL_MAX_S = 0.02, 0.2
_NO_LIMITS = (-1, 0, 0, -1, 0, 0)
"""What is left of them nobody knows while Redis is away."""
_TO_FREE_MAX = 10_000
_FREE_BATCH = 500
_FREE_PAUSE_S = 0.25


class StaleCaller(Exception):
    """The account changed since this caller was read."""


class StalePrices(Exception):
    """A rate card was posted since the prices were read."""


class PromptBounds(Protocol):
    """What upstream's own counts teach of prompts (`gateway.meter.learned.PromptRatios`)."""

    def learn(self, account_id: str, model: str, best_tokens: int, counted_tokens: int) -> None: ...
    def bound(self, account_id: str, model: str, best_tokens: int) -> int | None: ...


class Patience:
    """How long calls that no budget covers wait for open holds to be settled before they are refused; bounded in time and number.

    A hold is an upper bound, several times what most calls cost: while many are open, a budget that is far from used up may look so.
    """

    def __init__(self, *, wait_s: float, waiting_max: int) -> None:
        self._wait_s = wait_s
        self._waiting_max = waiting_max
        self._waiting = 0

    def until(self) -> float:
        """When a call that begins to wait now is refused, on the monotonic clock."""
        return time.monotonic() + self._wait_s

    async def pause(self, until: float, pause_s: float) -> bool:
        """Some of the wait; False where it is over, or where too many wait."""
        if self._waiting >= self._waiting_max or time.monotonic() >= until:
            return False
        self._waiting += 1
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._waiting -= 1
        return True


class Admission:
    """The limits and budgets of all accounts, shared by every replica through Redis."""

    def __init__(
        self,
        ticker: Ticker,
        ledger: LedgerSync,
        standby: Standby,
        prompts: PromptBounds,
        patience: Patience,
        *,
        shards: int,
        hold_s: float,
        settle_retry_s: float,
        settled_memory_s: int,
        owed_max: int = 10_000,
    ) -> None:
        self._ticker = ticker
        self._ledger = ledger
        self._standby = standby
        self._prompts = prompts
        self._patience = patience
        self._shards = shards
        self._hold_ms = int(hold_s * 1000)
        self._settle_retry_s = settle_retry_s
        self._settled_memory_ms = settled_memory_s * 1000
        self._owed = Owed(records_max=owed_max)
        self._to_free: dict[str, Call] = {}
        self._freeing: asyncio.Task[None] | None = None

    async def admit(self, call: Call, prices_version: int) -> Hold:
        """Set aside what the call may cost at most, or as much as its budget covers where that will do, or refuse it."""
        caller = call.caller
        operation = to_wire_admission(call, prices_version, self._hold_ms)
        shard = shard_of(caller.account_id, self._shards) if self._shards > 1 else 0
        syncs, deadline = 0, time.monotonic() + _REBUILD_WAIT_S
        until, pause_s = None, _HOLDS_POLL_S
        while time.monotonic() < deadline:
            try:
                reply = await self._ticker.ask(shard, operation)
                if reply[0] == "ok":
                    if self._standby.gives_shares:
                        self._standby.admitted(call)
                    return Hold(call, reply[2], to_wire_limits(*reply[1]), reply[3])
                if reply[0] == "sync" and syncs < _SYNC_ATTEMPTS:
                    syncs += 1
                    await self.sync(caller, str(call.month))
                    continue
            except (StoreUnavailable, ServiceUnavailable):
                try:
                    return await self._let_through(call)  # what Redis may hold for it all the same is its hold
                except BaseException:
                    self._free_later(call)
                    raise
            except asyncio.CancelledError:
                self._free_later(call)
                raise
            if reply[0] == "stale":
                raise StaleCaller
            if reply[0] == "cards":
                raise StalePrices
            if reply[0] == "no":
                if reply[1] == "money":
                    tighter = self._bounded_by_learning(call) if until is None else None
                    until = self._patience.until() if until is None else until
                    if tighter is not None:
                        call, operation = tighter, to_wire_admission(tighter, prices_version, self._hold_ms)
                        continue
                    if reply[3] and await self._patience.pause(until, pause_s):
                        pause_s = min(2 * pause_s, _HOLDS_POLL_MAX_S)
                        continue
                raise _refusal(reply)
            if reply[0] == "full":
                raise BacklogFull
            if reply[0] != "wait":
                break
            await asyncio.sleep(_REBUILD_POLL_S)  # Redis lost its newest history: live workers are telling it
        raise ServiceUnavailable

    def _bounded_by_learning(self, call: Call) -> Call | None:
        """The call with the bound that upstream's own counts teach, if that is tighter: asked for where its bytes are not covered."""
        bound = self._prompts.bound(call.caller.account_id, call.price.model, call.prompt_tokens_best)
        if bound is None or bound >= call.prompt_tokens_max:
            return None
        return replace(call, prompt_tokens_max=bound)

    async def _let_through(self, call: Call) -> Hold:
        """Redis is away: within the worker's share of the account's exposure a call goes on all the same."""
        amount_nano = offline_bound_nano(call)
        over = self._standby.over_rates(call)
        if over is not None:
            raise _refusal(["no", *over, _NO_LIMITS])
        try:
            if not await self._standby.lets_through(call, amount_nano):
                raise ServiceUnavailable
        except JournalRefused:
            raise BacklogFull from None
        output = call.output_tokens_max if call.output_tokens_first is None else call.output_tokens_first
        return Hold(call, amount_nano, {}, output)

    async def settle(self, hold: Hold, outcome: Outcome, upstream_key: str | None = None) -> Settlement:
        """Release the hold, charge what was used as far as the caps have room, append the record: one atomic step.

        In Redis or, for now, in the journal on the local disk; where neither takes it, it is repeated for a while. Then its asker is told
        that it is not booked (`NotBooked`), and it is tried on for as long as this process lives: what was served is booked all the same.
        """
        call, usage, price = hold.call, outcome.usage, hold.call.price
        if call.continues is not None:
            # It is booked, and what the first attempt held given back, under the first attempt's id.
            self._free_later(call)
        operation = to_wire_settlement(call, outcome, upstream_key, hold.amount_nano_usd)
        shard = shard_of(call.caller.account_id, self._shards) if self._shards > 1 else 0
        deadline = time.monotonic() + self._settle_retry_s
        while True:
            try:
                again = call.continues is not None
                reply = await (self._tell_settled(call, operation) if again else self._ticker.ask(shard, operation))
                if reply[0] == "sync":
                    reply = await self._tell_settled(call, operation)
                break
            except (StoreUnavailable, ServiceUnavailable, StaleCaller):
                most_nano = nano_usd_up(cost_at(price, usage))
                if await self._is_kept(kept_settlement(call, most_nano, operation)):
                    return Settlement(charged_nano_usd=most_nano, cost_is_known=False)
                if time.monotonic() >= deadline:
                    booked = asyncio.Event()
                    self._owed.add(call.id.hex, partial(self._is_settled, call, operation, most_nano, booked))
                    raise NotBooked(booked) from None
                await asyncio.sleep(0.05)
        self._standby.settled(shard, call, operation, reply)
        if outcome.estimated_reason is None and call.prompt_tokens_max:
            counted = usage.input_tokens + usage.cached_input_tokens
            self._prompts.learn(call.caller.account_id, price.model, call.prompt_tokens_best, counted)
        _, charged_nano, taken, lost, _ = reply
        if not taken and not lost:
            return Settlement(NOTHING, cost_at(price, usage), int(charged_nano))
        granted, absorbed = granted_usage(taken), from_wire_usage(lost)
        charged = usage if absorbed is NOTHING else less(usage, absorbed)
        return Settlement(granted, cost_at(price, charged, granted), int(charged_nano), absorbed)

    async def _is_settled(self, call: Call, operation: tuple[Any, ...], most_nano: int, booked: asyncio.Event) -> bool:
        """Try once more to have a settlement booked that its asker has given up."""
        try:
            reply = await self._tell_settled(call, operation)
        except (StoreUnavailable, ServiceUnavailable, StaleCaller):
            if not await self._is_kept(kept_settlement(call, most_nano, operation)):
                return False
        except ResponseError as error:
            log.error("settlement_refused", kind=type(error).__name__, call_id=call.id.hex, kept=operation)
            return True  # it can never be told
        else:
            self._standby.settled(shard_of(call.caller.account_id, self._shards), call, operation, reply)
        booked.set()
        return True

    async def close(self, wait_s: float) -> None:
        """Wait, within a bound, for settlements that are not booked yet."""
        await self._owed.close(wait_s)

    async def _tell_settled(self, call: Call, operation: tuple[Any, ...]) -> list[Any]:
        shard = shard_of(call.caller.account_id, self._shards)
        if call.continues is not None:  # in the same step, and before it: its room is what this attempt held
            self._ticker.ask(shard, self._freeing_of(call)).add_done_callback(_forget)
        reply = await self._ticker.ask(shard, operation)
        if reply[0] == "sync":  # Redis lost what it knew of the account
            await self.sync(call.caller, str(call.month))
            reply = await self._ticker.ask(shard, operation)
        return reply

    async def _is_kept(self, kept: Kept) -> bool:
        """Redis does not take it at once: does the local disk?"""
        try:
            await self._standby.keep(kept)
        except JournalRefused:
            return False
        return True

    async def give_back(self, hold: Hold) -> None:
        """Release the hold of a call that upstream never served. What cannot be told to Redis now is told as soon as it is back."""
        shard, operation = shard_of(hold.call.caller.account_id, self._shards), self._freeing_of(hold.call)
        self._standby.freed(hold.call, operation)
        try:
            await self._ticker.ask(shard, operation)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            self._free_later(hold.call)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _freeing_of(self, call: Call) -> tuple[Any, ...]:
        return ("F", call.id.hex, call.caller.account_id, *to_wire_place(call), self._settled_memory_ms)

    def _free_later(self, call: Call) -> None:
        """Give back, in the background, a hold that may or may not exist: a call that was never sent costs nothing."""
        if len(self._to_free) < _TO_FREE_MAX:  # beyond it the sweep books an estimate
            self._to_free[call.id.hex] = call
        if self._freeing is None or self._freeing.done():
            self._freeing = asyncio.ensure_future(self._free_all())

    async def _free_all(self) -> None:
        while self._to_free:
            batch = list(self._to_free.items())[:_FREE_BATCH]
            asked = [
                self._ticker.ask(shard_of(call.caller.account_id, self._shards), self._freeing_of(call))
                for _, call in batch
            ]
            replies = await asyncio.gather(*asked, return_exceptions=True)
            for (call_id, _), reply in zip(batch, replies, strict=True):
                if not isinstance(reply, StoreUnavailable):
                    self._to_free.pop(call_id, None)
            if any(isinstance(reply, StoreUnavailable) for reply in replies):
                await asyncio.sleep(_FREE_PAUSE_S)

    async def outdate(self, account_id: str, epoch: int) -> None:
        """Tell all replicas that an account changed. If Redis is away they notice within `key_cache_s` all the same."""
        try:
            await self._ticker.ask(shard_of(account_id, self._shards), ("E", account_id, epoch))
        except StoreUnavailable:
            return

    async def new_prices(self, version: int) -> None:
        """Tell all replicas that a rate card was posted."""
        told = [self._ticker.ask(shard, ("C", version)) for shard in range(self._shards)]
        await asyncio.gather(*told, return_exceptions=True)

    async def in_hand(self, account_id: str, scopes: list[str]) -> tuple[list[list[int]], list[list[Any]]]:
        """(counted, pending, held) nano-USD for each scope, and the grants as [id, from_ms, until_ms, tokens left]."""
        reply = await self._ask(account_id, ("V", account_id, scopes))
        return reply[1], reply[2]

    async def sync(self, caller: Caller, month: str) -> None:
        """Bring the shard's counters of an account up to the ledger; first see whether its history is the one that we know."""
        try:
            await self._standby.history.look(shard_of(caller.account_id, self._shards))
            await self._ledger.tell(caller.account_id, caller.key_id, month)
        except UnknownAccount:
            raise StaleCaller from None
        except StoreUnavailable:
            raise ServiceUnavailable from None

    async def _ask(self, account_id: str, operation: tuple[Any, ...]) -> list[Any]:
        try:
            return await self._ticker.ask(shard_of(account_id, self._shards), operation)
        except StoreUnavailable:
            raise ServiceUnavailable from None


def _forget(asked: asyncio.Future[Any]) -> None:
    """Nobody waits for this reply: what it asks for is asked again in the background (`_free_later`) where it failed."""
    if not asked.cancelled():
        asked.exception()


def not_covered(scope: str, why: str, headers: dict[str, str] | None = None) -> NotCovered:
    """A money scope that has no room."""
    if scope == PREPAID_SCOPE:
        return InsufficientQuota(f"The prepaid balance {why}.", headers=headers)
    whose = "key" if scope.startswith("k:") else "account"
    return BudgetExceeded(f"The monthly cap of this {whose} {why}.", headers=headers)


def _refusal(reply: list[Any]) -> Exception:
    _, reason, scope, wait_ms, limits = reply
    headers = to_wire_limits(*limits)
    if reason == "money":
        return not_covered(scope, "does not cover this call", headers)
    kind, _, model = (*scope.split(":", 2), "")[:3]
    whose = ("key" if kind == "k" else "account") + (f" for {model}" if model else "")
    what = {"requests": "requests per minute", "tokens": "tokens per minute", "concurrency": "concurrent calls"}[reason]
    return RateLimited(f"{what} of this {whose}", int(wait_ms), headers, concurrency=reason == "concurrency")
