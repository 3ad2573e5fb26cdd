"""Single invoices and credit notes over HTTP and at the command line."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from tests.gateway.office.conftest import Finance


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(pdf)).pages)


def get(finance: Finance, path: str, accept: str = "application/json") -> Any:
    answer = finance.gateway.operator.get(path, headers={"accept": accept})
    assert answer.is_success, answer.text
    return answer


def test_an_invoice_is_a_pdf_in_korean_and_english_with_all_that_finance_signs(finance: Finance, issued: Any) -> None:
    answer = get(finance, f"/invoices/{issued['id']}", "application/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content[:5] == b"%PDF-"
    text = text_of(answer.content)
    for told in (
        "청구서 Invoice",
        issued["number"],
        "주식회사 업스테이지",
        "123-45-67891",
        "김솔라",
        "한빛미디어",
        "220-81-62517",
        "이한빛",
        "2026-10",
        "1 USD = 1385.50 KRW (2026-10-31)",
        "solar-pro4 출력 토큰",
        "무료 토큰 적용",
        "covered by granted tokens",
        "부가가치세 10 % VAT 10 % (Korea)",
        f"{int(issued['total'].removesuffix('.00')):,} KRW",
        "1,200",
    ):
        assert told in text, told
    for line in issued["lines"]:
        assert f"{line['quantity']:,}" in text
    assert get(finance, f"/invoices/{issued['id']}", "application/pdf").content == answer.content


def test_an_invoice_says_what_forms_it_can_be_had_in(finance: Finance, issued: Any) -> None:
    answer = finance.gateway.operator.get(f"/invoices/{issued['id']}", headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")


def test_a_credit_note_is_issued_shown_on_its_invoice_and_had_in_three_forms(finance: Finance, issued: Any) -> None:
    body = {"reason": "장애 보상", "lines": [{"line": 0, "amount": "100"}, {"line": 2, "amount": "7"}]}
    note = finance.gateway.post(f"/invoices/{issued['id']}/credit-notes", body)
    assert (note["number"][:8], note["subtotal"], note["tax"], note["total"]) == (
        "CN-2026-",
        "107.00",
        "10.00",
        "117.00",
    )
    assert [(line["line"], line["amount"]) for line in note["lines"]] == [(0, "100.00"), (2, "7.00")]
    assert note["booked_month"] == "2026-11"
    assert get(finance, f"/credit-notes/{note['id']}").json() == note
    assert note in get(finance, f"/invoices/{issued['id']}/credit-notes").json()["data"]
    assert note in get(finance, "/credit-notes?month=2026-11").json()["data"]
    invoice = get(finance, f"/invoices/{issued['id']}").json()
    assert {"number": note["number"], "total": "117.00"}.items() <= invoice["credit_notes"][0].items()
    assert invoice["total"] == issued["total"]
    text = text_of(get(finance, f"/credit-notes/{note['id']}", "application/pdf").content)
    assert all(
        told in text for told in ("대변표 Credit note", note["number"], issued["number"], "장애 보상", "117 KRW")
    )
    rows = list(csv.DictReader(io.StringIO(get(finance, f"/credit-notes/{note['id']}", "text/csv").text)))
    assert [(row["row"], row["amount"]) for row in rows] == [
        ("line", "100.00"),
        ("line", "7.00"),
        ("subtotal", "107.00"),
        ("tax", "10.00"),
        ("total", "117.00"),
    ]
    of_invoice = list(csv.DictReader(io.StringIO(get(finance, f"/invoices/{issued['id']}", "text/csv").text)))
    assert (of_invoice[-1]["row"], of_invoice[-1]["amount"]) == ("credit_note", "-117.00")
    assert note["number"] in text_of(get(finance, f"/invoices/{issued['id']}", "application/pdf").content)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": "x", "lines": [{"line": 0, "amount": "99999999"}]}, 409, "credit_exceeds_invoice"),
        ({"reason": "x", "lines": [{"line": 0, "amount": "0.5"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": [{"line": 0, "amount": "-1"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": [{"line": 0, "amount": "NaN"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": [{"line": -1, "amount": "1"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": [{"line": 99, "amount": "1"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": []}, 400, "invalid_request_body"),
        ({"reason": "", "lines": [{"line": 0, "amount": "1"}]}, 400, "invalid_request_body"),
        ({"lines": [{"line": 0, "amount": "1"}]}, 400, "invalid_request_body"),
        ({"reason": "x", "lines": [{"line": 0, "amount": 1.5}]}, 400, "invalid_request_body"),
    ],
)
def test_a_credit_note_that_cannot_be_is_refused_and_nothing_is_written(
    finance: Finance, issued: Any, body: Any, status: int, code: str
) -> None:
    path = f"/invoices/{issued['id']}/credit-notes"
    before = get(finance, path).json()
    answer = finance.gateway.operator.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert get(finance, path).json() == before


def test_what_is_not_there_is_a_404(finance: Finance) -> None:
    for path in ("/credit-notes/crn_none", "/invoices/inv_none/credit-notes", "/invoices/inv_none"):
        assert finance.gateway.operator.get(path).status_code == 404
    body = {"reason": "x", "lines": [{"line": 0, "amount": "1"}]}
    assert finance.gateway.operator.post("/invoices/inv_none/credit-notes", json=body).status_code == 404


def test_the_command_line_credits_lists_and_exports(finance: Finance, issued: Any, tmp_path: Path) -> None:
    note = finance.office.json("invoices", "credit", issued["id"], "--reason", "rounding", "--line", "0=1")
    assert note["subtotal"] == "1.00"
    assert note["number"] in finance.office.does("invoices", "credits", "--invoice", issued["id"])
    assert note["number"] in finance.office.does("invoices", "credits", "--month", "2026-11")
    file = tmp_path / "invoice.pdf"
    finance.office.does("invoices", "export", issued["id"], "--format", "pdf", "--output", str(file))
    assert issued["number"] in text_of(file.read_bytes())
    assert finance.office.refused("invoices", "credit", issued["id"], "--reason", "x", "--line", "zero")[0] == 2
