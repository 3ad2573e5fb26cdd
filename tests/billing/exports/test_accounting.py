"""The journal for an ERP: balanced, whatever comes."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.exports.accounting import JOURNAL_COLUMNS, Chart, journal, journal_csv
from billing.invoice.read import IssuedCredit
from billing.invoice.tables import CreditNote
from tests.billing.exports.test_hometax import issued

CHART = Chart()


def credit(number: int, subtotal: int, tax: int) -> IssuedCredit:
    note = CreditNote(
        id=f"crn_{number}",
        number=f"CN-2026-{number:06d}",
        invoice_id="inv_1",
        account_id="acc_1",
        booked_month="2026-11",
        reason="=outage",
        currency="KRW",
        subtotal=Decimal(subtotal),
        tax=Decimal(tax),
        total=Decimal(subtotal + tax),
        issued_at=datetime(2026, 11, 2, 16, tzinfo=UTC),
    )
    return IssuedCredit(note, [])


@given(
    st.lists(st.integers(-(10**6), 10**9), max_size=8),
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**5)), max_size=4),
)
def test_debits_and_credits_of_each_document_sum_to_the_same(amounts: list[int], notes: list[tuple[int, int]]) -> None:
    invoices = [issued(("a", won), number=f"2026-{n:06d}").invoice for n, won in enumerate(amounts)]
    credits = [credit(n, *amounts) for n, amounts in enumerate(notes)]
    postings = journal(invoices, credits, CHART)
    sides: dict[str, Decimal] = defaultdict(Decimal)
    for posting in postings:
        assert min(posting.debit, posting.credit) == 0 < max(posting.debit, posting.credit)
        sides[posting.document] += posting.debit - posting.credit
    assert set(sides.values()) <= {Decimal(0)}
    assert len(sides) == sum(won != 0 for won in amounts) + len(notes)
    revenue = sum(p.credit - p.debit for p in postings if p.ledger_account == CHART.revenue)
    assert revenue == sum(amounts) - sum(subtotal for subtotal, _ in notes)


def test_a_foreign_reader_finds_the_documented_columns() -> None:
    text = journal_csv(journal([issued(("a", 10_005)).invoice], [credit(1, 100, 10)], CHART), CHART)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == JOURNAL_COLUMNS
    assert [(r["date"], r["document"], r["ledger_account"], r["debit"], r["credit"]) for r in rows] == [
        ("2026-10-31", "2026-000001", "108", "11005.00", ""),
        ("2026-10-31", "2026-000001", "412", "", "10005.00"),
        ("2026-10-31", "2026-000001", "255", "", "1000.00"),
        ("2026-11-03", "CN-2026-000001", "108", "", "110.00"),
        ("2026-11-03", "CN-2026-000001", "412", "100.00", ""),
        ("2026-11-03", "CN-2026-000001", "255", "10.00", ""),
    ]
    assert rows[3]["memo"] == "'=outage"
    assert rows[0]["ledger_name"] == "외상매출금"
