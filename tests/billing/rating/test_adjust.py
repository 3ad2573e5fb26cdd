"""A past month under other prices, by properties and against fractions."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.money import add
from billing.prices import ModelPrice, RateCard
from billing.rating.adjust import adjust, total
from billing.rating.rate import Booked, rate
from tests.billing.rating.test_rate import booked

CARD = RateCard(
    "replayed",
    datetime(2026, 10, 1, tzinfo=UTC),
    {"solar-pro4": ModelPrice(Decimal("0.25"), Decimal("0.05"), Decimal("1.00"))},
    {"solar-pro4-260806": "solar-pro4"},
)
ratios = st.decimals(min_value=0, max_value=1, places=3)


@given(booked)
def test_under_the_same_terms_nothing_differs_and_the_lines_sum_to_the_bill(entries: list[Booked]) -> None:
    lines = adjust(entries)
    assert all(line.difference_usd == 0 and line.before == line.after for line in lines)
    assert total(lines)[0] == add(line.exact_usd for line in rate(entries))


@given(booked, ratios)
def test_another_discount_comes_to_what_fractions_say(entries: list[Booked], discount: Decimal) -> None:
    expected = Fraction(0)
    for entry in entries:
        per = 1 if entry.kind in ("standard", "enhanced") else 1_000_000
        paid = entry.used - entry.granted
        expected += Fraction(paid) * Fraction(entry.unit_price) / per * (1 - Fraction(discount))
    before, after, difference = total(adjust(entries, discount=discount))
    assert Fraction(after) == expected
    assert after - before == difference


@given(booked, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_does_not_matter(entries: list[Booked], order: random.Random) -> None:
    shuffled = list(entries)
    order.shuffle(shuffled)
    assert adjust(shuffled, card=CARD) == adjust(entries, card=CARD)


def test_a_card_changes_the_lines_of_the_models_that_it_names_and_no_others() -> None:
    entries = [
        Booked("solar-pro4", "output", "card_1", Decimal("1.20"), Decimal("0.1"), "2026-10", 2_000_000, 1_000_000),
        Booked("solar-mini", "input", "card_1", Decimal("0.10"), Decimal(0), "2026-10", 1_000_000),
    ]
    kept, changed = adjust(entries, card=CARD)
    assert (kept.model, kept.difference_usd, kept.after.card_id) == ("solar-mini", Decimal(0), "card_1")
    assert (changed.quantity, changed.after.card_id, changed.after.discount) == (1_000_000, "replayed", Decimal("0.1"))
    assert (changed.before_usd, changed.after_usd, changed.difference_usd) == (
        Decimal("1.08"),
        Decimal("0.9"),
        Decimal("-0.18"),
    )


def test_a_card_that_takes_no_club_discount_sets_it_to_nothing() -> None:
    entries = [Booked("solar-pro4", "output", "card_1", Decimal("1.20"), Decimal("0.1"), "2026-10", 1_000_000)]
    negotiated = RateCard("replayed", CARD.effective_at, CARD.models, club_discount=False)
    [line] = adjust(entries, card=negotiated)
    assert (line.after_usd, line.after.discount) == (Decimal(1), Decimal(0))
