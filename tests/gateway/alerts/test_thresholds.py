"""Which thresholds are reached: exactly at 50, 80 and 100 %, never one digit too early, checked a second time in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.alerts.thresholds import THRESHOLDS_PERCENT, reached

AMOUNTS = st.decimals("0", "1000000000", places=12)


@given(AMOUNTS, AMOUNTS, st.booleans())
def test_thresholds_are_those_that_fractions_say(spent: Decimal, budget: Decimal, refused: bool) -> None:
    if budget == 0:
        assert list(reached(spent, budget, refused=refused)) == []
        return
    part = Fraction(spent) / Fraction(budget)
    expected = [percent for percent in THRESHOLDS_PERCENT if part >= Fraction(percent, 100)]
    if refused and part >= Fraction(8, 10) and 100 not in expected:
        expected.append(100)
    assert list(reached(spent, budget, refused=refused)) == expected


def test_the_last_digit_before_a_threshold_does_not_reach_it() -> None:
    budget = Decimal("10.00")
    for percent, at in ((50, "5"), (80, "8"), (100, "10")):
        assert percent in reached(Decimal(at), budget)
        assert percent not in reached(Decimal(at) - Decimal("0.000000000001"), budget)


def test_a_refusal_uses_a_budget_up_only_where_most_of_it_is_spent() -> None:
    assert list(reached(Decimal("0.10"), Decimal(10), refused=True)) == []
    assert list(reached(Decimal("8.10"), Decimal(10), refused=True)) == [50, 80, 100]
