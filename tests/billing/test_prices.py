"""Prices, against a second calculation in fractions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.prices import ModelPrice, Price, RateCard, cost, cost_at, find_card, list_cost, newest_first, price_on
from billing.usage import Usage

START = datetime(2026, 10, 1, tzinfo=UTC)
posted = st.decimals(min_value=0, max_value=1000, places=12)
counts = st.integers(0, 10**7)
ratios = st.decimals(min_value=0, max_value=1, places=4)
usages = st.builds(Usage, counts, counts, counts, counts, counts)
model_prices = st.builds(ModelPrice, posted, posted, posted, posted, posted)


def find_price(
    cards: Sequence[RateCard], asked: str, account_id: str, at: datetime, discount: Decimal, reason: str
) -> Price | None:
    """What a caller pays: the card that applies, then its price."""
    found = find_card(cards, asked, account_id, at)
    return found and price_on(*found, discount, reason)


def in_fractions(usage: Usage, prices: ModelPrice) -> Fraction:
    per_million = (
        usage.input_tokens * Fraction(prices.input)
        + usage.cached_input_tokens * Fraction(prices.cached_input)
        + usage.output_tokens * Fraction(prices.output)
    )
    pages = usage.standard_pages * Fraction(prices.standard) + usage.enhanced_pages * Fraction(prices.enhanced)
    return per_million / 1_000_000 + pages


@given(usages, model_prices)
def test_list_cost_equals_its_recount_in_fractions(usage: Usage, prices: ModelPrice) -> None:
    assert Fraction(list_cost(usage, prices)) == in_fractions(usage, prices)


@given(usages, model_prices, ratios, st.data())
def test_cost_is_what_grants_leave_less_the_discount(
    usage: Usage, prices: ModelPrice, discount: Decimal, data: st.DataObject
) -> None:
    granted = Usage(
        data.draw(st.integers(0, usage.input_tokens)),
        data.draw(st.integers(0, usage.cached_input_tokens)),
        data.draw(st.integers(0, usage.output_tokens)),
    )
    left = in_fractions(usage, prices) - in_fractions(granted, prices)
    assert Fraction(cost(usage, granted, prices, discount)) == left * (1 - Fraction(discount))
    assert Fraction(cost_at(Price("m", "c", prices, discount, ""), usage, granted)) == left * (1 - Fraction(discount))


@given(model_prices, ratios, st.sampled_from(["input", "cached_input", "output", "standard", "enhanced"]))
def test_a_counter_price_is_never_below_the_exact_one(prices: ModelPrice, discount: Decimal, kind: str) -> None:
    exact = Fraction(prices.unit(kind)) * (1 - Fraction(discount)) * 10**12
    assert 0 <= Price("m", "c", prices, discount, "").pico_usd(kind) - exact < 1


def card(card_id: str, days: int, price: str, account_id: str | None = None, *, club: bool = True) -> RateCard:
    models = {"solar-pro4": ModelPrice(input=Decimal(price))}
    aliases = {"solar-pro4-260806": "solar-pro4"}
    return RateCard(card_id, START + timedelta(days=days), models, aliases, account_id, club)


def test_the_newest_card_effective_at_the_instant_sets_the_price() -> None:
    cards = newest_first([card("old", 0, "1"), card("new", 10, "2"), card("future", 20, "3")])
    at = {
        days: find_price(cards, "solar-pro4-260806", "acc_1", START + timedelta(days=days), Decimal(0), "")
        for days in (9, 10)
    }
    assert {days: price and price.card_id for days, price in at.items()} == {9: "old", 10: "new"}


def test_an_own_card_comes_before_newer_standard_ones_and_takes_no_club_discount() -> None:
    cards = newest_first([card("own", 0, "1", "acc_1", club=False), card("standard", 10, "2")])
    now = START + timedelta(days=20)
    own, other = (find_price(cards, "solar-pro4", who, now, Decimal("0.1"), "tier") for who in ("acc_1", "acc_2"))
    assert own is not None
    assert other is not None
    assert (own.card_id, own.discount, own.discount_reason) == ("own", Decimal(0), "negotiated price")
    assert (other.card_id, other.discount, other.discount_reason) == ("standard", Decimal("0.1"), "tier")


def test_a_model_that_no_card_names_has_no_price() -> None:
    assert find_price([card("old", 0, "1")], "gpt", "acc_1", START, Decimal(0), "") is None
