"""An invoice down to the call: which entry stands on which of its lines, as CSV. Pure: rows in, text out.

One row for each entry and each line that it is on, so that the quantities (and the exact USD) of a line's rows sum to the line's.
Units: counts; unit prices USD per million tokens, or per page; amounts exact USD; instants RFC 3339 UTC. A reversal has counts
below zero. Columns only ever grow at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing.exports.statement import PrintedLine, csv_text, harmless, to_wire_instant
from billing.ledger.tables import LedgerEntry
from billing.money import ZERO, to_wire_decimal
from billing.rating.rate import COVERED, KINDS, LineKey, exact_usd
from billing.usage import PAGE_KINDS

CALL_COLUMNS = (
    "line",  # position on the invoice
    "entry_id",
    "call_id",  # what the caller saw as x-request-id
    "entry_kind",
    "accepted_at",
    "key_id",
    "endpoint",
    "model_asked",
    "model",
    "kind",
    "quantity",
    "unit_price",
    "discount",
    "discount_reason",
    "granted",  # true: free tokens paid for it
    "card_id",
    "billing_month",
    "exact_usd",
    "estimated_reason",
)

Positions = Mapping[LineKey, int]


def line_positions(lines: Sequence[PrintedLine]) -> dict[LineKey, int]:
    """Where each line stands, by what makes two quantities the same line."""
    return {
        LineKey(x.billing_month, x.model, x.kind, x.card_id, x.unit_price, x.discount, x.granted): x.position
        for x in lines
    }


def calls_csv_head() -> str:
    return csv_text(CALL_COLUMNS, ())


def calls_csv(entries: Iterable[LedgerEntry], positions: Positions) -> str:
    """Rows without a head; columns as in `CALL_COLUMNS`."""
    rows = (row for entry in entries for row in _rows(entry, positions))
    return csv_text(CALL_COLUMNS, rows).partition("\r\n")[2]


def _rows(entry: LedgerEntry, positions: Positions) -> Iterator[dict[str, Any]]:
    for kind in KINDS:
        pages = kind in PAGE_KINDS
        used = getattr(entry, f"{kind}_pages" if pages else f"{kind}_tokens")
        granted = 0 if pages else getattr(entry, f"granted_{kind}_tokens")
        price: Decimal = getattr(entry, f"{kind}_price")
        for quantity, discount, free in ((used - granted, entry.discount, False), (granted, COVERED, True)):
            if quantity:
                key = LineKey(entry.billing_month, entry.model, kind, entry.card_id, price, discount, free)
                yield {
                    "line": positions.get(key, ""),
                    "entry_id": str(entry.entry_id),
                    "call_id": str(entry.call_id),
                    "entry_kind": entry.kind,
                    "accepted_at": to_wire_instant(entry.accepted_at),
                    "key_id": entry.key_id,
                    "endpoint": harmless(entry.endpoint),
                    "model_asked": harmless(entry.model_asked),
                    "model": harmless(entry.model),
                    "kind": kind,
                    "quantity": quantity,
                    "unit_price": to_wire_decimal(price),
                    "discount": to_wire_decimal(entry.discount),
                    "discount_reason": harmless(entry.discount_reason),
                    "granted": "true" if free else "false",
                    "card_id": entry.card_id,
                    "billing_month": entry.billing_month,
                    "exact_usd": to_wire_decimal(ZERO if free else exact_usd(quantity, kind, price, discount)),
                    "estimated_reason": entry.estimated_reason or "",
                }
