"""What credit notes take back of earlier months, the way it came."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.share.corrections import Credit, StoodMonth, StoodPool, taken_back
from billing.share.rules import rule_named
from billing.share.split import pools_of, split
from tests.billing.share import reckoned
from tests.billing.share.cases import Case, random_case

OCTOBER, SMALLEST = "2026-10", Fraction(1, 10**9)


def stood(case: Case) -> StoodMonth:
    """A random month as it stands once it is shared."""
    rule = rule_named(case.rule)
    pools, _ = pools_of(case.revenue, rule, case.terms, case.trained_on)
    divided = case.reckon().divided
    return StoodMonth(
        tuple(
            StoodPool(
                payer=number,
                payer_id=pool.payer_id,
                model=pool.model,
                net=pool.net,
                exact=pool.exact,
                parts=tuple((n, p / pool.exact) for n, p in divided[pool.payer_id, pool.model].items()),
            )
            for number, pool in enumerate(pools)
        ),
        rule.by_payer,
    )


@given(st.integers(0, 2**32))
def test_a_credit_of_everything_takes_back_exactly_what_every_partner_and_the_house_had(seed: int) -> None:
    case = random_case(Random(seed), reversals=False)
    month = stood(case)
    credits = [
        Credit(f"cre_{number}", pool.payer_id, OCTOBER, pool.model, Fraction(pool.net))
        for number, pool in enumerate(month.pools)
    ]
    back = taken_back(credits, {OCTOBER: month})
    for name, exact in case.exact().items():
        assert sum((each.exact for each in back if each.account_id == name), Fraction(0)) == -exact
    whole = sum((each.exact for each in back), Fraction(0))
    assert whole == -sum((pool.exact for pool in month.pools), Fraction(0))


@given(st.integers(0, 2**32), st.fractions(0, 1))
def test_a_month_with_corrections_equals_a_second_calculation_to_the_cent(seed: int, part: Fraction) -> None:
    rng = Random(seed)
    case, earlier = random_case(rng), random_case(rng, reversals=False)
    month = stood(earlier)
    credits = [
        Credit(f"cre_{number}", pool.payer_id, OCTOBER, pool.model, Fraction(pool.net) * part)
        for number, pool in enumerate(month.pools)
    ]
    back = taken_back(credits, {OCTOBER: month})
    sums: dict[str | None, Fraction] = {}
    for each in back:
        sums[each.account_id] = sums.get(each.account_id, Fraction(0)) + each.exact
    pools, kept = pools_of(case.revenue, rule_named(case.rule), case.terms, case.trained_on)
    shares = split(pools, case.partners, rng.sample(back, len(back)), kept)
    cap = case.terms.payer_cap
    second = reckoned.month(
        [reckoned.Paid(e.payer_id, e.owner_group, e.model, Fraction(e.net), Fraction(e.usage)) for e in case.revenue],
        [
            reckoned.Giver(p.account_id, p.owner_group, {d: _weight(p.given, d) for d, _ in p.given})
            for p in case.partners
        ],
        {model: set(datasets) for model, datasets in case.trained_on.items()},
        case.rule,
        Fraction(case.terms.pool_rate),
        None if cap is None else Fraction(cap),
        sums,
    )
    assert {p.account_id: Fraction(p.amount) * 100 for p in shares.parts} == second.cents
    assert shares.house == second.house


def _weight(given: tuple[tuple[str, Decimal], ...], dataset: str) -> Fraction:
    return sum((Fraction(weight) for name, weight in given if name == dataset), Fraction(0))


def a_month(*, by_payer: bool) -> StoodMonth:
    """One payer, two models: one that a partner shared in, and one that stayed with the house."""
    shared = StoodPool(1, "payer", "solar-pro4", Decimal(100), Fraction(20), (("acc_1", Fraction(1)),))
    kept = StoodPool(1, "payer", "solar-mini", Decimal(300), Fraction(60), ())
    return StoodMonth((shared, kept), by_payer)


def test_a_credit_takes_from_its_own_models_pool_or_from_all_of_the_payers_as_the_rule_made_them() -> None:
    credit = Credit("cre_1", "payer", OCTOBER, "solar-pro4", Fraction(10))
    (one,) = taken_back([credit], {OCTOBER: a_month(by_payer=False)})
    assert (one.account_id, one.exact) == ("acc_1", Fraction(-2))
    both = taken_back([credit], {OCTOBER: a_month(by_payer=True)})
    assert {each.account_id: each.exact for each in both} == {"acc_1": Fraction("-0.5"), None: Fraction("-1.5")}


def test_a_month_that_was_never_shared_gives_nothing_back() -> None:
    credit = Credit("cre_1", "payer", "2026-09", "solar-pro4", Fraction(10))
    assert taken_back([credit], {OCTOBER: a_month(by_payer=False)}) == []


def test_a_credit_above_the_revenue_is_refused_by_its_id() -> None:
    credit = Credit("cre_7", "payer", OCTOBER, "solar-pro4", Fraction(100) + SMALLEST)
    with pytest.raises(ValueError, match="cre_7: more than the revenue"):
        taken_back([credit], {OCTOBER: a_month(by_payer=False)})
