"""What a share comes to in a payee's hands, by properties and against a second calculation."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.payouts.papers import PAPERS, NoPaperRule, PaperRule, Withholding, reckon, rule_on

DAY = date(2026, 11, 5)

cents = st.decimals(min_value="0.01", max_value="10000000", places=2)
rates = st.decimals(min_value="500", max_value="3000", places=6)


@given(cents, rates)
def test_an_individual_in_korea_gets_the_amount_less_three_percent_and_a_tenth_of_that_each_cut_to_ten_won(
    usd: Decimal, rate: Decimal
) -> None:
    paid = reckon(usd, "individual", "KR", "KRW", rate, DAY)
    won = floor(Fraction(usd) * Fraction(rate) + Fraction(1, 2))
    income = floor(Fraction(won) * Fraction(3, 100) / 10) * 10
    local = floor(Fraction(income, 10) / 10) * 10
    assert [Fraction(each) for each in (paid.amount, paid.payable, paid.vat)] == [won, won - income - local, 0]
    assert [Fraction(each.amount) for each in paid.withheld] == [income, local]
    assert paid.tax_paper == "withholding_receipt"
    assert Fraction(income + local) <= Fraction(won) * Fraction("0.033")


@given(cents, st.one_of(st.none(), rates))
def test_a_business_in_korea_gets_vat_on_top_against_its_tax_invoice(usd: Decimal, rate: Decimal | None) -> None:
    paid = reckon(usd, "business", "KR", "USD" if rate is None else "KRW", rate, DAY)
    unit = Fraction(1, 100) if rate is None else Fraction(1)
    amount = Fraction(usd) if rate is None else Fraction(floor(Fraction(usd) * Fraction(rate) + Fraction(1, 2)))
    vat = floor(amount / 10 / unit) * unit
    assert (Fraction(paid.amount), Fraction(paid.vat), Fraction(paid.payable)) == (amount, vat, amount + vat)
    assert (paid.tax_paper, tuple(paid.withheld)) == ("tax_invoice", ())


def test_an_individual_paid_in_dollars_has_taxes_cut_to_the_cent() -> None:
    paid = reckon(Decimal("123.45"), "individual", "KR", "USD", None, DAY)
    assert [each.amount for each in paid.withheld] == [Decimal("3.70"), Decimal("0.37")]
    assert paid.payable == Decimal("119.38")


def test_a_payee_for_whom_no_rule_is_known_is_not_paid_by_guess() -> None:
    with pytest.raises(NoPaperRule, match="kind individual in DE"):
        reckon(Decimal(1), "individual", "DE", "USD", None, DAY)


@given(st.dates(date(2020, 1, 1), date(2040, 12, 31)), st.integers(0, 5000), st.integers(0, 100), cents)
def test_the_rule_of_the_day_decides_and_an_earlier_day_has_none(
    day: date, days_on: int, percent: int, usd: Decimal
) -> None:
    tax = (Withholding("income_tax", Decimal(percent) / 100),)
    later = day + timedelta(days_on + 1)
    papers = {
        ("individual", "KR"): (
            PaperRule("receipt", later, "a later act", withholdings=tax),
            PaperRule("receipt", day, "an act"),
        )
    }
    for when, kept in ((day, 0), (later - timedelta(1), 0), (later, percent), (later + timedelta(9999), percent)):
        paid = reckon(usd, "individual", "KR", "USD", None, when, papers)
        withheld = Fraction(floor(Fraction(usd) * kept), 100)
        assert Fraction(paid.payable) == Fraction(usd) - withheld
    with pytest.raises(NoPaperRule, match=f"on {day - timedelta(1)}"):
        reckon(usd, "individual", "KR", "USD", None, day - timedelta(1), papers)


def test_every_rule_names_its_source_and_the_day_on_which_it_was_read() -> None:
    for (kind, country), rules in PAPERS.items():
        assert len({rule.since for rule in rules}) == len(rules)
        for rule in rules:
            assert "read 20" in rule.source
            assert rule_on(kind, country, rule.since) is rule
