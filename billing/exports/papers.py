"""Invoices and credit notes as PDF, in Korean and English. Pure: rows in, bytes out; the same rows give the same bytes.

Units: money with the places of its currency; unit prices USD per million tokens, or per page; days in the issuer's zone
(`ISSUER_ZONE`). What is printed is what was issued: nothing is reckoned here but the sum of credit notes beside the total.
Errors: `PaperFault`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.exports.pdf import render
from billing.invoice.issue import ISSUER_ZONE
from billing.invoice.parties import Party, from_row_party, payer_of
from billing.invoice.read import IssuedCredit, IssuedInvoice
from billing.invoice.tables import CreditNote, Invoice, InvoiceLine
from billing.money import add, minor_unit, multiply, subtract, to_wire_decimal
from billing.periods import zone_of
from billing.usage import PAGE_KINDS

_KINDS_KO = {
    "input": "입력 토큰",
    "cached_input": "캐시 입력 토큰",
    "output": "출력 토큰",
    "standard": "페이지(표준)",
    "enhanced": "페이지(고급)",
}
_STATUS = {"issued": "발행 Issued", "paid": "입금 완료 Paid", "void": "무효 Void"}
_TAX_KO = {"KR": "부가가치세 10 %"}


def invoice_pdf(issued: IssuedInvoice) -> bytes:
    """An issued invoice with its lines, its credit notes, and the root of the proof of its calls."""
    invoice = issued.invoice
    notes = [_rounding_note(invoice.currency)]
    if invoice.proof_root is not None:
        notes.append(f"호출 내역 증명 루트 Proof of its calls: {invoice.proof_root}")
    values = {
        **_head(invoice, "청구서", "Invoice", invoice.number),
        "facts": _facts(invoice),
        "notes": notes,
        "lines": [_line(line, invoice) for line in issued.lines],
        "sums": _sums(invoice, issued.credits),
    }
    return render("invoice.typ", values, invoice.issued_at)


def credit_pdf(credit: IssuedCredit, issued: IssuedInvoice) -> bytes:
    """A credit note of an invoice."""
    note, invoice = credit.note, issued.invoice
    named = {line.position: line for line in issued.lines}
    values = {
        **_head(invoice, "대변표", "Credit note", note.number),
        "facts": [
            _fact("발행일", "Issued", day_of(note.issued_at)),
            _fact("원 청구서", "Of invoice", f"{invoice.number} ({invoice.month})"),
            _fact("사유", "Reason", note.reason),
        ],
        "notes": [f"매출 차감 월 Lessens the revenue of {note.booked_month}"],
        "lines": [
            {**_line(named[line.line], invoice), "exact": None, "amount": money(line.amount, note.currency)}
            for line in credit.lines
        ],
        "sums": [
            _sum("공급가액", "Subtotal", note.subtotal, note.currency),
            *([_sum(*_tax_label(invoice), note.tax, note.currency)] if note.tax_reason else []),
            _sum("환급 합계", "Credited in all", note.total, note.currency, strong=True),
        ],
    }
    return render("invoice.typ", values, note.issued_at)


def party_values(party: Party) -> dict[str, Any]:
    """A party as `base.typ` shows it."""
    facts = [
        ["등록번호 Registration", party.registration_number],
        ["대표자 Representative", party.representative],
        ["주소 Address", party.address],
        ["업태·종목 Business", " · ".join(text for text in (party.business_type, party.business_item) if text)],
        ["이메일 Email", party.email],
        ["국가 Country", party.country],
    ]
    return {"name": party.name, "facts": facts}


def money(amount: Decimal, currency: str) -> str:
    """An amount with the places of its currency: `2,310`, `-0.55`."""
    places = -int(minor_unit(currency).as_tuple().exponent)
    return f"{amount:,.{places}f}"


def day_of(instant: datetime) -> str:
    """The issuer's day of an instant."""
    return instant.astimezone(zone_of(ISSUER_ZONE)).date().isoformat()


