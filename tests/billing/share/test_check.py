"""Which share plans are safe."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.share.check import PlanUnsafe, check_plan

ratios = st.decimals(min_value=0, max_value=1, places=4)
amounts = st.integers(0, 10**6).map(Fraction)


def safe(pool_rate: Decimal, discount: Decimal) -> bool:
    try:
        check_plan("plan_1", pool_rate, discount)
    except PlanUnsafe:
        return False
    return True


@given(ratios, ratios, amounts, amounts)
def test_under_a_safe_plan_a_ring_of_groups_never_takes_out_more_than_its_list_price(
    pool_rate: Decimal, discount: Decimal, granted: Fraction, paid_for: Fraction
) -> None:
    taken = granted + Fraction(discount) * paid_for + Fraction(pool_rate) * paid_for
    assert not safe(pool_rate, discount) or taken <= granted + paid_for


@given(ratios, ratios)
def test_a_lower_rate_or_discount_never_makes_a_safe_plan_unsafe(pool_rate: Decimal, discount: Decimal) -> None:
    assert not safe(pool_rate, discount) or (safe(pool_rate / 2, discount) and safe(pool_rate, discount / 2))


def test_rate_and_discount_may_just_reach_the_list_price() -> None:
    check_plan("plan_1", Decimal("0.60"), Decimal("0.40"))
    with pytest.raises(PlanUnsafe, match=r"plan_1: pool rate 0.601 \+ highest club discount 0.40"):
        check_plan("plan_1", Decimal("0.601"), Decimal("0.40"))
