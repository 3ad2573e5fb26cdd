"""Drafts, by properties."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoice.draft import Draft, FxQuote, LedgerDisagrees, Payer, RateNeeded, draft_invoice
from billing.money import add, minor_unit
from billing.rating.rate import Booked, rate
from tests.billing.rating.test_rate import booked

QUOTE = FxQuote(date(2026, 10, 31), Decimal("1387.654321"))
payers = st.builds(Payer, st.just("acc_1"), st.sampled_from(["USD", "KRW"]), st.sampled_from([None, "KR", "JP"]))


def drafted(payer: Payer, entries: list[Booked]) -> Draft | None:
    ledger_usd = add(line.exact_usd for line in rate(entries))
    return draft_invoice(payer, "2026-10", entries, ledger_usd, QUOTE)


@given(payers, booked)
def test_the_rounded_lines_sum_to_the_subtotal_and_with_tax_to_the_total(payer: Payer, entries: list[Booked]) -> None:
    draft = drafted(payer, entries)
    if draft is None:
        assert not any(entry.used for entry in entries)
        return
    assert draft.subtotal == sum(line.amount for line in draft.lines)
    assert draft.total == draft.subtotal + draft.tax
    assert draft.grants_used == sum(entry.granted for entry in entries)
    assert [line.position for line in draft.lines] == list(range(len(draft.lines)))


@given(payers, booked)
def test_each_line_is_within_half_a_minor_unit_of_its_exact_sum(payer: Payer, entries: list[Booked]) -> None:
    draft = drafted(payer, entries)
    for line in draft.lines if draft else ():
        rate_of = Fraction(QUOTE.rate) if payer.currency == "KRW" else 1
        assert Fraction(line.exact_amount) == Fraction(line.exact_usd) * rate_of
        assert abs(Fraction(line.amount) - Fraction(line.exact_amount)) <= Fraction(minor_unit(payer.currency)) / 2


@given(payers, booked)
def test_tax_is_a_tenth_cut_in_korea_and_nothing_elsewhere(payer: Payer, entries: list[Booked]) -> None:
    draft = drafted(payer, entries)
    if draft is not None:
        unit = Fraction(minor_unit(payer.currency))
        tenth = Fraction(draft.subtotal) / 10 // unit * unit if payer.tax_country == "KR" else 0
        assert Fraction(draft.tax) == tenth
        assert (draft.tax_reason is None) == (payer.tax_country is None)


@given(booked)
def test_only_a_foreign_invoice_prints_a_rate(entries: list[Booked]) -> None:
    for currency, expected in (("USD", (None, None)), ("KRW", (QUOTE.rate, QUOTE.day))):
        draft = drafted(Payer("acc_1", currency), entries)
        assert draft is None or (draft.fx_rate, draft.fx_day) == expected


@given(booked)
def test_late_lines_come_last_and_name_their_month(entries: list[Booked]) -> None:
    draft = drafted(Payer("acc_1"), entries)
    late = [line.billing_month != "2026-10" for line in draft.lines] if draft else []
    assert late == sorted(late)
    for line in draft.lines if draft else ():
        assert ("calls of 2026-09" in line.description) == (line.billing_month == "2026-09")


ONE = Booked("solar-pro4", "input", "card_1", Decimal("0.30"), Decimal("0.10"), "2026-10", 10, 4)


def test_lines_that_disagree_with_the_ledger_are_never_issued() -> None:
    with pytest.raises(LedgerDisagrees, match="acc_1 2026-10"):
        draft_invoice(Payer("acc_1"), "2026-10", [ONE], Decimal("0.00000163"), None)


def test_a_foreign_account_without_a_rate_is_refused() -> None:
    ledger_usd = Decimal("0.00000162")
    with pytest.raises(RateNeeded, match="KRW"):
        draft_invoice(Payer("acc_1", "KRW"), "2026-10", [ONE], ledger_usd, None)


def test_descriptions_say_what_a_line_is_for() -> None:
    draft = drafted(Payer("acc_1"), [ONE])
    assert draft is not None
    assert [line.description for line in draft.lines] == [
        "solar-pro4, input tokens; discount 10.00 %",
        "solar-pro4, input tokens; covered by granted tokens",
    ]