def _head(invoice: Invoice, ko: str, en: str, number: str) -> dict[str, Any]:
    buyer = payer_of(
        invoice.payer_name,
        invoice.tax_registration_number,
        invoice.tax_country,
        invoice.payer_details,
        invoice.account_id,
    )
    return {
        "title": f"{ko} {number}",
        "heading": {"ko": ko, "en": en, "number": number},
        "seller": party_values(from_row_party(invoice.seller)),
        "buyer": party_values(buyer),
        "currency": invoice.currency,
    }


def _facts(invoice: Invoice) -> list[dict[str, str]]:
    facts = [
        _fact("청구 월", "Month", invoice.month),
        _fact("발행일", "Issued", day_of(invoice.issued_at)),
        _fact("상태", "Status", _STATUS.get(invoice.status, invoice.status)),
        _fact("계정", "Account", invoice.account_id),
    ]
    if invoice.fx_rate is not None:
        rate = f"1 USD = {to_wire_decimal(invoice.fx_rate)} {invoice.currency} ({invoice.fx_day})"
        facts.append(_fact("적용 환율", "Exchange rate", rate))
    if invoice.grants_used:
        facts.append(_fact("사용한 무료 토큰", "Granted tokens used", f"{invoice.grants_used:,}"))
    return facts


def _line(line: InvoiceLine, invoice: Invoice) -> dict[str, Any]:
    ko = [f"{line.model} {_KINDS_KO[line.kind]}"]
    if line.granted:
        ko.append("무료 토큰 적용")
    if line.billing_month != invoice.month:
        ko.append(f"{line.billing_month} 사용분(마감 후 반영)")
    exact = f"{to_wire_decimal(line.exact_usd)} USD"
    if invoice.fx_rate is not None:
        exact += f" × {to_wire_decimal(invoice.fx_rate)} = {to_wire_decimal(line.exact_amount)} {invoice.currency}"
    unit = "쪽 page" if line.kind in PAGE_KINDS else "1M"
    return {
        "position": line.position,
        "ko": ", ".join(ko),
        "en": line.description,
        "exact": None if line.granted else f"정확한 금액 Exact {exact}",
        "quantity": f"{line.quantity:,}",
        "unit_price": f"{to_wire_decimal(line.unit_price)} / {unit}",
        "discount": f"{multiply(line.discount, 100).normalize():f} %" if line.discount else "",
        "amount": money(line.amount, invoice.currency),
    }


def _sums(invoice: Invoice, credits: Sequence[CreditNote]) -> list[dict[str, Any]]:
    currency = invoice.currency
    sums = [_sum("공급가액", "Subtotal", invoice.subtotal, currency)]
    if invoice.tax_reason is not None:
        sums.append(_sum(*_tax_label(invoice), invoice.tax, currency))
    sums.append(_sum("합계", "Total", invoice.total, currency, strong=True))
    sums += [_sum(f"대변표 {note.number}", note.reason, -note.total, currency) for note in credits]
    if credits:
        left = subtract(invoice.total, add(note.total for note in credits))
        sums.append(_sum("대변표 반영 후", "After credit notes", left, currency, strong=True))
    return sums


def _tax_label(invoice: Invoice) -> tuple[str, str]:
    country = (invoice.tax_country or "").upper()
    return _TAX_KO.get(country, "부가가치세 0 % (영세율)"), invoice.tax_reason or ""


def _fact(ko: str, en: str, value: str) -> dict[str, str]:
    return {"ko": ko, "en": en, "value": value}


def _sum(ko: str, en: str, amount: Decimal, currency: str, *, strong: bool = False) -> dict[str, Any]:
    return {"ko": ko, "en": en, "amount": money(amount, currency), "strong": strong}


def _rounding_note(currency: str) -> str:
    unit = minor_unit(currency)
    return (
        f"각 줄은 정확한 금액을 {unit} {currency} 단위로 한 번만 반올림합니다. "
        f"Each line is its exact amount, rounded once (half up) to {unit} {currency}; tax is cut."
    )
