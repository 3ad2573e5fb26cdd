"""Exports as others read them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from billing.exports.shares import SHARE_COLUMNS, share_csv, share_json, share_text
from billing.exports.statement import INVOICE_COLUMNS, invoice_csv, invoice_json, invoice_text
from billing.invoice.draft import Draft, FxQuote, Payer, draft_invoice
from billing.invoice.store import to_row_invoice, to_row_line
from billing.invoice.tables import InvoiceLine
from billing.money import add
from billing.rating.rate import Booked, rate
from billing.share.payout import Statement, statements_of
from billing.share.split import Partner, Pool, split

ISSUED_AT = datetime(2026, 11, 2, tzinfo=UTC)


def a_draft(model: str = "solar-pro4", currency: str = "KRW") -> Draft:
    booked = [
        Booked(model, "input", "card_1", Decimal("0.30"), Decimal("0.10"), "2026-10", 1_234_567, 234_567),
        Booked("document-parse", "standard", "card_1", Decimal("0.01"), Decimal(0), "2026-09", 3),
    ]
    ledger_usd = add(line.exact_usd for line in rate(booked))
    fx = FxQuote(date(2026, 10, 31), Decimal("1385.5"))
    draft = draft_invoice(Payer("acc_1", currency, "KR"), "2026-10", booked, ledger_usd, fx)
    assert draft is not None
    return draft


def a_share() -> Statement:
    parts = split(
        [Pool("acc_9", "x", "solar-pro4", Fraction("1.005"))], [Partner("acc_1", "a", (("news", Decimal(2)),))]
    )
    return statements_of("2026-10", parts, {"acc_1": Decimal("0.10")}, Decimal(0), "pro_rata")[0]


def test_an_issued_invoice_has_the_shape_of_the_contract() -> None:
    draft = a_draft()
    invoice = to_row_invoice(draft, "2026-000001", ISSUED_AT, None, None)
    shown = invoice_json(invoice, [InvoiceLine(**to_row_line(line, invoice.id)) for line in draft.lines])
    lines = shown.pop("lines")
    assert shown == {
        "id": invoice.id,
        "number": "2026-000001",
        "account_id": "acc_1",
        "month": "2026-10",
        "status": "issued",
        "currency": "KRW",
        "grants_used": 234_567,
        "subtotal": "416.00",
        "tax": "41.00",
        "tax_reason": "VAT 10 % (Korea)",
        "total": "457.00",
        "fx_rate": "1385.50",
        "fx_day": "2026-10-31",
        "issued_at": "2026-11-02T00:00:00Z",
        "payer": {"name": None, "country": "KR", "registration_number": None},
        "credit_notes": [],
        "credited": "0.00",
        "proof_root": None,
    }
    assert lines[0] == {
        "position": 0,
        "description": "solar-pro4, input tokens; discount 10.00 %",
        "model": "solar-pro4",
        "kind": "input",
        "quantity": 1_000_000,
        "unit_price": "0.30",
        "unit": "1M tokens",
        "discount": "0.10",
        "exact_amount": "374.085",
        "amount": "374.00",
        "exact_usd": "0.27",
        "card_id": "card_1",
        "billing_month": "2026-10",
        "granted": False,
    }
    assert [(line["quantity"], line["discount"], line["amount"]) for line in lines[1:]] == [
        (234_567, "1.00", "0.00"),
        (3, "0.00", "42.00"),
    ]


def test_a_draft_prints_like_an_invoice_but_for_its_number() -> None:
    draft = a_draft()
    shown = invoice_json(draft, draft.lines)
    assert (shown["id"], shown["number"], shown["status"], shown["issued_at"]) == (None, None, "draft", None)


def test_the_csv_of_an_invoice_has_stable_columns_and_sums_to_its_total() -> None:
    draft = a_draft()
    rows = list(csv.DictReader(io.StringIO(invoice_csv(draft, draft.lines), newline="")))
    assert tuple(rows[0]) == INVOICE_COLUMNS
    assert [row["row"] for row in rows] == ["line", "line", "line", "subtotal", "tax", "total"]
    sums = {row["row"]: Decimal(row["amount"]) for row in rows[3:]}
    assert sum(Decimal(row["amount"]) for row in rows[:3]) == sums["subtotal"]
    assert sums["subtotal"] + sums["tax"] == sums["total"]
    assert {row["currency"] for row in rows} == {"KRW"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_text_begins_like_a_formula(start: str) -> None:
    model = f'{start}HYPERLINK("x"),"y"\n솔라'
    draft = a_draft(model)
    row = next(csv.DictReader(io.StringIO(invoice_csv(draft, draft.lines), newline="")))
    assert row["model"] == f"'{model}"
    assert row["description"].startswith("'")


def test_the_text_of_an_invoice_shows_lines_rate_tax_and_grants() -> None:
    draft = a_draft()
    text = invoice_text(draft, draft.lines, "한국 뉴스")
    for part in ("DRAFT INVOICE", "한국 뉴스", "1 USD = 1385.50 KRW (2026-10-31)", "374 KRW", "457 KRW", "234,567"):
        assert part in text
    dollars = a_draft(currency="USD")
    assert "0.30 USD" in invoice_text(dollars, dollars.lines)


def test_a_share_has_the_shape_of_the_contract_and_says_why() -> None:
    shown = share_json(a_share())
    (step,) = shown.pop("steps")
    assert shown == {
        "account_id": "acc_1",
        "month": "2026-10",
        "pool": "1.00",
        "weight": "2.00",
        "amount": "1.00",
        "carried_in": "0.10",
        "carried_over": "0.00",
        "payout": "1.10",
        "currency": "USD",
        "rule": "pro_rata",
    }
    assert (step["payer"], step["pool"], step["exact_amount"]) == (1, "1.005", "1.005")


def test_the_csv_and_the_text_of_a_share_tell_the_same() -> None:
    share = a_share()
    (row,) = csv.DictReader(io.StringIO(share_csv([share]), newline=""))
    assert tuple(row) == SHARE_COLUMNS
    assert {name: row[name] for name in row} == {name: share_json(share)[name] for name in SHARE_COLUMNS}
    assert "payer 1, solar-pro4: 1.005 x 2.00/2.00 = 1.005" in share_text(share)
    assert "1.10 USD" in share_text(share, "한국 뉴스")
