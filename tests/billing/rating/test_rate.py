"""Rating, by properties."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.rating.rate import KINDS, Booked, rate

posted = st.sampled_from([Decimal("0.30"), Decimal("0.123456789"), Decimal(0)])
discounts = st.sampled_from([Decimal(0), Decimal("0.10"), Decimal("0.333")])


@st.composite
def groups(draw: st.DrawFn) -> Booked:
    """Sums of entries, some of them partly covered by grants."""
    kind = draw(st.sampled_from(KINDS))
    used = draw(st.integers(0, 10**9))
    granted = draw(st.integers(0, used)) if kind not in ("standard", "enhanced") else 0
    month = draw(st.sampled_from(["2026-09", "2026-10"]))
    model, card = draw(st.sampled_from(["solar-pro4", "solar-mini"])), draw(st.sampled_from(["card_1", "card_2"]))
    return Booked(model, kind, card, draw(posted), draw(discounts), month, used, granted)


booked = st.lists(groups(), max_size=12)


@given(booked)
def test_every_line_is_its_quantity_times_its_price_less_its_discount(entries: list[Booked]) -> None:
    for line in rate(entries):
        one = Fraction(line.unit_price) / (1 if line.kind in ("standard", "enhanced") else 1_000_000)
        assert Fraction(line.exact_usd) == line.quantity * one * (1 - Fraction(line.discount))


@given(booked)
def test_the_lines_sum_to_what_was_used_and_to_what_was_not_granted(entries: list[Booked]) -> None:
    lines = rate(entries)
    assert sum(line.quantity for line in lines) == sum(entry.used for entry in entries)
    assert sum(line.quantity for line in lines if line.granted) == sum(entry.granted for entry in entries)
    exact = sum(
        (entry.used - entry.granted)
        * Fraction(entry.unit_price)
        / (1 if entry.kind in ("standard", "enhanced") else 1_000_000)
        * (1 - Fraction(entry.discount))
        for entry in entries
    )
    assert sum(Fraction(line.exact_usd) for line in lines) == exact


@given(booked)
def test_the_order_of_the_sums_does_not_matter_and_no_line_stands_twice(entries: list[Booked]) -> None:
    lines = rate(entries)
    assert rate(entries[::-1]) == lines
    keys = [(n.billing_month, n.model, n.kind, n.card_id, n.unit_price, n.discount, n.granted) for n in lines]
    assert len(set(keys)) == len(keys)


def test_a_reversal_takes_its_own_back() -> None:
    call = Booked("solar-pro4", "input", "card_1", Decimal("0.30"), Decimal(0), "2026-09", 1_000_000)
    reversal = Booked("solar-pro4", "input", "card_1", Decimal("0.30"), Decimal(0), "2026-09", -1_000_000)
    assert rate([call, reversal]) == []
    assert [line.exact_usd for line in rate([reversal])] == [Decimal("-0.30")]
