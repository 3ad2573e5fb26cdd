"""The workbook for Hometax, opened again by openpyxl as a stranger would."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from billing.accounts.registration import WrongRegistrationNumber, check_digit, digits_of
from billing.exports.hometax import HEADINGS, ITEMS_MAX, PartyIncomplete, tax_invoices, workbooks
from billing.invoice.parties import Party, from_row_party
from billing.invoice.read import IssuedInvoice
from billing.invoice.tables import Invoice, InvoiceLine
from billing.invoice.tax import tax_on
from billing.periods import Month

OCTOBER = Month(2026, 10)
SELLER = {"name": "주식회사 업스테이지", "registration_number": "123-45-67891", "representative": "김솔라"}
BUYER = {"representative": "이한빛", "address": "서울시 중구", "email": "tax@example.com"}


def issued(*lines: tuple[str, int], number: str = "2026-000001", **fields: Any) -> IssuedInvoice:
    """An invoice over (model, won) lines."""
    currency, country = fields.get("currency", "KRW"), fields.get("tax_country", "KR")
    subtotal = Decimal(sum(won for _, won in lines))
    tax = tax_on(subtotal, currency, country)
    values = {
        "id": f"inv_{number}",
        "number": number,
        "account_id": "acc_1",
        "month": "2026-10",
        "status": "issued",
        "currency": currency,
        "grants_used": 0,
        "subtotal": subtotal,
        "tax": tax.amount,
        "tax_reason": tax.reason,
        "total": subtotal + tax.amount,
        "issued_at": datetime(2026, 11, 2, tzinfo=UTC),
        "payer_name": "한빛미디어",
        "tax_country": country,
        "tax_registration_number": "220-81-62517",
        "payer_details": BUYER,
        "seller": SELLER,
        **fields,
    }
    rows = [
        InvoiceLine(
            invoice_id=values["id"],
            position=at,
            description=model,
            model=model,
            kind="input",
            quantity=1,
            unit_price=Decimal(1),
            discount=Decimal(0),
            exact_amount=Decimal(won),
            amount=Decimal(won),
            exact_usd=Decimal(1),
            card_id="card_1",
            billing_month="2026-10",
            granted=False,
        )
        for at, (model, won) in enumerate(lines)
    ]
    return IssuedInvoice(Invoice(**values), rows)


def sheets(invoices: list[IssuedInvoice]) -> list[list[list[Any]]]:
    rows, _ = tax_invoices(OCTOBER, invoices)
    books = [load_workbook(io.BytesIO(file)) for file in workbooks(rows)]
    return [[list(row) for row in book.worksheets[0].iter_rows(values_only=True)] for book in books]


def test_a_row_has_the_published_columns_in_their_order() -> None:
    [sheet] = sheets([issued(("solar-pro4", 10_005), ("document-parse", 500))])
    assert len(HEADINGS) == 59
    assert list(sheet[5]) == list(HEADINGS)
    assert (HEADINGS[19].split("\n")[0], HEADINGS[22][:3], HEADINGS[53][:5], HEADINGS[54]) == (
        "공급가액",
        "일자1",
        "품목비고4",
        "현금",
    )
    row = sheet[6]
    assert row[:2] == ["01", "20261031"]
    assert row[2:6] == ["1234567891", None, "주식회사 업스테이지", "김솔라"]
    assert row[10:15] == ["2208162517", None, "한빛미디어", "이한빛", "서울시 중구"]
    assert row[17] == "tax@example.com"
    assert row[19:22] == [10_505, 1_050, "2026-000001"]
    assert row[22:30] == ["31", "solar-pro4 API 이용료", None, None, None, 10_005, 1_000, None]
    assert row[30:38] == ["31", "document-parse API 이용료", None, None, None, 500, 50, None]
    assert row[38:54] == [None] * 16
    assert row[57:59] == [11_555, "02"]
    assert len(sheet) == 7


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 10**9)), min_size=1, max_size=12))
def test_the_items_sum_to_supply_and_tax_and_are_four_at_most(lines: list[tuple[str, int]]) -> None:
    [row], [] = tax_invoices(OCTOBER, [issued(*lines)])
    assert 1 <= len(row.items) <= ITEMS_MAX
    assert sum(item.supply for item in row.items) == row.supply == sum(won for _, won in lines)
    assert sum(item.tax for item in row.items) == row.tax == row.supply // 10
    assert all(item.tax == int(item.tax) for item in row.items)


def test_a_hundred_and_one_invoices_are_two_files() -> None:
    books = sheets([issued(("solar-pro4", 100), number=f"2026-{n:06d}") for n in range(101)])
    assert [len(sheet) - 6 for sheet in books] == [100, 1]
    assert books[1][6][21] == "2026-000100"


def test_a_customer_called_like_a_formula_stays_text() -> None:
    [file] = workbooks(tax_invoices(OCTOBER, [issued(("solar-pro4", 100), payer_name="=1+1")])[0])
    cell = load_workbook(io.BytesIO(file)).worksheets[0].cell(7, 13)
    assert (cell.value, cell.data_type) == ("=1+1", "s")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tax_country": None}, "no tax data"),
        ({"tax_country": "JP"}, "not taxed in Korea"),
        ({"currency": "USD"}, "billed in USD; a tax invoice is in won"),
        ({"status": "void"}, "void"),
    ],
)
def test_what_does_not_go_there_is_told_with_its_reason(fields: dict[str, Any], why: str) -> None:
    rows, [skipped] = tax_invoices(OCTOBER, [issued(("solar-pro4", 100), **fields)])
    assert (rows, skipped.number, skipped.why) == ([], "2026-000001", why)


def test_an_invoice_over_nothing_is_told_too() -> None:
    rows, [skipped] = tax_invoices(OCTOBER, [issued(("solar-pro4", 0))])
    assert (rows, skipped.why) == ([], "over nothing")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tax_registration_number": "123-45-67890"}, "'123-45-67890' is no Korean business registration number"),
        ({"tax_registration_number": None}, r"acc_1 \(한빛미디어\): registration_number is missing"),
        ({"payer_details": None}, r"acc_1 \(한빛미디어\): representative is missing"),
        ({"seller": None}, r"seller \(GATEWAY_SELLER_…\): name is missing"),
    ],
)
def test_a_party_that_cannot_be_named_stops_the_whole_export(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(PartyIncomplete, match=says):
        tax_invoices(OCTOBER, [issued(("a", 100)), issued(("a", 100), number="2026-000002", **fields)])


def test_what_an_invoice_did_not_know_is_taken_from_how_the_same_business_is_registered_now() -> None:
    paper = issued(("a", 100), tax_registration_number=None, payer_details=None, seller={"name": "업스테이지"})
    registered = {"acc_1": Party("Other name", "220-81-62517", "이한빛", "서울시 중구")}
    [row], _ = tax_invoices(OCTOBER, [paper], registered, from_row_party(SELLER))
    assert (row.buyer.name, row.buyer.registration_number, row.buyer.representative) == (
        "한빛미디어",
        "220-81-62517",
        "이한빛",
    )
    assert (row.seller.name, row.seller.representative) == ("업스테이지", "김솔라")


def test_another_business_of_today_does_not_lend_its_data_to_an_old_invoice() -> None:
    paper = issued(("a", 100), payer_details=None)
    registered = {"acc_1": Party("한빛미디어", "120-81-47521", "다른 사람")}
    with pytest.raises(PartyIncomplete, match="representative is missing"):
        tax_invoices(OCTOBER, [paper], registered)


def test_customers_that_cannot_be_named_are_left_out_on_request_and_told() -> None:
    papers = [issued(("a", 100)), issued(("a", 100), number="2026-000002", payer_details=None)]
    [row], [skipped] = tax_invoices(OCTOBER, papers, leave_out_incomplete=True)
    assert (row.note, skipped.number) == ("2026-000001", "2026-000002")
    assert skipped.why == "acc_1 (한빛미디어): representative is missing"
    with pytest.raises(PartyIncomplete, match="seller"):
        tax_invoices(OCTOBER, [issued(("a", 100), seller=None)], leave_out_incomplete=True)


@given(st.integers(0, 10**9 - 1).map(lambda n: f"{n:09d}"), st.integers(1, 9))
def test_a_digit_that_is_wrong_anywhere_or_a_number_too_short_is_noticed(first: str, off: int) -> None:
    number = first + str(check_digit(first))
    assert digits_of(f"{number[:3]}-{number[3:5]}-{number[5:]}") == number
    for wrong in (number[:9] + str((int(number[9]) + off) % 10), number[:9], number + "1", "１" + number[1:]):
        with pytest.raises(WrongRegistrationNumber):
            digits_of(wrong)


def test_numbers_of_real_businesses_are_right() -> None:
    for number in ("124-81-00998", "220-81-62517", "120-81-47521"):
        assert digits_of(number) == number.replace("-", "")


def test_the_day_of_supply_is_the_last_of_the_month() -> None:
    [row], _ = tax_invoices(Month(2028, 2), [issued(("a", 100))])
    assert row.day == date(2028, 2, 29)
