"""Which share plans are safe."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.share.check import PlanUnsafe, check_plan
from billing.share.rules import Revenue, rule_named
from billing.share.split import pools_of
from tests.billing.share.cases import MODELS, random_case, random_money

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


@given(st.integers(0, 2**32), st.integers(0, 100), st.integers(0, 100))
def test_under_no_rule_do_grants_discount_and_share_of_own_traffic_pass_its_list_price(
    seed: int, discount: int, granted: int
) -> None:
    """Whatever others do, and however the group's traffic is divided among models."""
    rng = Random(seed)
    case = random_case(rng, reversals=False)
    off = Decimal(discount) / 100
    if not safe(case.terms.pool_rate, off):
        return
    own = [
        Revenue("ring", "ring", model, (at_list - free) * (1 - off), at_list)
        for model in MODELS
        for at_list in [random_money(rng)]
        for free in [at_list * granted / 100 if rng.random() < 0.5 else Decimal(0)]
    ]
    pools, _ = pools_of((*case.revenue, *own), rule_named(case.rule), case.terms, {})
    share = sum((pool.exact for pool in pools if pool.payer_id == "ring"), Fraction(0))
    list_price = sum((Fraction(each.usage) for each in own), Fraction(0))
    paid = sum((Fraction(each.net) for each in own), Fraction(0))
    assert share + (list_price - paid) <= list_price
    assert share + Fraction(off) * list_price <= list_price
    assert share <= Fraction(case.terms.pool_rate) * list_price


def test_rate_and_discount_may_just_reach_the_list_price() -> None:
    check_plan("plan_1", Decimal("0.60"), Decimal("0.40"))
    with pytest.raises(PlanUnsafe, match=r"plan_1: pool rate 0.601 \+ highest club discount 0.40"):
        check_plan("plan_1", Decimal("0.601"), Decimal("0.40"))
