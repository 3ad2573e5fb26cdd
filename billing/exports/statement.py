"""Invoices as JSON, CSV and plain text, and what every text file of ours keeps to. Pure: rows in, values out.

Units: money as decimal strings in the currency named beside it; unit prices USD per million tokens, or USD per page; instants
RFC 3339 UTC. A CSV is RFC 4180, to be written as UTF-8 without a mark, with one header row whose columns only ever grow at
the end. Text that came from people (names, descriptions, models) is made harmless for spreadsheets: a cell that begins like a
formula gets an apostrophe before it (OWASP, "CSV Injection", November 2026). Numbers are ours and stay as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from billing.money import add, minor_unit, to_wire_decimal
from billing.usage import PAGE_KINDS

INVOICE_COLUMNS = (
    "row",  # line; then subtotal, tax, total and each credit_note (below zero), which have only an amount
    "number",
    "account_id",
    "month",
    "status",
    "currency",
    "position",
    "description",
    "model",
    "kind",
    "card_id",
    "billing_month",
    "quantity",
    "unit_price",
    "discount",
    "exact_usd",
    "exact_amount",
    "amount",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TEXT_WIDTH = 96


class PrintedLine(Protocol):
    """A line of an invoice, issued or drafted."""

    @property
    def position(self) -> int: ...
    @property
    def description(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def quantity(self) -> int: ...
    @property
    def unit_price(self) -> Decimal: ...
    @property
    def discount(self) -> Decimal: ...
    @property
    def exact_amount(self) -> Decimal: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def exact_usd(self) -> Decimal: ...
    @property
    def card_id(self) -> str: ...
    @property
    def billing_month(self) -> str: ...
    @property
    def granted(self) -> bool: ...


class PrintedInvoice(Protocol):
    """An invoice, issued or drafted (a draft has neither id, number nor instant)."""

    @property
    def id(self) -> str | None: ...
    @property
    def number(self) -> str | None: ...
    @property
    def account_id(self) -> str: ...
    @property
    def month(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def grants_used(self) -> int: ...
    @property
    def subtotal(self) -> Decimal: ...
    @property
    def tax(self) -> Decimal: ...
    @property
    def tax_reason(self) -> str | None: ...
    @property
    def total(self) -> Decimal: ...
    @property
    def fx_rate(self) -> Decimal | None: ...
    @property
    def fx_day(self) -> date | None: ...
    @property
    def issued_at(self) -> datetime | None: ...
    @property
    def payer_name(self) -> str | None: ...
    @property
    def tax_country(self) -> str | None: ...
    @property
    def tax_registration_number(self) -> str | None: ...
    @property
    def proof_root(self) -> str | None: ...


class PrintedCredit(Protocol):
    """A credit note, as its invoice names it."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def total(self) -> Decimal: ...
    @property
    def issued_at(self) -> datetime: ...


def invoice_json(
    invoice: PrintedInvoice, lines: Sequence[PrintedLine], credits: Sequence[PrintedCredit] = ()
) -> dict[str, Any]:
    """The contract's invoice, and the credit notes that took back a part of it."""
    return {
        "id": invoice.id,
        "number": invoice.number,
        "account_id": invoice.account_id,
        "month": invoice.month,
        "status": invoice.status,
        "currency": invoice.currency,
        "lines": [_line_json(line) for line in lines],
        "grants_used": invoice.grants_used,
        "subtotal": to_wire_decimal(invoice.subtotal),
        "tax": to_wire_decimal(invoice.tax),
        "tax_reason": invoice.tax_reason,
        "total": to_wire_decimal(invoice.total),
        "fx_rate": None if invoice.fx_rate is None else to_wire_decimal(invoice.fx_rate),
        "fx_day": invoice.fx_day.isoformat() if invoice.fx_day else None,
        "issued_at": to_wire_instant(invoice.issued_at) if invoice.issued_at else None,
        "payer": {
            "name": invoice.payer_name,
            "country": invoice.tax_country,
            "registration_number": invoice.tax_registration_number,
        },
        "credit_notes": [
            {
                "id": note.id,
                "number": note.number,
                "reason": note.reason,
                "total": to_wire_decimal(note.total),
                "issued_at": to_wire_instant(note.issued_at),
            }
            for note in credits
        ],
        "credited": to_wire_decimal(add(note.total for note in credits)),
        "proof_root": invoice.proof_root,
    }


