"""Payouts as JSON, and finance's payout file as CSV. Pure: rows in, values out.

Columns of the file, one row a payout; a payout that came back has a row of its own with the other sign and `reverses`:
`payout_id`; `account_id` and `month` of the statement; `legal_name`, `kind`, `country`, `registration_number` of the payee; `usd`, what
the statement says; `currency`, `fx_rate` and `fx_day` at which it was converted (empty in USD); `amount`, the supply value for a tax
invoice, the income for a withholding receipt; `tax_paper` (`tax_invoice` or `withholding_receipt`); `vat` on top of it; `income_tax` and
`local_income_tax` withheld; `payable` = amount + vat − both, what the bank is told; `destination`, as JSON; `reverses`, `reason`;
`made_at` (RFC 3339 UTC). Money in `currency`, whole minor units. Columns only ever grow at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from billing.exports.statement import csv_text, harmless, to_wire_instant
from billing.money import to_wire_decimal
from billing.payouts.store import LeftOut
from billing.payouts.tables import Payee, Payout, PayoutHold

PAYOUT_COLUMNS = (
    "payout_id",
    "account_id",
    "month",
    "legal_name",
    "kind",
    "country",
    "registration_number",
    "usd",
    "currency",
    "fx_rate",
    "fx_day",
    "amount",
    "tax_paper",
    "vat",
    "income_tax",
    "local_income_tax",
    "payable",
    "destination",
    "reverses",
    "reason",
    "made_at",
)


def payee_json(payee: Payee) -> dict[str, Any]:
    """Whom an account's shares are paid to."""
    return {
        "id": payee.id,
        "account_id": payee.account_id,
        "kind": payee.kind,
        "country": payee.country,
        "legal_name": payee.legal_name,
        "registration_number": payee.registration_number,
        "currency": payee.currency,
        "destination": payee.destination,
        "created_at": to_wire_instant(payee.created_at),
    }


def hold_json(hold: PayoutHold) -> dict[str, Any]:
    """A stop, and how it ended."""
    return {
        "id": hold.id,
        "account_id": hold.account_id,
        "reason": hold.reason,
        "placed_at": to_wire_instant(hold.placed_at),
        "released_at": to_wire_instant(hold.released_at) if hold.released_at else None,
        "release_reason": hold.release_reason,
    }


def payout_json(payout: Payout, payee: Payee) -> dict[str, Any]:
    """A payout with its tax paper and its payee."""
    return {
        "id": payout.id,
        "account_id": payout.account_id,
        "month": payout.month,
        "usd": to_wire_decimal(payout.usd),
        "currency": payout.currency,
        "fx_rate": None if payout.fx_rate is None else to_wire_decimal(payout.fx_rate),
        "fx_day": payout.fx_day.isoformat() if payout.fx_day else None,
        "amount": to_wire_decimal(payout.amount),
        "tax_paper": payout.tax_paper,
        "vat": to_wire_decimal(payout.vat),
        "withheld": to_wire_decimal(payout.withheld),
        "withholding": payout.withholding,
        "payable": to_wire_decimal(payout.payable),
        "payee": payee_json(payee),
        "reverses": payout.reverses,
        "reason": payout.reason,
        "made_at": to_wire_instant(payout.made_at),
    }


def left_out_json(left: LeftOut) -> dict[str, Any]:
    """A statement that was not paid, and why."""
    return {
        "account_id": left.account_id,
        "month": left.month,
        "usd": to_wire_decimal(left.usd),
        "why": left.why,
        "detail": left.detail,
    }


def payouts_csv(payouts: Iterable[Payout], payees: Mapping[str, Payee]) -> str:
    """Finance's payout file; columns as in `PAYOUT_COLUMNS`."""
    return csv_text(PAYOUT_COLUMNS, [_cells(payout, payees[payout.payee_id]) for payout in payouts])


def _cells(payout: Payout, payee: Payee) -> dict[str, Any]:
    shape = payout_json(payout, payee)
    taxes = {tax["name"]: tax["amount"] for tax in payout.withholding}
    texts = {
        "legal_name": harmless(payee.legal_name),
        "registration_number": harmless(payee.registration_number or ""),
        "destination": json.dumps(payee.destination, ensure_ascii=False, sort_keys=True),
        "reason": harmless(payout.reason or ""),
        "reverses": payout.reverses or "",
        "fx_rate": shape["fx_rate"] or "",
        "fx_day": shape["fx_day"] or "",
    }
    cells = {
        **shape,
        "payout_id": payout.id,
        "kind": payee.kind,
        "country": payee.country,
        "income_tax": taxes.get("income_tax", ""),
        "local_income_tax": taxes.get("local_income_tax", ""),
        **texts,
    }
    return {name: cells[name] for name in PAYOUT_COLUMNS}
