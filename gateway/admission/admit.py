"""One decision: admit a call, or say why not; later, settle it or give the hold back.

Units: money in nano-USD for caps; the exact cost of a settlement is Decimal USD, from the grant split that the script decided.
Errors: `RateLimited`, `NotCovered`, `ServiceUnavailable`, `NotBooked`; `StaleCaller` and `StalePrices` ask the journey
to look again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from billing.ledger.record import UsageRecord, to_wire_counts, to_wire_prices, to_wire_record
from billing.money import nano_usd_up
from billing.prices import cost
from billing.terms import Counters
from billing.usage import GRANT_ORDER, NOTHING, Usage
from gateway.admission.batch import Ticker, shard_of
from gateway.admission.headers import to_wire_limits
from gateway.admission.pipe import StoreUnavailable
from gateway.call import PREPAID_SCOPE, Call, Caller, Hold, Outcome, Settlement
from gateway.clock import to_ns
from gateway.errors import BudgetExceeded, InsufficientQuota, NotBooked, RateLimited, ServiceUnavailable

ReadCounters = Callable[[str], Awaitable[Counters | None]]
_MS = 1_000_000
_SYNC_ATTEMPTS = 2
_TO_FREE_MAX = 10_000
_FREE_BATCH = 500
_FREE_PAUSE_S = 0.25


class StaleCaller(Exception):
    """The account changed since this caller was read."""


class StalePrices(Exception):
    """A rate card was posted since the prices were read."""


class Admission:
    """The limits and budgets of all accounts, shared by every replica through Redis."""

    def __init__(
        self,
        ticker: Ticker,
        read_counters: ReadCounters,
        *,
        shards: int,
        hold_s: float,
        settle_retry_s: float,
        settled_memory_s: int,
    ) -> None:
        self._ticker = ticker
        self._read_counters = read_counters
        self._shards = shards
        self._hold_ms = int(hold_s * 1000)
        self._settle_retry_s = settle_retry_s
        self._settled_memory_ms = settled_memory_s * 1000
        self._to_free: dict[str, int] = {}
        self._freeing: asyncio.Task[None] | None = None

    async def admit(self, call: Call, prices_version: int) -> Hold:
        """Set aside what the call may cost at most, or refuse it."""
        caller, scopes = call.caller, call.caller.money_scopes(str(call.month))
        amount_nano = _upper_bound_nano(call)
        tokens = call.prompt_tokens_max + call.output_tokens_expected
        rates = [(r.scope, r.requests_per_minute, r.tokens_per_minute, r.concurrency) for r in caller.rate_limits]
        operation = (
            *("A", call.id.hex, caller.account_id, caller.epoch, prices_version, self._hold_ms),
            *(rates, tokens, scopes, amount_nano, _orphan(call)),
        )
        for attempt in range(_SYNC_ATTEMPTS):
            try:
                reply = await self._ask(caller.account_id, operation)
            except (ServiceUnavailable, asyncio.CancelledError):
                self._free_later(call)  # it may have been admitted all the same
                raise
            if reply[0] == "ok":
                return Hold(call, amount_nano, to_wire_limits(reply[1]))
            if reply[0] == "sync" and attempt + 1 < _SYNC_ATTEMPTS:
                await self._sync(caller, str(call.month))
            elif reply[0] == "stale":
                raise StaleCaller
            elif reply[0] == "cards":
                raise StalePrices
            elif reply[0] == "no":
                raise _refusal(reply)
            elif reply[0] != "sync":
                break
        raise ServiceUnavailable

    async def settle(self, hold: Hold, outcome: Outcome) -> Settlement:
        """Release the hold, charge what was used, append the usage record: one atomic step, repeated until it is known to have happened."""
        call, usage, price = hold.call, outcome.usage, hold.call.price
        pages_pico = usage.standard_pages * price.pico_usd("standard") + usage.enhanced_pages * price.pico_usd(
            "enhanced"
        )
        operation = (
            *("S", call.id.hex, call.caller.account_id, call.accepted_ns // _MS),
            call.caller.money_scopes(str(call.month)),
            [usage.quantity(kind) for kind in GRANT_ORDER],
            [price.pico_usd(kind) for kind in GRANT_ORDER],
            *(pages_pico, to_wire_record(record_of(call, outcome)), self._settled_memory_ms),
        )
        deadline = time.monotonic() + self._settle_retry_s
        while True:
            try:
                reply = await self._ticker.ask(shard_of(call.caller.account_id, self._shards), operation)
                break
            except StoreUnavailable:
                if time.monotonic() >= deadline:
                    raise NotBooked from None
                await asyncio.sleep(0.05)
        granted = granted_usage(reply[2])
        return Settlement(granted, cost(usage, granted, price.prices, price.discount), int(reply[1]))

    async def give_back(self, hold: Hold) -> None:
        """Release the hold of a call that upstream never served. What cannot be told to Redis now is told as soon as it is back."""
        shard = shard_of(hold.call.caller.account_id, self._shards)
        try:
            await self._ticker.ask(shard, ("F", hold.call.id.hex, self._settled_memory_ms))
        except (StoreUnavailable, asyncio.CancelledError) as error:
            self._free_later(hold.call)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _free_later(self, call: Call) -> None:
        """Give back, in the background, a hold that may or may not exist: a call that was never sent costs nothing."""
        if len(self._to_free) < _TO_FREE_MAX:  # beyond it the sweep books an estimate
            self._to_free[call.id.hex] = shard_of(call.caller.account_id, self._shards)
        if self._freeing is None or self._freeing.done():
            self._freeing = asyncio.ensure_future(self._free_all())

    async def _free_all(self) -> None:
        while self._to_free:
            batch = list(self._to_free.items())[:_FREE_BATCH]
            asked = [self._ticker.ask(shard, ("F", call_id, self._settled_memory_ms)) for call_id, shard in batch]
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
        """Bring the shard's counters of an account up to the ledger."""
        await self._sync(caller, month)

    async def _sync(self, caller: Caller, month: str) -> None:
        counters = await self._read_counters(caller.account_id)
        if counters is None:
            raise StaleCaller
        totals = {
            f"m:{month}": counters.month(month),
            f"k:{caller.key_id}:{month}": counters.key_month(caller.key_id, month),
            PREPAID_SCOPE: counters.lifetime(),
        }
        money = [(scope, nano_usd_up(total.cost), total.entries) for scope, total in totals.items()]
        grants = [(g.id, to_ns(g.from_at) // _MS, to_ns(g.until_at) // _MS, g.tokens_left) for g in counters.grants]
        await self._ask(caller.account_id, ("Y", caller.account_id, counters.epoch, money, grants))

    async def _ask(self, account_id: str, operation: tuple[Any, ...]) -> list[Any]:
        try:
            return await self._ticker.ask(shard_of(account_id, self._shards), operation)
        except StoreUnavailable:
            raise ServiceUnavailable from None


def record_of(call: Call, outcome: Outcome) -> UsageRecord:
    """What the ledger will know of a call."""
    price = call.price
    return UsageRecord(
        call_id=call.id.hex,
        account_id=call.caller.account_id,
        key_id=call.caller.key_id,
        accepted_ns=call.accepted_ns,
        billing_month=str(call.month),
        endpoint=call.endpoint,
        model_asked=call.model_asked,
        model=price.model,
        model_answered=outcome.model_answered,
        card_id=price.card_id,
        prices=to_wire_prices(price),
        discount=str(price.discount),
        discount_reason=price.discount_reason,
        usage=to_wire_counts(outcome.usage),
        estimated_reason=outcome.estimated_reason,
        streamed=call.streamed,
        attempts=outcome.attempts,
        zone=call.caller.zone,
    )


def granted_usage(taken: list[tuple[str, int, int]]) -> Usage:
    """The script's split [(grant, kind, tokens)] → what grants paid for; kinds count from 1 in `GRANT_ORDER`."""
    if not taken:
        return NOTHING
    tokens = dict.fromkeys(GRANT_ORDER, 0)
    for _, kind, count in taken:
        tokens[GRANT_ORDER[kind - 1]] += count
    return Usage(tokens["input"], tokens["cached_input"], tokens["output"])


def affordable_output_tokens(call: Call, room_nano_usd: int) -> int:
    """How many output tokens fit into a room beside the call's prompt; 0 for none."""
    pico = call.price.pico_usd
    left_pico = room_nano_usd * 1000 - call.prompt_tokens_max * max(pico("input"), pico("cached_input"))
    return max(0, left_pico // pico("output")) if pico("output") else 0


def _upper_bound_nano(call: Call) -> int:
    pico = call.price.pico_usd
    prompt = call.prompt_tokens_max * max(pico("input"), pico("cached_input"))
    pages = call.pages_max * max(pico("standard"), pico("enhanced"))
    return -(-(prompt + pages + call.output_tokens_max * pico("output")) // 1000)


def _orphan(call: Call) -> tuple[int, list[int], list[int], str]:
    """What the sweep books if this worker dies: the best prompt count, marked as estimated."""
    outcome = Outcome(Usage(call.prompt_tokens_best), estimated_reason="worker lost")
    counts = [0, call.prompt_tokens_best, 0]
    pico = [call.price.pico_usd(kind) for kind in GRANT_ORDER]
    return call.accepted_ns // _MS, counts, pico, to_wire_record(record_of(call, outcome))


def _refusal(reply: list[Any]) -> Exception:
    _, reason, scope, wait_ms, limits = reply
    headers = to_wire_limits(limits)
    if reason == "money":
        if scope == PREPAID_SCOPE:
            return InsufficientQuota("The prepaid balance does not cover this call.", int(wait_ms), headers)
        whose = "key" if scope.startswith("k:") else "account"
        return BudgetExceeded(f"The monthly cap of this {whose} does not cover this call.", int(wait_ms), headers)
    whose = "key" if scope.startswith("k:") else "account"
    what = {"requests": "requests per minute", "tokens": "tokens per minute", "concurrency": "concurrent calls"}[reason]
    return RateLimited(f"{what} of this {whose}", int(wait_ms), headers, concurrency=reason == "concurrency")
