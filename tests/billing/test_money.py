"""The named roundings, by properties."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import (
    UnknownCurrency,
    add,
    cut_tax,
    floor_pool,
    minor_unit,
    multiply,
    nano_usd_up,
    round_line,
    split_by_largest_remainder,
    to_wire_decimal,
)

amounts = st.decimals(min_value="-1e9", max_value="1e9", places=18)
positive = st.decimals(min_value=0, max_value="1e9", places=18)
currencies = st.sampled_from(["USD", "KRW"])


@given(amounts, currencies)
def test_a_line_is_rounded_by_at_most_half_a_minor_unit(exact: Decimal, currency: str) -> None:
    rounded = round_line(exact, currency)
    assert abs(Fraction(rounded) - Fraction(exact)) <= Fraction(minor_unit(currency)) / 2
    assert Fraction(rounded) % Fraction(minor_unit(currency)) == 0


@given(st.integers(0, 10**12), currencies)
def test_a_line_on_the_half_is_rounded_up(units: int, currency: str) -> None:
    half = multiply(minor_unit(currency), Decimal("0.5"))
    whole = multiply(minor_unit(currency), units)
    assert round_line(add([whole, half]), currency) == add([whole, minor_unit(currency)])


@given(amounts, currencies)
def test_tax_is_cut_towards_zero_and_a_pool_towards_less(exact: Decimal, currency: str) -> None:
    unit = Fraction(minor_unit(currency))
    assert abs(cut_tax(exact, currency)) <= abs(exact)
    assert abs(Fraction(exact) - Fraction(cut_tax(exact, currency))) < unit
    assert 0 <= Fraction(exact) - Fraction(floor_pool(exact, currency)) < unit


@given(positive)
def test_a_counter_is_never_below_the_amount_it_counts(usd: Decimal) -> None:
    assert 0 <= nano_usd_up(usd) - Fraction(usd) * 10**9 < 1


@given(st.lists(amounts), st.randoms())
def test_a_sum_is_exact_and_the_same_in_any_order(values: list[Decimal], rng: Random) -> None:
    total = add(values)
    assert Fraction(total) == sum(map(Fraction, values))
    assert add(rng.sample(values, len(values))) == total


@given(st.lists(amounts, max_size=3))
def test_a_product_is_exact_or_refused(values: list[Decimal]) -> None:
    product = Fraction(1)
    for value in values:
        product *= Fraction(value)
    try:
        assert Fraction(multiply(*values)) == product
    except decimal.Inexact:
        assert len(values) == 3


def test_a_product_that_needs_more_than_sixty_digits_is_refused() -> None:
    with pytest.raises(decimal.Inexact):
        multiply(Decimal("1." + "1" * 40), Decimal("1." + "1" * 40))


weights_of = st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any)


@given(st.decimals(min_value=0, max_value="1e6", places=6), weights_of)
def test_the_parts_of_a_split_sum_to_it_exactly_and_are_off_by_less_than_a_unit(
    pool: Decimal, weights: list[int]
) -> None:
    exact = [Fraction(pool) * weight / sum(weights) for weight in weights]
    total = floor_pool(pool, "USD")
    parts = split_by_largest_remainder(total, [(f"acc_{i}", part) for i, part in enumerate(exact)], "USD")
    assert add(parts) == total
    assert all(abs(Fraction(part) - share) < Fraction(1, 100) for part, share in zip(parts, exact, strict=True))


def _names(parts: list[tuple[str, Fraction]]) -> list[str]:
    return [name for name, _ in parts]


def _split(total: Decimal, parts: list[tuple[str, Fraction]]) -> list[Decimal]:
    return split_by_largest_remainder(total, parts, "USD")


@given(st.decimals(min_value=0, max_value="1e6", places=6), weights_of, st.randoms())
def test_a_split_does_not_depend_on_the_order_of_its_parts(pool: Decimal, weights: list[int], rng: Random) -> None:
    named = [(f"acc_{i}", Fraction(pool) * weight / sum(weights)) for i, weight in enumerate(weights)]
    shuffled = rng.sample(named, len(named))
    total = floor_pool(pool, "USD")
    one, other = (dict(zip(_names(parts), _split(total, parts), strict=True)) for parts in (named, shuffled))
    assert one == other


def test_a_tie_goes_to_the_smaller_id_even_where_thirds_are_no_decimals() -> None:
    third = Fraction(1, 3)
    parts = split_by_largest_remainder(Decimal("1.00"), [("c", third), ("a", third), ("b", third)], "USD")
    assert parts == [Decimal("0.33"), Decimal("0.34"), Decimal("0.33")]


@pytest.mark.parametrize("total", ["0.98", "1.03", "1.005"])
def test_a_total_that_is_not_the_sum_of_its_parts_is_refused(total: str) -> None:
    with pytest.raises(ValueError, match="not the sum"):
        split_by_largest_remainder(Decimal(total), [("a", Decimal("0.50")), ("b", Decimal("0.50"))], "USD")


def test_a_currency_without_a_minor_unit_here_is_refused() -> None:
    with pytest.raises(UnknownCurrency, match="EUR"):
        round_line(Decimal(1), "EUR")


@given(amounts)
def test_a_decimal_on_the_wire_keeps_its_value_and_has_no_exponent(amount: Decimal) -> None:
    text = to_wire_decimal(amount)
    assert Decimal(text) == amount
    assert "E" not in text.upper()
    assert len(text.partition(".")[2]) >= 2
    assert floor(abs(amount)) == int(text.lstrip("-").partition(".")[0])
