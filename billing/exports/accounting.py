"""The journal of a month for an ERP: its invoices and the credit notes that are booked into it, as balanced double entries. Pure.

Units: money as decimal text in the document's own currency; days in the issuer's zone. A CSV is RFC 4180, UTF-8, one header row,
columns only ever grow at the end. An invoice is booked on the last day of its month (its supply), a credit note on the day of issue.
Invariant: of each document, debits and credits sum to the same; a document over nothing has no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.exports.statement import csv_text, harmless
from billing.invoice.issue import ISSUER_ZONE
from billing.invoice.read import IssuedCredit
from billing.invoice.tables import Invoice
from billing.money import ZERO, to_wire_decimal
from billing.periods import Month, zone_of

JOURNAL_COLUMNS = (
    "date",
    "document",
    "kind",  # invoice or credit_note
    "ledger_account",
    "ledger_name",
    "debit",
    "credit",
    "currency",
    "account_id",
    "customer",
    "month",
    "memo",
)


@dataclass(frozen=True, slots=True)
class Chart:
    """The three accounts of a general ledger that are booked on: numbers of a usual Korean chart; a setting."""

    receivable: str = "108"
    revenue: str = "412"
    tax: str = "255"

    def name_of(self, account: str) -> str:
        return {self.receivable: "외상매출금", self.revenue: "서비스매출", self.tax: "부가세예수금"}[account]


@dataclass(frozen=True, slots=True)
class Posting:
    """One row: a debit or a credit, never both, never below zero."""

    day: date
    document: str
    kind: str
    ledger_account: str
    debit: Decimal
    credit: Decimal
    currency: str
    account_id: str
    customer: str
    month: str
    memo: str


def journal(invoices: Iterable[Invoice], credits: Iterable[IssuedCredit], chart: Chart) -> list[Posting]:
    """The postings of a month, in the order of the documents given."""
    postings: list[Posting] = []
    for invoice in invoices:
        day = Month.parse(invoice.month).last_day()
        customer = invoice.payer_name or invoice.account_id
        booked = (invoice.subtotal, invoice.tax, invoice.total)
        head = (day, invoice.number, "invoice")
        tail = (invoice.currency, invoice.account_id, customer, invoice.month, invoice.tax_reason or "")
        postings += _document(head, tail, booked, chart)
    for credit in credits:
        note = credit.note
        day = note.issued_at.astimezone(zone_of(ISSUER_ZONE)).date()
        head = (day, note.number, "credit_note")
        tail = (note.currency, note.account_id, note.account_id, note.booked_month, note.reason)
        postings += _document(head, tail, (-note.subtotal, -note.tax, -note.total), chart)
    return postings


def journal_csv(postings: Sequence[Posting], chart: Chart) -> str:
    """Columns as in `JOURNAL_COLUMNS`; an empty cell is no amount."""
    return csv_text(JOURNAL_COLUMNS, (_row(posting, chart) for posting in postings))


def _document(
    head: tuple[date, str, str],
    tail: tuple[str, str, str, str, str],
    amounts: tuple[Decimal, Decimal, Decimal],
    chart: Chart,
) -> Iterator[Posting]:
    subtotal, tax, total = amounts
    for account, amount, is_debit in (
        (chart.receivable, total, True),
        (chart.revenue, subtotal, False),
        (chart.tax, tax, False),
    ):
        if amount:
            # An amount below zero is the same amount on the other side.
            debit = is_debit == (amount > 0)
            sides = (abs(amount), ZERO) if debit else (ZERO, abs(amount))
            yield Posting(*head, account, *sides, *tail)


def _row(posting: Posting, chart: Chart) -> dict[str, str]:
    return {
        "date": posting.day.isoformat(),
        "document": posting.document,
        "kind": posting.kind,
        "ledger_account": posting.ledger_account,
        "ledger_name": chart.name_of(posting.ledger_account),
        "debit": to_wire_decimal(posting.debit) if posting.debit else "",
        "credit": to_wire_decimal(posting.credit) if posting.credit else "",
        "currency": posting.currency,
        "account_id": harmless(posting.account_id),
        "customer": harmless(posting.customer),
        "month": posting.month,
        "memo": harmless(posting.memo),
    }
