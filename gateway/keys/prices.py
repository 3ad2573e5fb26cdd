"""The table of prices as this process knows it: read at most once a second, and at once when admission says it is old.

Units: `version` is the Unix millisecond at which the newest card was posted, read off its id.
Errors: `ModelNotFound` for a model that no card in force names; `ServiceUnavailable` where no card could be read yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from billing.database import Sessions, StorageError
from billing.prices import Price, RateCard, find_price, newest_first
from billing.rate_cards import all_cards, version_of
from gateway.call import Caller
from gateway.errors import ModelNotFound, ServiceUnavailable

ReadCards = Callable[[], Awaitable[Sequence[RateCard]]]


class PriceTable:
    """All cards, in the order in which they are asked."""

    def __init__(self, read: ReadCards, *, fresh_s: float = 1.0) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._cards: Sequence[RateCard] = ()
        self._fresh_until = 0.0
        self._lock = asyncio.Lock()
        self.version = 0

    async def refresh(self, *, newer_than: int | None = None) -> None:
        """Read the cards again if they are older than `fresh_s`, or no newer than a version known to be old."""
        async with self._lock:
            known_old = newer_than is not None and self.version <= newer_than
            if time.monotonic() < self._fresh_until and not known_old:
                return
            begun = time.monotonic()
            try:
                cards = await self._read()
            except ServiceUnavailable:
                if known_old or not self._cards:
                    raise
                # Postgres is away: the cards known go on; admission says when one was posted since.
                self._fresh_until = time.monotonic() + self._fresh_s
                return
            self._cards = newest_first(cards)
            self.version = version_of(cards)
            self._fresh_until = begun + self._fresh_s

    async def price(self, model: str, caller: Caller, at: datetime) -> Price:
        """What a caller pays for a model at an instant."""
        if time.monotonic() >= self._fresh_until:
            await self.refresh()
        discount, tier = caller.discount_at(at)
        price = find_price(self._cards, model, caller.account_id, at, discount, tier)
        if price is None:
            raise ModelNotFound(model)
        return price

    def knows(self, name: str) -> bool:
        """Does any card name this model or snapshot?"""
        return any(card.find(name) is not None for card in self._cards)

    async def offered(self, caller: Caller, at: datetime) -> dict[str, Price]:
        """Every name (models and their snapshots) that a caller may ask for, with its price."""
        await self.refresh()
        names = {
            n
            for card in self._cards
            if card.account_id in (None, caller.account_id)
            for n in (*card.models, *card.aliases)
        }
        discount, tier = caller.discount_at(at)
        found = {name: find_price(self._cards, name, caller.account_id, at, discount, tier) for name in sorted(names)}
        return {name: price for name, price in found.items() if price is not None}


def reader_of_cards(sessions: Sessions) -> ReadCards:
    async def read() -> Sequence[RateCard]:
        try:
            async with sessions() as session:
                return await all_cards(session)
        except (StorageError, OSError, TimeoutError) as error:
            raise ServiceUnavailable from error

    return read
