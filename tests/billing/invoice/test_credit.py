"""Credit notes as arithmetic, by properties: against an independent count in fractions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing.invoice.credit import (
    Asked,
    Before,
    CreditDraft,
    CreditExceeds,
    CreditRefused,
    NoSuchLine,
    WrongAmount,
    draft_credit,
)
from billing.invoice.tax import tax_on
from billing.money import add, minor_unit, multiply


@dataclass(frozen=True)
class Line:
    position: int
    amount: Decimal
    exact_usd: Decimal
    model: str = "solar-pro4"


@dataclass(frozen=True)
class Invoice:
    currency: str
    subtotal: Decimal
    tax_country: str | None
    tax: Decimal = Decimal(0)
    tax_reason: str | None = None


class Office:
    """Issues notes one after another, and keeps what they took."""

    def __init__(self, invoice: Invoice, lines: list[Line]) -> None:
        self.invoice, self.lines = invoice, lines
        self.notes: list[CreditDraft] = []

    def credit(self, *asked: tuple[int, Decimal]) -> CreditDraft:
        before: dict[int, Before] = {}
        for note in self.notes:
            for line in note.lines:
                was = before.get(line.line, Before())
                before[line.line] = Before(was.amount + line.amount, add([was.exact_usd, line.exact_usd]))
        tax = add(note.tax for note in self.notes)
        note = draft_credit(self.invoice, self.lines, before, tax, [Asked(*one) for one in asked])
        self.notes.append(note)
        return note


units = st.integers(-500, 100_000)
usd = st.decimals(min_value=0, max_value=1000, places=9)


@st.composite
def offices(draw: st.DrawFn) -> Office:
    currency = draw(st.sampled_from(["USD", "KRW"]))
    country = draw(st.sampled_from([None, "KR", "JP"]))
    amounts = draw(st.lists(st.tuples(units, usd), min_size=1, max_size=5))
    lines = [Line(i, multiply(n, minor_unit(currency)), exact) for i, (n, exact) in enumerate(amounts)]
    subtotal = add(line.amount for line in lines)
    tax = tax_on(subtotal, currency, country).amount
    return Office(Invoice(currency, subtotal, country, tax), lines)


def total(amounts: Iterable[Decimal]) -> Fraction:
    return sum(map(Fraction, amounts), Fraction(0))


asks = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60_000)), min_size=1, max_size=12)


@given(offices(), asks)
def test_credit_notes_never_pass_the_invoice_nor_any_of_its_lines_nor_its_tax(
    office: Office, asked: list[tuple[int, int]]
) -> None:
    unit = minor_unit(office.invoice.currency)
    for at, count in asked:
        try:
            office.credit((at, multiply(count, unit)))
        except CreditRefused:
            continue
    taken = [line for note in office.notes for line in note.lines]
    for line in office.lines:
        of_line = [x for x in taken if x.line == line.position]
        assert total(x.amount for x in of_line) <= max(Fraction(0), Fraction(line.amount))
        assert 0 <= total(x.exact_usd for x in of_line) <= Fraction(line.exact_usd)
    assert total(x.amount for x in taken) <= max(Fraction(0), Fraction(office.invoice.subtotal))
    assert total(note.tax for note in office.notes) <= max(Fraction(0), Fraction(office.invoice.tax))
    assert all(note.tax >= 0 and note.total == note.subtotal + note.tax for note in office.notes)


@given(offices(), asks)
def test_the_tax_of_all_notes_together_is_the_tax_on_what_they_credit_cut_once(
    office: Office, asked: list[tuple[int, int]]
) -> None:
    unit = Fraction(minor_unit(office.invoice.currency))
    for line, count in asked:
        try:
            office.credit((line, multiply(count, minor_unit(office.invoice.currency))))
        except CreditRefused:
            continue
    credited = sum((Fraction(note.subtotal) for note in office.notes), Fraction(0))
    expected = floor(credited / 10 / unit) * unit if office.invoice.tax_country == "KR" else 0
    assert sum((Fraction(note.tax) for note in office.notes), Fraction(0)) == expected


@given(offices(), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_line_credited_whole_in_however_many_notes_gives_back_its_exact_dollars(
    office: Office, parts: list[int]
) -> None:
    assume(all(line.amount > 0 for line in office.lines))
    for line in office.lines:
        left = line.amount
        for part in parts:
            piece = min(left, multiply(part * 100, minor_unit(office.invoice.currency)))
            if piece > 0:
                office.credit((line.position, piece))
                left -= piece
        if left > 0:
            office.credit((line.position, left))
    taken = [x for note in office.notes for x in note.lines]
    for line in office.lines:
        assert add(x.exact_usd for x in taken if x.line == line.position) == line.exact_usd
    assert add(note.tax for note in office.notes) == office.invoice.tax


@given(offices())
def test_after_the_whole_invoice_not_a_single_unit_more_can_be_credited(office: Office) -> None:
    assume(all(line.amount > 0 for line in office.lines))
    office.credit(*((line.position, line.amount) for line in office.lines))
    for line in office.lines:
        with pytest.raises(CreditExceeds, match=r"is more than the 0\.00"):
            office.credit((line.position, minor_unit(office.invoice.currency)))


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ([], WrongAmount, "at least one line"),
        ([(7, "1.00")], NoSuchLine, "lines count from 0 to 1"),
        ([(-1, "1.00")], NoSuchLine, r"lines\[-1\]"),
        ([(0, "1.00"), (0, "1.00")], NoSuchLine, "named once"),
        ([(0, "0")], WrongAmount, "above zero"),
        ([(0, "-1.00")], WrongAmount, "above zero"),
        ([(0, "0.001")], WrongAmount, "whole units of 0.01 USD"),
        ([(0, "10.01")], CreditExceeds, "more than the 10.00 USD left of the line"),
        ([(1, "0.01")], CreditExceeds, "more than the 0.00 USD left of the line"),
        ([(0, "8.01")], CreditExceeds, "more than the 8.00 USD left of the invoice"),
    ],
)
def test_what_cannot_be_credited_is_refused_with_its_reason(
    asked: list[tuple[int, str]], error: type[CreditRefused], says: str
) -> None:
    lines = [Line(0, Decimal("10.00"), Decimal(10)), Line(1, Decimal("-2.00"), Decimal(-2))]
    office = Office(Invoice("USD", Decimal("8.00"), "KR"), lines)
    with pytest.raises(error, match=says):
        office.credit(*((line, Decimal(amount)) for line, amount in asked))
