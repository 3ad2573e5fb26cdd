"""Every rule, by properties, and against a second calculation. The same over a million cases: python -m tests.bench.share."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import add, floor_pool
from billing.share.rules import RULES, Revenue, Terms, UnknownRule, level, rule_named
from billing.share.split import Partner, pools_of
from tests.billing.share.cases import DATASETS, Case, random_case

seeds = st.integers(0, 2**32)
rules = st.sampled_from(sorted(RULES))
CASES = 1000


@pytest.mark.parametrize("rule", sorted(RULES))
def test_thousands_of_random_months_equal_a_second_calculation_to_the_cent(rule: str) -> None:
    rng = Random(f"share {rule}")
    for _ in range(CASES):
        case = random_case(rng, rule)
        shares, second = case.split(), case.reckon()
        assert {p.account_id: Fraction(p.amount) * 100 for p in shares.parts} == second.cents
        assert (shares.house, case.exact()) == (second.house, second.exact)


@given(seeds)
def test_the_amounts_sum_to_the_pool_and_with_the_house_to_the_rate_of_all_revenue(seed: int) -> None:
    case = random_case(Random(seed))
    shares = case.split()
    assert add(part.amount for part in shares.parts) == shares.pool == floor_pool(shares.pool, "USD")
    whole = Fraction(case.terms.pool_rate) * sum(Fraction(each.net) for each in case.revenue)
    assert Fraction(shares.pool) + shares.house == whole


@given(seeds)
def test_no_order_matters(seed: int) -> None:
    rng = Random(seed)
    case = random_case(rng)
    mixed = replace(
        case,
        revenue=tuple(rng.sample(case.revenue, len(case.revenue))),
        partners=tuple(rng.sample(case.partners, len(case.partners))),
    )
    assert {part.account_id: part for part in mixed.split().parts} == {p.account_id: p for p in case.split().parts}
    assert mixed.split() == case.split()


@given(seeds, st.integers(1, 10**6), st.integers(1, 10**6))
def test_splitting_is_neutral_inside_one_owner_group(seed: int, left: int, right: int) -> None:
    case = random_case(Random(seed))
    if not case.partners:
        return
    first, parts = case.partners[0], (Fraction(left, left + right), Fraction(right, left + right))
    scale = Decimal(left + right)
    heavy = replace(case, partners=tuple(_scaled(p, scale) for p in case.partners))
    halves = tuple(
        replace(_scaled(first, scale * share.numerator / share.denominator), account_id=f"{first.account_id}_{number}")
        for number, share in enumerate(parts)
    )
    cut = replace(heavy, partners=(*halves, *heavy.partners[1:]))
    whole, pieces = heavy.exact(), cut.exact()
    assert sum(pieces.get(half.account_id, Fraction(0)) for half in halves) == whole.get(first.account_id, Fraction(0))
    for other in case.partners[1:]:
        assert pieces.get(other.account_id) == whole.get(other.account_id)
    assert cut.split().pool == heavy.split().pool


def _scaled(partner: Partner, factor: Decimal) -> Partner:
    return replace(partner, given=tuple((dataset, weight * factor) for dataset, weight in partner.given))


@given(seeds, st.integers(1, 10**12))
def test_more_weight_never_means_less_and_no_weight_means_no_share(seed: int, more: int) -> None:
    case = random_case(Random(seed), reversals=False)
    named = {part.account_id for part in case.split().parts}
    assert named == {partner.account_id for partner in case.partners if partner.weight() > 0}
    if not case.partners:
        return
    first = case.partners[0]
    raised = replace(first, given=(*first.given, *((dataset, Decimal(more)) for dataset in DATASETS)))
    after = replace(case, partners=(raised, *case.partners[1:]))
    name = first.account_id
    assert after.exact().get(name, 0) >= case.exact().get(name, 0)
    amounts = {part.account_id: part.amount for part in case.split().parts}
    assert {part.account_id: part.amount for part in after.split().parts}[name] >= amounts.get(name, Decimal(0))


@given(seeds, rules)
def test_nobody_puts_up_more_than_it_paid_nor_more_than_the_rate_of_its_usage_at_list_price(
    seed: int, rule: str
) -> None:
    case = random_case(Random(seed), rule, reversals=False)
    pools, kept = pools_of(case.revenue, rule_named(rule), case.terms, case.trained_on)
    assert kept >= 0
    for payer in {each.payer_id for each in case.revenue}:
        lines = [each for each in case.revenue if each.payer_id == payer]
        amount = sum((pool.exact for pool in pools if pool.payer_id == payer), Fraction(0))
        assert amount <= sum(Fraction(each.net) for each in lines)
        assert amount <= Fraction(case.terms.pool_rate) * sum(Fraction(each.usage) for each in lines)


@given(seeds, rules, st.integers(1, 3))
def test_fake_payers_never_bring_a_group_more_than_they_paid(seed: int, rule: str, fakes: int) -> None:
    """Fraud-proofness of arXiv 2511.04465, in money: whoever adds payers of its own gains at most what they pay."""
    rng = Random(seed)
    case = random_case(rng, rule, reversals=False)
    extra = [
        replace(each, payer_id=f"fake_{number}", owner_group=f"fake_{number}")
        for number in range(fakes)
        for each in random_case(rng, rule, reversals=False).revenue
        if each.payer_id == "payer_0"
    ]
    after = replace(case, revenue=(*case.revenue, *extra)).exact()
    for group in {partner.owner_group for partner in case.partners}:
        names = [p.account_id for p in case.partners if p.owner_group == group and p.weight() > 0]
        gain = sum((after[name] - case.exact()[name] for name in names), Fraction(0))
        assert gain <= sum(Fraction(each.net) for each in extra)


@given(st.lists(st.tuples(st.fractions(1, 100), st.fractions(0, 100)), max_size=8), st.fractions(0, 1))
def test_the_level_gives_out_exactly_the_total(asked: list[tuple[Fraction, Fraction]], part: Fraction) -> None:
    total = part * sum((most for _, most in asked), Fraction(0))
    gamma = level(asked, total)
    assert sum((min(gamma * a, most) for a, most in asked), Fraction(0)) == total


def two_payers(rule: str, cap: str | None = None) -> dict[tuple[str, str], Fraction]:
    """One payer pays list price for both models; the other has grants for one of them and half price for the other."""
    revenue = (
        Revenue("plain", "plain", "solar-mini", Decimal(100), Decimal(100)),
        Revenue("plain", "plain", "solar-pro4", Decimal(300), Decimal(300)),
        Revenue("cheap", "cheap", "solar-mini", Decimal(0), Decimal(300)),
        Revenue("cheap", "cheap", "solar-pro4", Decimal(50), Decimal(100)),
    )
    terms = Terms(Decimal("0.20"), None if cap is None else Decimal(cap))
    pools, _ = pools_of(revenue, rule_named(rule), terms, {})
    return {(pool.payer_id, pool.model): pool.exact for pool in pools if pool.exact}


def test_what_each_rule_makes_of_the_same_two_payers() -> None:
    assert two_payers("pro_rata") == {
        ("plain", "solar-mini"): 20,
        ("plain", "solar-pro4"): 60,
        ("cheap", "solar-pro4"): 10,
    }
    assert two_payers("user_centric") == {
        ("plain", "solar-mini"): 20,
        ("plain", "solar-pro4"): 60,
        ("cheap", "solar-mini"): Fraction("7.5"),
        ("cheap", "solar-pro4"): Fraction("2.5"),
    }
    assert two_payers("capped_pro_rata", "40") == {
        ("plain", "solar-mini"): 10,
        ("plain", "solar-pro4"): 30,
        ("cheap", "solar-pro4"): 10,
    }
    # 90 in all, in step with 400 and 400 of usage: 45 each, and 45 is less than the 50 that the second one paid.
    assert two_payers("scaled_user_prop") == {
        ("plain", "solar-mini"): Fraction("11.25"),
        ("plain", "solar-pro4"): Fraction("33.75"),
        ("cheap", "solar-mini"): Fraction("33.75"),
        ("cheap", "solar-pro4"): Fraction("11.25"),
    }


def test_a_payer_with_a_late_reversal_pays_by_its_net_under_every_rule() -> None:
    revenue = (
        Revenue("late", "late", "solar-mini", Decimal(-3), Decimal(-3)),
        Revenue("late", "late", "solar-pro4", Decimal(10), Decimal(20)),
    )
    for name, rule in RULES.items():
        terms = Terms(Decimal("0.5"), Decimal(1000) if rule.needs_cap else None)
        assert rule.put_up(revenue, terms) == [Fraction("-1.5"), 5], name


def test_a_rule_that_is_none_is_refused_with_the_names_of_those_that_are() -> None:
    with pytest.raises(UnknownRule, match="rule: must be one of pro_rata, user_centric, capped_pro_rata, scaled"):
        rule_named("lottery")


def test_a_month_without_payers_or_partners_shares_nothing() -> None:
    for name in RULES:
        empty = Case(name, Terms(Decimal("0.2"), Decimal(1)), (), (), {})
        assert not empty.split().parts
        assert Fraction(empty.split().pool) + empty.split().house == 0
