"""The split of pools, by properties."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from billing.money import add, floor_pool
from billing.share.rules import Revenue, Terms, rule_named
from billing.share.split import Partner, Pool, number_payers, pools_of, split

GROUPS = ("group_a", "group_b", "group_c")
DATASETS = ("news", "law")
weights = st.integers(0, 10**12).map(Decimal)
pool_amounts = st.fractions(min_value=0, max_value=10**6, max_denominator=10**12)
manifests = st.sampled_from([None, frozenset({"news"}), frozenset({"law"}), frozenset[str]()])

partners = st.lists(
    st.tuples(st.sampled_from(GROUPS), st.lists(st.tuples(st.sampled_from(DATASETS), weights), max_size=3)), max_size=6
).map(lambda rows: [Partner(f"acc_{i}", group, tuple(given)) for i, (group, given) in enumerate(rows)])
pools = st.lists(st.tuples(st.sampled_from(GROUPS), pool_amounts, manifests), max_size=6).map(
    lambda rows: [
        Pool(f"payer_{i}", group, "solar-pro4", exact, datasets) for i, (group, exact, datasets) in enumerate(rows)
    ]
)


@given(pools, partners)
def test_the_amounts_sum_to_the_pool_and_with_the_house_to_all_pools(
    pools: list[Pool], partners: list[Partner]
) -> None:
    result = split(pools, partners)
    assert add(part.amount for part in result.parts) == result.pool
    assert result.pool == floor_pool(result.pool, "USD")
    assert Fraction(result.pool) + result.house == sum(pool.exact for pool in pools)
    assert result.house >= 0


@given(pools, partners, st.randoms())
def test_the_order_of_pools_and_partners_does_not_matter(
    pools: list[Pool], partners: list[Partner], rng: Random
) -> None:
    assert split(rng.sample(pools, len(pools)), rng.sample(partners, len(partners))) == split(pools, partners)


@given(pools, partners)
def test_a_partner_without_weight_has_no_part(pools: list[Pool], partners: list[Partner]) -> None:
    named = {part.account_id for part in split(pools, partners).parts}
    assert named == {partner.account_id for partner in partners if partner.weight() > 0}


@given(pools, partners)
def test_each_amount_is_within_a_cent_of_its_exact_steps(pools: list[Pool], partners: list[Partner]) -> None:
    for part in split(pools, partners).parts:
        exact = sum(s.pool * Fraction(s.weight) / Fraction(s.weight_total) for s in part.steps)
        assert abs(Fraction(part.amount) - exact) < Fraction(1, 100)


@given(pools, partners)
def test_nobody_shares_in_what_the_own_group_paid(pools: list[Pool], partners: list[Partner]) -> None:
    numbers, groups = number_payers(pools), {pool.payer_id: pool.owner_group for pool in pools}
    own = {partner.account_id: partner.owner_group for partner in partners}
    group_of_number = {numbers[payer_id]: group for payer_id, group in groups.items()}
    for part in split(pools, partners).parts:
        assert all(group_of_number[step.payer] != own[part.account_id] for step in part.steps)


@given(pools, partners.filter(bool), st.integers(1, 10**12))
def test_more_weight_never_means_less_money(pools: list[Pool], partners: list[Partner], more: int) -> None:
    first = partners[0]
    raised = replace(first, given=(*first.given, *((dataset, Decimal(more)) for dataset in DATASETS)))
    before = {part.account_id: part.amount for part in split(pools, partners).parts}
    after = {part.account_id: part.amount for part in split(pools, [raised, *partners[1:]]).parts}
    assert after[first.account_id] >= before.get(first.account_id, Decimal(0))


@given(partners)
def test_a_pool_for_which_nobody_is_eligible_stays_with_the_house(partners: list[Partner]) -> None:
    pool = Pool("payer_1", "group_a", "solar-pro4", Fraction("12.34"), frozenset({"novels"}))
    result = split([pool], partners)
    assert (result.pool, result.house, result.with_house) == (Decimal("0.00"), Fraction("12.34"), (pool,))


def test_a_manifest_lets_only_its_datasets_count() -> None:
    news, law = Partner("acc_1", "a", (("news", Decimal(3)),)), Partner("acc_2", "b", (("law", Decimal(1)),))
    open_pool = Pool("payer_1", "c", "solar-mini", Fraction(100))
    trained = Pool("payer_1", "c", "solar-pro4", Fraction(100), frozenset({"law"}))
    assert [part.amount for part in split([open_pool], [news, law]).parts] == [Decimal(75), Decimal(25)]
    assert [part.amount for part in split([trained], [news, law]).parts] == [Decimal(0), Decimal(100)]


def test_equal_partners_differ_by_a_cent_in_the_order_of_their_ids() -> None:
    equal = [Partner(f"acc_{i}", f"group_{i}", (("news", Decimal(1)),)) for i in (3, 1, 2)]
    parts = split([Pool("payer_1", "x", "solar-pro4", Fraction("0.209"))], equal).parts
    assert [(part.account_id, part.amount) for part in parts] == [
        ("acc_1", Decimal("0.07")),
        ("acc_2", Decimal("0.07")),
        ("acc_3", Decimal("0.06")),
    ]


def test_a_pool_is_its_rate_of_the_net_revenue_to_the_last_digit() -> None:
    tiny = Decimal("0.000000000001")
    revenue = [
        Revenue("payer_1", "a", "solar-pro4", tiny, tiny),
        Revenue("payer_2", "b", "solar-pro4", Decimal(0), Decimal(1)),
    ]
    trained_on = {"solar-pro4": frozenset({"news"})}
    pools, kept = pools_of(revenue, rule_named("pro_rata"), Terms(Decimal("0.123")), trained_on)
    exact = Fraction("0.000000000000123")
    assert [pool for pool in pools if pool.exact] == [
        Pool("payer_1", "a", "solar-pro4", exact, trained_on["solar-pro4"], tiny)
    ]
    assert kept == 0
