"""What credit notes take back of earlier months, the way it came."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from billing.share.corrections import Credit, StoodMonth, StoodPool, TakenBack, taken_back
from billing.share.rules import Revenue, Terms, rule_named
from billing.share.split import number_payers, pools_of, split
from tests.billing.share import reckoned
from tests.billing.share.cases import Case, givers_of, paid_of, random_case

seeds = st.integers(0, 2**32)
tenths = st.integers(0, 10).map(lambda tenth: Decimal(tenth) / 10)


def stood(case: Case) -> StoodMonth:
    """A random month as it stands once it is shared."""
    rule = rule_named(case.rule)
    pools, _ = pools_of(case.revenue, rule, case.terms, case.trained_on)
    numbers, divided = number_payers(pools), case.reckon().divided
    usage = {(each.payer_id, each.model): each.usage for each in case.revenue}
    return StoodMonth(
        "2026-10",
        rule,
        case.terms,
        tuple(
            StoodPool(
                numbers[pool.payer_id],
                Revenue(pool.payer_id, pool.owner_group, pool.model, pool.net, usage[pool.payer_id, pool.model]),
                tuple((n, p / pool.exact) for n, p in divided[pool.payer_id, pool.model].items() if pool.exact),
            )
            for pool in pools
        ),
    )


def credits_of(month: StoodMonth, part: Decimal) -> list[Credit]:
    return [Credit(p.revenue.payer_id, p.revenue.model, p.revenue.net * part) for p in month.pools]


def sums_of(back: list[TakenBack]) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = {}
    for each in back:
        sums[each.holder] = sums.get(each.holder, Fraction(0)) + each.exact
    return {holder: amount for holder, amount in sums.items() if amount}


@given(seeds)
def test_a_credit_of_everything_takes_back_exactly_what_every_partner_and_the_house_had(seed: int) -> None:
    case = random_case(Random(seed), reversals=False)
    month = stood(case)
    back = sums_of(taken_back(month, [], credits_of(month, Decimal(1))))
    had = {name: -amount for name, amount in case.exact().items() if amount}
    assert {holder: amount for holder, amount in back.items() if holder} == had
    pools, _ = pools_of(case.revenue, month.rule, case.terms, case.trained_on)
    assert sum(back.values(), Fraction(0)) == -sum((pool.exact for pool in pools), Fraction(0))


@given(seeds, tenths)
def test_a_month_after_its_credits_is_the_month_as_it_would_have_been(seed: int, part: Decimal) -> None:
    """Whoever buys, and has it credited, keeps no effect on anyone: also not on what others put up."""
    rng = Random(seed)
    case = random_case(rng, reversals=False)
    less = tuple(replace(each, net=each.net * (1 - part) if rng.random() < 0.5 else each.net) for each in case.revenue)
    month, after = stood(case), replace(case, revenue=less)
    credits = [Credit(a.payer_id, a.model, a.net - b.net) for a, b in zip(case.revenue, less, strict=True)]
    back = sums_of(taken_back(month, [], credits))
    expected = after.exact()
    assert {name: exact + back.get(name, 0) for name, exact in case.exact().items()} == expected


@given(seeds, st.lists(tenths, min_size=2, max_size=2))
def test_credits_note_by_note_take_back_what_one_for_all_would(seed: int, parts: list[Decimal]) -> None:
    month = stood(random_case(Random(seed), reversals=False))
    first, second = (credits_of(month, part / 2) for part in parts)
    one_by_one = sums_of([*taken_back(month, [], first), *taken_back(month, first, second)])
    assert one_by_one == sums_of(taken_back(month, [], [*first, *second]))


@given(seeds, tenths)
def test_a_month_with_corrections_equals_a_second_calculation_to_the_cent(seed: int, part: Decimal) -> None:
    rng = Random(seed)
    case, month = random_case(rng), stood(random_case(rng, reversals=False))
    back = taken_back(month, [], credits_of(month, part))
    pools, kept = pools_of(case.revenue, rule_named(case.rule), case.terms, case.trained_on)
    shares = split(pools, case.partners, rng.sample(back, len(back)), kept)
    cap = case.terms.payer_cap
    second = reckoned.month(
        paid_of(case.revenue),
        givers_of(case.partners),
        {model: set(datasets) for model, datasets in case.trained_on.items()},
        case.rule,
        Fraction(case.terms.pool_rate),
        None if cap is None else Fraction(cap),
        {holder or None: amount for holder, amount in sums_of(back).items()},
    )
    cents = {p.account_id: Fraction(p.amount) * 100 for p in shares.parts}
    assert {name: amount for name, amount in cents.items() if amount} == {n: c for n, c in second.cents.items() if c}
    assert shares.house == second.house


def test_a_credit_takes_from_the_partners_that_had_it_and_from_the_house() -> None:
    shared = StoodPool(
        1, Revenue("payer", "payer", "solar-pro4", Decimal(100), Decimal(100)), (("acc_1", Fraction(1)),)
    )
    kept = StoodPool(1, Revenue("payer", "payer", "solar-mini", Decimal(300), Decimal(300)))
    credit = Credit("payer", "solar-pro4", Decimal(10))

    def back(rule: str) -> dict[str, Fraction]:
        month = StoodMonth("2026-10", rule_named(rule), Terms(Decimal("0.20")), (shared, kept))
        return sums_of(taken_back(month, [], [credit]))

    assert back("pro_rata") == {"acc_1": -2}
    # The payer's money is divided among the models by usage: a quarter of what it got back had come from this model's partners.
    assert back("user_centric") == {"acc_1": Fraction("-0.5"), "": Fraction("-1.5")}


def test_corrections_that_cancel_out_still_stand_on_the_statement_of_a_partner_that_has_left() -> None:
    back = [TakenBack("2026-09", 1, model, "acc_left", Fraction(usd)) for model, usd in (("mini", 1), ("pro", -1))]
    (part,) = split([], [], back).parts
    assert (part.account_id, part.amount, part.taken_back) == ("acc_left", Decimal(0), tuple(back))
