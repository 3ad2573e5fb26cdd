"""price(usage, card): what a call costs. Pure.

Units: prices are USD per million tokens, or USD per page; costs are exact USD (Decimal). Counters are whole pico-USD a token, rounded up.
The **model asked for** sets the price: the newest card effective at the accepted instant that names it, the account's own cards
first (design.md section 5.1).
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from billing.money import ZERO, multiply, shift
from billing.usage import GRANT_ORDER, NOTHING, PAGE_KINDS, TOKEN_KINDS, Usage

_PER_MILLION = Decimal("0.000001")
_PICO_USD_PER_TOKEN = 1_000_000  # USD per million tokens -> pico-USD per token
_PICO_USD_PER_PAGE = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Prices of one model: USD per million tokens by kind, USD per page by mode."""

    input: Decimal = ZERO
    cached_input: Decimal = ZERO
    output: Decimal = ZERO
    standard: Decimal = ZERO
    enhanced: Decimal = ZERO

    def of(self, kind: str) -> Decimal:
        return Decimal(getattr(self, kind))

    def unit(self, kind: str) -> Decimal:
        """USD for one token or one page of a kind."""
        price = self.of(kind)
        return price if kind in PAGE_KINDS else multiply(price, _PER_MILLION)


@dataclass(frozen=True, slots=True)
class RateCard:
    """Prices that hold from an instant on, for all accounts or for one."""

    id: str
    effective_at: datetime
    models: Mapping[str, ModelPrice]
    aliases: Mapping[str, str] = field(default_factory=dict)
    account_id: str | None = None
    club_discount: bool = True
    buys: Mapping[str, ModelPrice] = field(default_factory=dict)
    """What upstream takes, by model, where the card says it."""

    def find(self, asked: str) -> str | None:
        """The model that a name or a snapshot stands for on this card."""
        return asked if asked in self.models else self.aliases.get(asked)


class UnitPrices(NamedTuple):
    """The price of one token or page of each kind after discount, in whole units of 10^−`places` USD. Exact."""

    of: tuple[int, ...]
    places: int


@dataclass(frozen=True, slots=True)
class Price:
    """What one caller pays for one model at one instant; decided at admission and carried to the ledger."""

    model: str
    card_id: str
    prices: ModelPrice
    discount: Decimal
    discount_reason: str
    buy: ModelPrice | None = None
    """What upstream takes for it; None where no card says."""
    texts: tuple[str, str, str, str, str] = field(init=False, repr=False, compare=False)
    """The prices as a usage record carries them, written once and not once a call."""
    buy_texts: tuple[str, str, str, str, str] | None = field(init=False, repr=False, compare=False)
    pico: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """`pico_usd` of the kinds in the order in which grants pay, then of the pages."""
    units: UnitPrices = field(init=False, repr=False, compare=False)
    """`unit_prices` of these after discount."""
    _pico: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = (*TOKEN_KINDS, *PAGE_KINDS)
        object.__setattr__(self, "texts", tuple(str(self.prices.of(kind)) for kind in kinds))
        buy = self.buy and tuple(str(self.buy.of(kind)) for kind in kinds)
        object.__setattr__(self, "buy_texts", buy)
        object.__setattr__(self, "_pico", {kind: self._pico_of(kind) for kind in kinds})
        object.__setattr__(self, "units", unit_prices(self.prices, self.discount))
        object.__setattr__(self, "pico", tuple(self._pico[kind] for kind in (*GRANT_ORDER, *PAGE_KINDS)))

    def _pico_of(self, kind: str) -> int:
        scale = _PICO_USD_PER_PAGE if kind in PAGE_KINDS else _PICO_USD_PER_TOKEN
        exact = multiply(self.prices.of(kind), 1 - self.discount, scale)
        return int(exact.to_integral_value(rounding=decimal.ROUND_CEILING))

    def pico_usd(self, kind: str) -> int:
        """Whole pico-USD for one token or page after discount, rounded up: for counters, never for bills."""
        return self._pico[kind]


def newest_first(cards: Iterable[RateCard]) -> list[RateCard]:
    """Cards in the order in which they are asked: an account's own before the standard ones, then the newest."""
    return sorted(cards, key=lambda card: (card.account_id is not None, card.effective_at), reverse=True)


def find_card(cards: Iterable[RateCard], asked: str, account_id: str, at: datetime) -> tuple[RateCard, str] | None:
    """The card that prices a model for an account at an instant, and the card's name of the model; None where no card does.

    `cards` in the order of `newest_first`.
    """
    for card in cards:
        if card.account_id in (None, account_id) and card.effective_at <= at:
            model = card.find(asked)
            if model is not None:
                return card, model
    return None


def find_buy(cards: Iterable[RateCard], card: RateCard, model: str, at: datetime) -> tuple[str, ModelPrice] | None:
    """What upstream takes for a model of a card at an instant, and the id of the card that says so; None where none does.

    A card that is silent about it (a negotiated one, say) leaves it as the newest standard card in force stated it: upstream's
    price does not depend on who asks. `cards` in the order of `newest_first`.
    """
    own = card.buys.get(model)
    if own is not None:
        return card.id, own
    for each in cards:
        if each.buys and each.account_id is None and each.effective_at <= at:
            stated = each.buys.get(each.find(model) or "")
            if stated is not None:
                return each.id, stated
    return None


def price_on(
    card: RateCard, model: str, discount: Decimal, discount_reason: str, buy: ModelPrice | None = None
) -> Price:
    """The price of a model on a card, for a caller whose club tier gives `discount`; `buy` as `find_buy` found it."""
    if not card.club_discount:
        discount, discount_reason = ZERO, "negotiated price"
    return Price(model, card.id, card.models[model], discount, discount_reason, buy)


def list_cost(usage: Usage, prices: ModelPrice) -> Decimal:
    """The exact cost before discount and grants, USD."""
    return cost(usage, NOTHING, prices, ZERO)


def cost(usage: Usage, granted: Usage, prices: ModelPrice, discount: Decimal) -> Decimal:
    """The exact cost of a call, USD: Σ (count − granted) × price × (1 − discount)."""
    each = unit_prices(prices, discount)
    return shift(units(usage, granted, each), -each.places)


def cost_at(price: Price, usage: Usage, granted: Usage = NOTHING) -> Decimal:
    """`cost` at a price whose units were worked out when it was decided."""
    return shift(units(usage, granted, price.units), -price.units.places)


def units(usage: Usage, granted: Usage, each: UnitPrices) -> int:
    """The exact cost of a call in whole numbers: units of 10^−`each.places` USD."""
    input_, cached, output, standard, enhanced = each.of
    return (
        (usage.input_tokens - granted.input_tokens) * input_
        + (usage.cached_input_tokens - granted.cached_input_tokens) * cached
        + (usage.output_tokens - granted.output_tokens) * output
        + (usage.standard_pages - granted.standard_pages) * standard
        + (usage.enhanced_pages - granted.enhanced_pages) * enhanced
    )


@lru_cache(maxsize=4096)
def unit_prices(prices: ModelPrice, discount: Decimal) -> UnitPrices:
    """The unit of which all these prices are multiples, and how many of it each is."""
    exact = [multiply(prices.unit(kind), 1 - discount) for kind in (*TOKEN_KINDS, *PAGE_KINDS)]
    places = max(0, *(-int(price.as_tuple().exponent) for price in exact))
    return UnitPrices(tuple(int(shift(price, places)) for price in exact), places)
