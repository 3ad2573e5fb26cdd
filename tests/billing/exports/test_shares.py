"""Share statements as CSV and PDF, and finance's payout file."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pypdf import PdfReader

from billing.exports.payouts import PAYOUT_COLUMNS, payouts_csv
from billing.exports.shares import STEP_COLUMNS, share_for_finance, share_pdf, steps_csv
from billing.payouts.tables import Payee, Payout
from billing.share.corrections import TakenBack
from billing.share.payout import Statement, statements_of, to_wire_pools, to_wire_terms
from billing.share.rules import Terms, rule_named
from billing.share.split import Partner, Pool, split

MADE_AT = datetime(2026, 11, 2, tzinfo=UTC)
POOLS = [
    Pool("acc_secret_big", "x", "solar-pro4", Fraction(2), net=Decimal(10)),
    Pool("acc_secret", "y", "=cmd()", Fraction(1, 3), net=Decimal("1.67")),
]


def a_share() -> Statement:
    partners = [Partner("acc_1", "a", (("news", Decimal(2)),)), Partner("acc_2", "b", (("law", Decimal(1)),))]
    back = [TakenBack("2026-09", 1, "solar-pro4", "acc_1", Fraction("-0.25"))]
    terms = to_wire_terms(rule_named("scaled_user_prop"), Terms(Decimal("0.20")), Decimal("1.00"))
    parts = split(POOLS, partners, back)
    return statements_of("2026-10", parts, {}, Decimal("1.00"), "scaled_user_prop", terms)[0]


def rows_of(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_csv_leads_step_by_step_to_what_is_paid() -> None:
    share = a_share()
    rows = rows_of(steps_csv(share))
    assert tuple(rows[0]) == STEP_COLUMNS
    exact = sum((Fraction(row["exact_amount"]) for row in rows if row["row"] in ("step", "correction")), Fraction(0))
    sums = {row["row"]: Decimal(row["exact_amount"]) for row in rows if row["row"] not in ("step", "correction")}
    assert abs(exact - Fraction(sums["amount"])) < Fraction(1, 100)
    assert sums["amount"] + sums["carried_in"] == sums["payout"] + sums["carried_over"]
    assert [row["month"] for row in rows if row["row"] == "correction"] == ["2026-09"]
    assert [row["model"] for row in rows[:2]] == ["solar-pro4", "'=cmd()"]


def test_a_partner_reads_numbers_where_finance_reads_payers_and_their_invoices() -> None:
    share = a_share()
    pools = to_wire_pools(POOLS, [], (), {"acc_secret_big": "2026-000007", "acc_secret": "2026-000008"})
    steps = share_for_finance(share, pools)["steps"]
    assert [step.get("invoice") for step in steps] == ["2026-000007", "2026-000008", None]
    assert steps[0]["payer_account_id"] == "acc_secret_big"
    assert "acc_secret" not in steps_csv(share) + json.dumps(share.steps)


def test_the_pdf_is_one_and_the_same_each_time_and_names_no_payer() -> None:
    share = a_share()
    once = share_pdf(share, "한빛북스", "SOLAR gateway", MADE_AT)
    assert once.startswith(b"%PDF-")
    assert once == share_pdf(share, "한빛북스", "SOLAR gateway", MADE_AT)
    assert once != share_pdf(share, "다른 이름", "SOLAR gateway", MADE_AT)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(once)).pages)
    assert "한빛북스" in text
    assert "scaled_user_prop" in text
    assert "acc_secret" not in text


def test_the_payout_file_has_a_row_for_each_payout_with_what_its_tax_papers_need() -> None:
    payee = Payee(
        id="pye_1",
        account_id="acc_1",
        kind="individual",
        country="KR",
        legal_name="=홍길동",
        currency="KRW",
        destination={"kind": "bank", "account": "110-000"},
        created_at=MADE_AT,
    )
    payout = Payout(
        id="pay_1",
        account_id="acc_1",
        month="2026-10",
        payee_id="pye_1",
        usd=Decimal("1000.00"),
        currency="KRW",
        fx_rate=Decimal("1400"),
        fx_day=date(2026, 11, 1),
        amount=Decimal(1_400_000),
        vat=Decimal(0),
        withheld=Decimal(46_200),
        payable=Decimal(1_353_800),
        tax_paper="withholding_receipt",
        withholding=[
            {"name": "income_tax", "ratio": "0.03", "amount": "42000.00"},
            {"name": "local_income_tax", "ratio": "0.10", "amount": "4200.00"},
        ],
        made_at=MADE_AT,
    )
    (row,) = rows_of(payouts_csv([payout], {"pye_1": payee}))
    assert tuple(row) == PAYOUT_COLUMNS
    assert (row["legal_name"], row["income_tax"], row["local_income_tax"]) == ("'=홍길동", "42000.00", "4200.00")
    assert Decimal(row["payable"]) == sum(
        sign * Decimal(row[name])
        for name, sign in (("amount", 1), ("vat", 1), ("income_tax", -1), ("local_income_tax", -1))
    )
    assert json.loads(row["destination"]) == {"kind": "bank", "account": "110-000"}
