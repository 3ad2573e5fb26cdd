"""The table of prices as this process knows it: read at most once a second, and at once when admission says it is old.

Units: `version` is the Unix millisecond at which the newest card was posted, read off its id.
Errors: `ModelNotFound` for a model that no card in force names; `ServiceUnavailable` where no card could be read yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal

from billing.database import Sessions, StorageError
from billing.prices import Price, RateCard, find_buy, find_card, newest_first, price_on
from billing.rate_cards import all_cards, version_of
from gateway.call import Caller
from gateway.errors import ModelNotFound, ServiceUnavailable

_PRICED_MAX = 8192

ReadCards = Callable[[], Awaitable[Sequence[RateCard]]]


class PriceTable:
    """All cards, in the order in which they are asked."""

    def __init__(self, read: ReadCards, *, fresh_s: float = 1.0) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._cards: Sequence[RateCard] = ()
        self._standard: list[RateCard] = []
        self._own: dict[str, list[RateCard]] = {}
        self._names: frozenset[str] = frozenset()
        self._priced: dict[tuple[str, str, Decimal, str, str], Price] = {}
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
            self._keep(newest_first(cards))
            self.version = version_of(cards)
            self._fresh_until = begun + self._fresh_s

    async def price(self, model: str, caller: Caller, at: datetime) -> Price:
        """What a caller pays for a model at an instant."""
        if time.monotonic() >= self._fresh_until:
            await self.refresh()
        price = self._price(model, caller, at)
        if price is None:
            raise ModelNotFound(model)
        return price

    def _price(self, asked: str, caller: Caller, at: datetime) -> Price | None:
        own = self._own.get(caller.account_id)
        found = own and find_card(own, asked, caller.account_id, at)
        found = found or find_card(self._standard, asked, caller.account_id, at)
        if not found:
            return None
        card, model = found
        discount, _, reason = caller.discount_at(at)
        # A card never changes, so what was worked out of it stays true.
        bought_on, buy = find_buy(self._standard, card, model, at) or ("", None)
        key = (card.id, model, discount, reason, bought_on)
        price = self._priced.get(key)
        if price is None:
            # A reason names what a partner gave, so there are as many as partners.
            if len(self._priced) >= _PRICED_MAX:
                self._priced.clear()
            price = self._priced[key] = price_on(card, model, discount, reason, buy)
        return price

    def _keep(self, cards: Sequence[RateCard]) -> None:
        if cards == self._cards:
            return
        self._cards, self._own, self._priced = cards, {}, {}
        self._standard = [card for card in cards if card.account_id is None]
        for card in cards:
            if card.account_id is not None:
                self._own.setdefault(card.account_id, []).append(card)
        self._names = frozenset(name for card in cards for name in (*card.models, *card.aliases))

    def is_constant(self, caller: Caller, start: datetime, end: datetime) -> bool:
        """Does no price and no discount of this caller begin after the first and before the second of two instants?"""
        cards = (*self._standard, *self._own.get(caller.account_id, ()))
        begins = (*(card.effective_at for card in cards), *(discount[0] for discount in caller.discounts))
        return not any(start < instant < end for instant in begins)

    def knows(self, name: str) -> bool:
        """Does any card name this model or snapshot?"""
        return name in self._names

    async def offered(self, caller: Caller, at: datetime) -> dict[str, Price]:
        """Every name (models and their snapshots) that a caller may ask for, with its price."""
        await self.refresh()
        found = {name: self._price(name, caller, at) for name in sorted(self._names)}
        return {name: price for name, price in found.items() if price is not None}


def reader_of_cards(sessions: Sessions) -> ReadCards:
    async def read() -> Sequence[RateCard]:
        try:
            async with sessions() as session:
                return await all_cards(session)
        except (StorageError, OSError, TimeoutError) as error:
            raise ServiceUnavailable from error

    return read
