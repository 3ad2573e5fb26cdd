"""Bearer → Caller, from a bounded cache whose entries live for at most `key_cache_s`.

A newer reading is never replaced by an older one (traps.md 58): of two callers the one with the higher epoch stays; where the key is
dead in one of them, which has no epoch, the reading that was begun later stays. While Postgres is away a caller once known goes on:
admission compares its epoch on every call, so that a change still is seen.
Errors: `InvalidApiKey`, `AccountSuspended`, `ServiceUnavailable`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from decimal import Decimal

from billing.database import Sessions, StorageError
from billing.money import CAP_USD_MAX, nano_usd_up
from billing.terms import Terms, load_terms
from gateway.call import NO_CAP, Caller, RateLimit
from gateway.clock import Clock
from gateway.errors import AccountSuspended, InvalidApiKey, ServiceUnavailable
from gateway.keys.lifecycle import find_by_hash
from gateway.keys.secret import hash_of
from gateway.keys.tables import ApiKey

ReadCaller = Callable[[str], Awaitable[Caller | None]]
"""Secret's hash → caller, or None where there is no such living key."""


class Identify:
    """The cache of callers of one process."""

    def __init__(self, read: ReadCaller, clock: Clock, *, entries_max: int, fresh_s: float) -> None:
        self._read = read
        self._clock = clock
        self._entries_max = entries_max
        self._fresh_s = fresh_s
        self._known: OrderedDict[str, tuple[float, float, Caller | None]] = OrderedDict()  # fresh until, begun, caller
        self._reading: dict[str, asyncio.Task[Caller | None]] = {}

    async def caller_of(self, secret: str, *, fresh: bool = False) -> Caller:
        """The caller behind a secret; `fresh` asks the database whatever the cache says."""
        secret_hash = hash_of(secret)
        if secret_hash is None:
            raise InvalidApiKey
        known = None if fresh else self._known.get(secret_hash)
        if known is not None and time.monotonic() < known[0]:
            caller = known[2]
        else:
            caller = await self._read_once(secret_hash, fresh=fresh)
        if caller is None or (caller.expires_at is not None and caller.expires_at <= self._clock.now()):
            raise InvalidApiKey
        if caller.suspended:
            raise AccountSuspended
        return caller

    async def _read_once(self, secret_hash: str, *, fresh: bool) -> Caller | None:
        # A reading under way may have begun before the change that a `fresh` asker knows of: it needs one of its own.
        task = None if fresh else self._reading.get(secret_hash)
        if task is None:
            task = asyncio.ensure_future(self._read_and_keep(secret_hash, fresh=fresh))
            self._reading[secret_hash] = task
            task.add_done_callback(lambda done: self._forget_reading(secret_hash, done))
        return await asyncio.shield(task)

    def _forget_reading(self, secret_hash: str, done: asyncio.Task[Caller | None]) -> None:
        if self._reading.get(secret_hash) is done:
            del self._reading[secret_hash]
        if not done.cancelled():
            done.exception()

    async def _read_and_keep(self, secret_hash: str, *, fresh: bool) -> Caller | None:
        begun = time.monotonic()
        try:
            caller = await self._read(secret_hash)
        except ServiceUnavailable:
            before = self._known.get(secret_hash)
            if fresh or before is None or before[2] is None:
                raise
            self._known[secret_hash] = (time.monotonic() + self._fresh_s, before[1], before[2])
            return before[2]
        before = self._known.get(secret_hash)
        if before is not None and _is_newer(before[2], before[1], caller, begun):
            return before[2]
        self._known[secret_hash] = (begun + self._fresh_s, begun, caller)
        self._known.move_to_end(secret_hash)
        while len(self._known) > self._entries_max:
            self._known.popitem(last=False)
        return caller


def _is_newer(before: Caller | None, before_begun: float, caller: Caller | None, begun: float) -> bool:
    """Is what is known newer than what was just read?"""
    if before is not None and caller is not None:
        return before.epoch > caller.epoch
    return before_begun > begun


def reader_of_callers(sessions: Sessions, clock: Clock) -> ReadCaller:
    """Reads a key, its account and its tiers in one transaction."""

    async def read(secret_hash: str) -> Caller | None:
        try:
            async with sessions() as session:
                key = await find_by_hash(session, secret_hash)
                if key is None or key.revoked_at is not None:
                    return None
                terms = await load_terms(session, key.account_id, clock.now())
        except (StorageError, OSError, TimeoutError) as error:
            raise ServiceUnavailable from error
        return None if terms is None else from_row_caller(key, terms)

    return read


def from_row_caller(key: ApiKey, terms: Terms) -> Caller:
    """A key's row and its account's terms → the caller that the call path knows."""
    account = terms.account
    cap, key_cap = _countable(terms, account.monthly_cap), _countable(terms, key.monthly_cap)
    models, endpoints = key.scopes.get("models"), key.scopes.get("endpoints")
    limits = (
        RateLimit(
            f"a:{account.id}",
            account.requests_per_minute or 0,
            account.tokens_per_minute or 0,
            account.concurrency or 0,
        ),
        RateLimit(f"k:{key.id}", key.requests_per_minute or 0, key.tokens_per_minute or 0, key.concurrency or 0),
    )
    return Caller(
        account_id=account.id,
        key_id=key.id,
        epoch=account.epoch,
        zone=account.timezone,
        currency=account.currency,
        suspended=account.status != "active",
        expires_at=key.expires_at,
        models=None if models is None else frozenset(models),
        endpoints=None if endpoints is None else frozenset(endpoints),
        rate_limits=tuple(x for x in limits if x.requests_per_minute or x.tokens_per_minute or x.concurrency),
        monthly_cap_nano_usd=NO_CAP if cap is None else cap,
        key_cap_nano_usd=NO_CAP if key_cap is None else key_cap,
        prepaid_nano_usd=_countable(terms, account.prepaid_balance) if account.billing == "prepaid" else None,
        discounts=tuple((since, tier.name, tier.discount) for since, tier in terms.tiers),
    )


def _countable(terms: Terms, cap: Decimal | None) -> int | None:
    """A cap in nano-USD, no higher than Redis's scripts can count (a cap in another currency may be)."""
    nano = terms.cap_nano_usd(cap)
    return None if nano is None else min(nano, nano_usd_up(CAP_USD_MAX))
