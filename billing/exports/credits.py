"""Credit notes as JSON and CSV. Pure: rows in, values out.

Units: amounts in the invoice's currency, what the customer gets back, above zero; `exact_usd` exact USD of revenue.
"""

from __future__ import annotations

from typing import Any

from billing.exports.statement import csv_text, harmless, to_wire_instant
from billing.invoice.read import IssuedCredit
from billing.money import to_wire_decimal

CREDIT_COLUMNS = (
    "row",  # line, subtotal, tax or total: the last three have only an amount
    "number",
    "invoice_id",
    "account_id",
    "booked_month",
    "currency",
    "line",
    "model",
    "description",
    "exact_usd",
    "amount",
)


def credit_json(credit: IssuedCredit) -> dict[str, Any]:
    """The contract's credit note, with what it came to."""
    note = credit.note
    return {
        "id": note.id,
        "number": note.number,
        "invoice_id": note.invoice_id,
        "account_id": note.account_id,
        "booked_month": note.booked_month,
        "reason": note.reason,
        "currency": note.currency,
        "lines": [
            {
                "line": line.line,
                "amount": to_wire_decimal(line.amount),
                "model": line.model,
                "exact_usd": to_wire_decimal(line.exact_usd),
            }
            for line in credit.lines
        ],
        "subtotal": to_wire_decimal(note.subtotal),
        "tax": to_wire_decimal(note.tax),
        "tax_reason": note.tax_reason,
        "total": to_wire_decimal(note.total),
        "issued_at": to_wire_instant(note.issued_at),
    }


def credit_csv(credit: IssuedCredit) -> str:
    """One row a line, then subtotal, tax and total; columns as in `CREDIT_COLUMNS`."""
    note = credit.note
    head = {
        "number": note.number,
        "invoice_id": note.invoice_id,
        "account_id": harmless(note.account_id),
        "booked_month": note.booked_month,
        "currency": note.currency,
    }
    rows: list[dict[str, Any]] = [
        {
            "row": "line",
            **head,
            "line": line.line,
            "model": harmless(line.model),
            "exact_usd": to_wire_decimal(line.exact_usd),
            "amount": to_wire_decimal(line.amount),
        }
        for line in credit.lines
    ]
    sums = (
        ("subtotal", note.reason, note.subtotal),
        ("tax", note.tax_reason or "", note.tax),
        ("total", "", note.total),
    )
    for row, why, amount in sums:
        rows.append({"row": row, **head, "description": harmless(why), "amount": to_wire_decimal(amount)})
    return csv_text(CREDIT_COLUMNS, rows)
