"""Bearer → Caller, from a bounded cache whose entries live for at most `key_cache_s`.

A newer reading is never replaced by an older one (traps.md 58): of two callers the one with the higher epoch stays; where the key is
unknown in one of them, which has no epoch, the reading that was begun later stays. While Postgres is away a caller once known goes on,
marked as not confirmed: admission compares its epoch on every call, so that a change still is seen.
A key that is not known here is looked up only while its caller's address has an allowance for guesses (guesses.py).
Errors: `InvalidApiKey`, `AccountSuspended`, `KeyNotAllowed` (not from this address), `RateLimited` (too many unknown keys),
`ServiceUnavailable`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from billing.database import Sessions, StorageError
from billing.money import CAP_USD_MAX, nano_usd_up
from billing.terms import Terms, load_terms
from gateway.call import NO_CAP, Caller, RateLimit
from gateway.clock import Clock
from gateway.errors import AccountSuspended, InvalidApiKey, KeyNotAllowed, ServiceUnavailable
from gateway.keys.address import Address, from_wire_network, is_within, site_of
from gateway.keys.guesses import Guesses
from gateway.keys.lifecycle import find_by_hash
from gateway.keys.secret import hash_of
from gateway.keys.tables import ApiKey

ReadCaller = Callable[[str], Awaitable[Caller | None]]
"""Secret's hash → caller (a revoked one says so), or None where there is no such key."""

Whence = Callable[[], Address | None]
"""Where a request comes from; asked only when it matters."""


def _nowhere() -> None:
    return None


class Identify:
    """The cache of callers of one process."""

    def __init__(self, read: ReadCaller, clock: Clock, *, entries_max: int, fresh_s: float, guesses: Guesses) -> None:
        self._read = read
        self._clock = clock
        self._entries_max = entries_max
        self._fresh_s = fresh_s
        self._guesses = guesses
        self._known: OrderedDict[str, tuple[float, float, Caller | None]] = OrderedDict()  # fresh until, begun, caller
        self._guessing: dict[tuple[str, str], asyncio.Task[Caller | None]] = {}
        self._reading: dict[str, asyncio.Task[Caller | None]] = {}

    def known(self, secret_hash: str | None, now_s: float) -> Caller | None:
        """The caller behind a secret's hash, where it is known well enough to need no closer look (`caller_of` takes one)."""
        known = None if secret_hash is None else self._known.get(secret_hash)
        if known is None or now_s >= known[0]:
            return None
        caller = known[2]
        if caller is None or caller.revoked or caller.suspended or caller.expires_at is not None:
            return None
        return caller if caller.networks is None else None

    async def caller_of(self, secret: str, whence: Whence = _nowhere, *, fresh: bool = False) -> Caller:
        """The caller behind a secret; `fresh` asks the database whatever the cache says."""
        secret_hash = hash_of(secret)
        if secret_hash is None:
            raise InvalidApiKey
        known = self._known.get(secret_hash)
        if known is None or known[2] is None:
            caller = await self._guess_once(secret_hash, site_of(whence()), fresh=fresh)
        elif fresh or time.monotonic() >= known[0]:
            caller = await self._read_once(secret_hash, fresh=fresh)
        else:
            caller = known[2]
        if caller is None or caller.revoked:
            raise InvalidApiKey
        if caller.expires_at is not None and caller.expires_at <= self._clock.now():
            raise InvalidApiKey
        if caller.suspended:
            raise AccountSuspended
        if caller.networks is not None and not is_within(whence(), caller.networks):
            raise KeyNotAllowed("This key may not be used from this address.")
        return caller

    async def _guess_once(self, secret_hash: str, site: str, *, fresh: bool) -> Caller | None:
        """Calls at once with one key from one address are one guess: a new key's first hundred are no hundred guesses."""
        if fresh:
            return await self._guess(secret_hash, site, fresh=True)
        name = secret_hash, site
        task = self._guessing.get(name)
        if task is None:
            task = self._guessing[name] = asyncio.ensure_future(self._guess(secret_hash, site, fresh=False))
            task.add_done_callback(lambda done: self._forget_guess(name, done))
        return await asyncio.shield(task)

    def _forget_guess(self, name: tuple[str, str], done: asyncio.Task[Caller | None]) -> None:
        del self._guessing[name]
        if not done.cancelled():
            done.exception()

    async def _guess(self, secret_hash: str, site: str, *, fresh: bool) -> Caller | None:
        """Look up a key that nobody has shown here yet, or that was unknown: it may be a guess until it is found."""
        await self._guesses.look_up(site)
        known = self._known.get(secret_hash)
        if known is not None and not fresh and time.monotonic() < known[0]:
            return known[2]
        try:
            caller = await self._read_once(secret_hash, fresh=fresh)
        except ServiceUnavailable:
            await self._guesses.was_none(site)
            raise
        if caller is not None:
            await self._guesses.was_none(site)
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
            known = replace(before[2], confirmed=False)
            self._known[secret_hash] = (time.monotonic() + self._fresh_s, before[1], known)
            return known
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
                found = await find_by_hash(session, secret_hash)
                if found is None:
                    return None
                key, account = found
                return from_row_caller(key, await load_terms(session, account, clock.now()))
        except (StorageError, OSError, TimeoutError) as error:
            raise ServiceUnavailable from error

    return read


def from_row_caller(key: ApiKey, terms: Terms) -> Caller:
    """A key's row and its account's terms → the caller that the call path knows."""
    account = terms.account
    cap, key_cap = _countable(terms, account.monthly_cap), _countable(terms, key.monthly_cap)
    models, endpoints, ranges = (key.scopes.get(name) for name in ("models", "endpoints", "ip_ranges"))
    limits = (_limit(f"a:{account.id}", account.model_dump()), _limit(f"k:{key.id}", key.model_dump()))
    of_models = [
        (model, _limit(f"{scope}:{model}", own))
        for scope, models_limits in ((f"a:{account.id}", account.model_limits), (f"k:{key.id}", key.model_limits))
        for model, own in models_limits.items()
    ]
    return Caller(
        account_id=account.id,
        key_id=key.id,
        epoch=account.epoch,
        zone=account.timezone,
        currency=account.currency,
        suspended=account.status != "active",
        revoked=key.revoked_at is not None,
        expires_at=key.expires_at,
        models=None if models is None else frozenset(models),
        endpoints=None if endpoints is None else frozenset(endpoints),
        networks=None if ranges is None else tuple(from_wire_network(text) for text in ranges),
        rate_limits=tuple(limit for limit in limits if limit.is_any),
        model_limits=tuple(of_model for of_model in of_models if of_model[1].is_any),
        monthly_cap_nano_usd=NO_CAP if cap is None else cap,
        key_cap_nano_usd=NO_CAP if key_cap is None else key_cap,
        prepaid_nano_usd=_countable(terms, account.prepaid_balance) if account.billing == "prepaid" else None,
        discounts=tuple((each.since, each.tier.name, each.tier.discount, each.reason) for each in terms.tiers),
    )


def _limit(scope: str, limits: Mapping[str, Any]) -> RateLimit:
    names = ("requests_per_minute", "tokens_per_minute", "concurrency")
    return RateLimit(scope, *(limits.get(name) or 0 for name in names))


def _countable(terms: Terms, cap: Decimal | None) -> int | None:
    """A cap in nano-USD, no higher than Redis's scripts can count (a cap in another currency may be)."""
    nano = terms.cap_nano_usd(cap)
    return None if nano is None else min(nano, nano_usd_up(CAP_USD_MAX))
