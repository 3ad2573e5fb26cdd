"""What finance takes away of a month, and a month under other prices; over HTTP and at the command line."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from tests.gateway.office.conftest import Finance

CARD = {"models": {"solar-pro4": {"input": "0.20", "cached_input": "0.05", "output": "1.00"}}}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_state_of_a_month_says_how_far_its_close_is(finance: Finance, issued: Any) -> None:
    told = finance.gateway.operator.get("/months/2026-10").json()
    assert told == {"month": "2026-10", "state": "closed", "accounts": 2, "invoices": 2, "shared": True}
    assert finance.gateway.operator.get("/months/2026-11").json()["state"] == "open"


def test_the_journal_balances_and_holds_every_invoice(finance: Finance, issued: Any) -> None:
    rows = rows_of(finance.office.does("invoices", "export", "--format", "journal", "--month", "2026-10"))
    sides: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sides[row["document"]] += Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
    assert set(sides.values()) == {Decimal(0)}
    assert issued["number"] in sides
    [receivable] = [row for row in rows if row["document"] == issued["number"] and row["ledger_account"] == "108"]
    assert (receivable["debit"], receivable["customer"]) == (issued["total"], "한빛미디어")


def test_the_hometax_file_of_a_month_is_written_and_what_is_not_in_it_is_told(
    finance: Finance, issued: Any, tmp_path: Path
) -> None:
    file = tmp_path / "hometax.xlsx"
    said = finance.office.run("invoices", "export", "--format", "hometax", "--month", "2026-10", "--output", str(file))
    assert (said.code, said.stdout) == (0, "")
    assert f"of {finance.partner} (no tax data)" in said.stderr
    sheet = load_workbook(file).worksheets[0]
    assert [sheet.cell(7, column).value for column in (1, 2, 3, 11, 13, 20, 21)] == [
        "01",
        "20261031",
        "1234567891",
        "2208162517",
        "한빛미디어",
        int(Decimal(issued["subtotal"])),
        int(Decimal(issued["tax"])),
    ]
    assert sheet.max_row == 7


def test_a_month_that_is_not_closed_has_neither(finance: Finance) -> None:
    for what in ("journal", "hometax"):
        answer = finance.gateway.operator.get(f"/months/2026-11/{what}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "month_open")


def test_every_call_of_an_invoice_stands_on_a_line_and_they_sum_to_it(finance: Finance, issued: Any) -> None:
    rows = rows_of(finance.office.does("invoices", "export", issued["id"], "--format", "calls"))
    counts: dict[str, int] = defaultdict(int)
    usd: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        counts[row["line"]] += int(row["quantity"])
        usd[row["line"]] += Decimal(row["exact_usd"])
    for at, line in enumerate(issued["lines"]):
        assert (counts[str(at)], usd[str(at)]) == (line["quantity"], Decimal(line["exact_usd"]))
    assert len(counts) == len(issued["lines"])
    assert len({row["call_id"] for row in rows}) == 3


def test_a_past_month_under_another_card_shows_each_line_and_changes_nothing(
    finance: Finance, issued: Any, tmp_path: Path
) -> None:
    file = tmp_path / "card.json"
    file.write_text(json.dumps(CARD))
    seen = finance.office.json("month", "replay", "2026-10", "--card", str(file), "--account", finance.payer)
    [account] = seen["accounts"]
    by_line = {(line["model"], line["kind"]): line for line in account["lines"]}
    output = by_line["solar-pro4", "output"]
    assert (output["before"]["unit_price"], output["after"]["unit_price"]) == ("1.20", "1.00")
    assert (output["before"]["amount"], output["after"]["amount"], output["difference"]) == ("4.32", "3.60", "-0.72")
    assert by_line["document-parse", "standard"]["difference"] == "0.00"
    assert Decimal(seen["after"]) - Decimal(seen["before"]) == Decimal(seen["difference"])
    shown = finance.office.does("month", "replay", "2026-10", "--discount", "0.5")
    assert "document-parse" in shown
    assert finance.gateway.operator.get(f"/invoices/{issued['id']}").json()["total"] == issued["total"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"discount": "1.5"},
        {"discount": "-0.1"},
        {"discount": "x"},
        {"card": {"models": {}}},
        {"card": {"models": {"solar-pro4": {"input": "-1"}}}},
        {"card": {"models": {"solar-pro4": {"inptu": "1"}}}},
    ],
)
def test_terms_that_cannot_be_are_refused(finance: Finance, body: dict[str, Any]) -> None:
    answer = finance.gateway.operator.post("/months/2026-10/replay", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request_body")


def test_rates_are_imported_from_a_file_all_or_none(finance: Finance, tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("date,pair,rate\n2026-01-30,USD/KRW,1301.5\n2026-01-31,USD/KRW,1302\n")
    told = finance.office.json("prices", "fx-import", str(file))
    assert told == {"rates": 2, "new": 2, "from": "2026-01-30", "to": "2026-01-31"}
    assert finance.office.json("prices", "fx-import", str(file))["new"] == 0
    file.write_text("date,pair,rate\n2026-02-01,USD/KRW,1\n2026-01-31,USD/KRW,1303\n")
    code, line = finance.office.refused("prices", "fx-import", str(file))
    assert (code, "2026-01-31 is 1302 already" in line) == (1, True)
    file.write_text("date,pair,rate\n2026-02-01,USD/KRW,x\n")
    assert "line 2: rate" in finance.office.refused("prices", "fx-import", str(file))[1]
    days = [row["date"] for row in finance.gateway.operator.get("/fx-rates").json()["data"]]
    assert "2026-02-01" not in days
    for raw in (b"\xff\xfe\x00", b""):
        assert finance.gateway.operator.post("/fx-rates/import", content=raw).status_code == 400


def test_a_month_without_its_rate_is_refused_and_names_the_day(finance: Finance) -> None:
    answer = finance.gateway.operator.post("/months/2026-11/close", json={"draft": True})
    assert answer.is_success
    answer = finance.gateway.operator.post("/months/2026-11/close", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "month_not_over")
