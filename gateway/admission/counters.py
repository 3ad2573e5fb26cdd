"""Brings a shard's counters of an account up to the ledger.

Units: nano-USD, rounded up. Errors: `UnknownAccount`, `StoreUnavailable` (Redis), and what reading the ledger raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from billing.money import nano_usd_up
from billing.terms import Counters
from gateway.admission.batch import Ticker, shard_of
from gateway.call import PREPAID_SCOPE
from gateway.clock import to_ns

ReadCounters = Callable[[str], Awaitable[Counters | None]]
_MS = 1_000_000


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
