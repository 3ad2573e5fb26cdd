"""Amounts on their way to Stripe: whole minor units, every line there, the sum ours, whatever is folded."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.collect.shapes import (
    LINES_MAX,
    NotInMinorUnits,
    credited_after_payment,
    to_wire_credit_note,
    to_wire_lines,
    to_wire_minor,
)

_UNITS_A_WHOLE = {"USD": 100, "KRW": 1}


def test_won_have_no_minor_unit_and_a_rest_is_refused() -> None:
    assert to_wire_minor(Decimal("12345"), "KRW") == 12345
    assert to_wire_minor(Decimal("123.45"), "USD") == 12345
    assert to_wire_minor(Decimal("-0.10"), "USD") == -10
    with pytest.raises(NotInMinorUnits):
        to_wire_minor(Decimal("0.001"), "USD")
    with pytest.raises(NotInMinorUnits):
        to_wire_minor(Decimal("0.5"), "KRW")


@st.composite
def papers(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    currency = draw(st.sampled_from(["USD", "KRW"]))
    whole = _UNITS_A_WHOLE[currency]
    count = draw(st.one_of(st.integers(1, 6), st.integers(LINES_MAX - 2, LINES_MAX + 40)))
    minor = draw(st.lists(st.integers(-10_000, 10**9), min_size=count, max_size=count))
    lines = [
        SimpleNamespace(
            position=i,
            description=f"line {i}",
            model="solar-pro4",
            kind="input",
            quantity=1,
            amount=Decimal(units) / whole,
        )
        for i, units in enumerate(minor)
    ]
    tax = draw(st.one_of(st.none(), st.integers(0, 10**8)))
    paper = SimpleNamespace(
        currency=currency, tax=Decimal(tax or 0) / whole, tax_reason=None if tax is None else "VAT 10 % (Korea)"
    )
    return paper, lines


@given(papers())
def test_the_lines_at_stripe_sum_to_our_total_and_are_never_more_than_it_takes(given: tuple[Any, list[Any]]) -> None:
    paper, lines = given
    wire = to_wire_lines(paper, lines)
    total = sum((Fraction(line.amount) for line in lines), Fraction(paper.tax)) * _UNITS_A_WHOLE[paper.currency]
    assert sum(line["amount"] for line in wire) == total
    assert len(wire) == min(LINES_MAX, len(lines) + (paper.tax_reason is not None))
    assert all(type(line["amount"]) is int for line in wire)
    if paper.tax_reason:
        assert wire[-1]["metadata"] == {"solar_line": "tax"}
        assert wire[-1]["amount"] == Fraction(paper.tax) * _UNITS_A_WHOLE[paper.currency]


@given(st.integers(1, 10**9), st.integers(-(10**6), 10**9))
def test_a_credit_first_lessens_what_is_still_to_be_paid(total: int, remaining: int) -> None:
    back = credited_after_payment(total, remaining)
    assert 0 <= back <= total
    assert total - back <= max(0, remaining)
    assert back == 0 or total - back == max(0, remaining)


def test_a_credit_note_names_its_tax_and_gives_back_to_the_card_or_to_the_balance() -> None:
    note = SimpleNamespace(
        id="crn_1",
        number="CN-1",
        account_id="acc_1",
        currency="USD",
        tax=Decimal("0.12"),
        tax_reason="VAT",
        total=Decimal("1.35"),
    )
    lines = [SimpleNamespace(line=0, model="solar-pro4", amount=Decimal("1.23"))]
    card = to_wire_credit_note(note, lines, "why", "in_1", back=135, is_paid_by_card=True)
    assert [(line["unit_amount"], line["quantity"]) for line in card["lines"]] == [(123, 1), (12, 1)]
    assert (card["refund_amount"], "credit_amount" in card) == (135, False)
    balance = to_wire_credit_note(note, lines, "why", "in_1", back=135, is_paid_by_card=False)
    assert (balance["credit_amount"], "refund_amount" in balance) == (135, False)
    unpaid = to_wire_credit_note(note, lines, "why", "in_1", back=0, is_paid_by_card=False)
    assert not {"credit_amount", "refund_amount"} & set(unpaid)