def invoice_csv(invoice: PrintedInvoice, lines: Sequence[PrintedLine], credits: Sequence[PrintedCredit] = ()) -> str:
    """One row a line, then subtotal, tax and total, then one a credit note; columns as in `INVOICE_COLUMNS`."""
    head = {
        "number": invoice.number or "",
        "account_id": harmless(invoice.account_id),
        "month": invoice.month,
        "status": invoice.status,
        "currency": invoice.currency,
    }
    rows: list[dict[str, Any]] = [{"row": "line", **head, **_line_cells(line)} for line in lines]
    sums = (("subtotal", invoice.subtotal, ""), ("tax", invoice.tax, invoice.tax_reason or ""))
    for row, amount, why in (*sums, ("total", invoice.total, "")):
        rows.append({"row": row, **head, "description": harmless(why), "amount": to_wire_decimal(amount)})
    for note in credits:
        told = harmless(f"{note.number}: {note.reason}")
        rows.append({"row": "credit_note", **head, "description": told, "amount": to_wire_decimal(-note.total)})
    return csv_text(INVOICE_COLUMNS, rows)


def invoice_text(invoice: PrintedInvoice, lines: Sequence[PrintedLine], account_name: str = "") -> str:
    """The invoice for a terminal or a text file."""
    title = f"INVOICE {invoice.number}" if invoice.number else "DRAFT INVOICE"
    facts = [title, f"for {account_name or invoice.account_id}, month {invoice.month}, in {invoice.currency}"]
    if invoice.issued_at:
        facts.append(f"issued {to_wire_instant(invoice.issued_at)}")
    if invoice.fx_rate is not None:
        facts.append(f"1 USD = {to_wire_decimal(invoice.fx_rate)} {invoice.currency} ({invoice.fx_day})")
    body = [text for line in lines for text in _line_text(line, invoice.currency)]
    ends = [sum_text("Subtotal", invoice.subtotal, invoice.currency)]
    if invoice.tax_reason is not None:
        ends.append(sum_text(invoice.tax_reason, invoice.tax, invoice.currency))
    ends.append(sum_text("Total", invoice.total, invoice.currency))
    if invoice.grants_used:
        ends.append(f"Granted tokens used: {invoice.grants_used:,}")
    if invoice.proof_root is not None:
        ends.append(f"Proof of its calls: {invoice.proof_root}")
    rule = "-" * TEXT_WIDTH
    return "\n".join([*facts, rule, *body, rule, *ends, ""])


def to_wire_instant(instant: datetime) -> str:
    """RFC 3339, UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _line_json(line: PrintedLine) -> dict[str, Any]:
    return {
        "position": line.position,
        "description": line.description,
        "model": line.model,
        "kind": line.kind,
        "quantity": line.quantity,
        "unit_price": to_wire_decimal(line.unit_price),
        "unit": "page" if line.kind in PAGE_KINDS else "1M tokens",
        "discount": to_wire_decimal(line.discount),
        "exact_amount": to_wire_decimal(line.exact_amount),
        "amount": to_wire_decimal(line.amount),
        "exact_usd": to_wire_decimal(line.exact_usd),
        "card_id": line.card_id,
        "billing_month": line.billing_month,
        "granted": line.granted,
    }


def _line_cells(line: PrintedLine) -> dict[str, Any]:
    cells = _line_json(line)
    texts = {name: harmless(cells[name]) for name in ("description", "model", "card_id")}
    return {name: value for name, value in {**cells, **texts}.items() if name in INVOICE_COLUMNS}


def _line_text(line: PrintedLine, currency: str) -> list[str]:
    unit = "page" if line.kind in PAGE_KINDS else "1M"
    terms = (
        f"  {line.quantity:,} x {to_wire_decimal(line.unit_price)} USD/{unit} x (1 - {to_wire_decimal(line.discount)})"
    )
    return [line.description, sum_text(f"{terms} = {to_wire_decimal(line.exact_usd)} USD", line.amount, currency)]


def sum_text(label: str, amount: Decimal, currency: str) -> str:
    places = -int(minor_unit(currency).as_tuple().exponent)
    shown = f"{amount:,.{places}f} {currency}"
    return f"{label}{shown:>{max(len(shown) + 1, TEXT_WIDTH - len(label))}}"


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """RFC 4180, with a header row."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
