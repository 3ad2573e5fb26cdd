"""Workbooks for Korea's tax office: Hometax's bulk upload of electronic tax invoices. Pure: values in, bytes out.

The one door to openpyxl. The form is Hometax's 엑셀 업로드 양식(전자세금계산서-일반(영세율)), 100건 이하: 59 columns, headings in row 6,
invoices from row 7 on, at most 100 in a file, four items in each (as several published programs for it agree on, read November
2026; the original can only be downloaded behind a login: compare row 6 once before the first upload). Amounts are whole won; the
day of supply is the last of the month, as for services that go on (Value-Added Tax Act, article 34(3)).

What cannot go there is told with its reason and is not left out in silence (`Skipped`). The parties are those that the invoice names;
what it did not know when it was issued (it is never changed) is taken from how the same business is registered now. An invoice whose
parties cannot be named even so stops the whole export (`PartyIncomplete`), no file is written; unless it is to be left out, and told.
"""

from __future__ import annotations

import importlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from billing.accounts.registration import WrongRegistrationNumber, digits_of
from billing.invoice.parties import Party, completed, from_row_party, payer_of
from billing.invoice.read import IssuedInvoice
from billing.invoice.tables import Invoice
from billing.invoice.tax import KOREA, KOREA_RATE
from billing.money import add, multiply, split_by_largest_remainder
from billing.periods import Month

if TYPE_CHECKING:
    from openpyxl.cell.cell import Cell, MergedCell

ROWS_MAX, ITEMS_MAX = 100, 4
HEADING_ROW, FIRST_ROW = 6, 7
GENERAL = "01"
"""The kind of tax invoice: 01 taxed, 02 zero-rated. Only taxed ones are made here."""

CHARGE = "02"
"""02 청구: payment is still asked for (01 영수: it was received)."""

_ITEM = (
    "일자{n}\n(2자리, 작성년월 제외)",
    "품목{n}",
    "규격{n}",
    "수량{n}",
    "단가{n}",
    "공급가액{n}",
    "세액{n}",
    "품목비고{n}",
)
HEADINGS = (
    "전자(세금)계산서 종류\n(01:일반, 02:영세율)",
    "작성일자",
    '공급자 등록번호\n("-" 없이 입력)',
    "공급자\n 종사업장번호",
    "공급자 상호",
    "공급자 성명",
    "공급자 사업장주소",
    "공급자 업태",
    "공급자 종목",
    "공급자 이메일",
    '공급받는자 등록번호\n("-" 없이 입력)',
    "공급받는자 \n종사업장번호",
    "공급받는자 상호 ",
    "공급받는자 성명",
    "공급받는자 사업장주소",
    "공급받는자 업태",
    "공급받는자 종목",
    "공급받는자 이메일1",
    "공급받는자 이메일2",
    "공급가액\n합계",
    "세액\n합계",
    "비고",
    *(heading.format(n=n) for n in range(1, ITEMS_MAX + 1) for heading in _ITEM),
    "현금",
    "수표",
    "어음",
    "외상미수금",
    "영수(01),\n청구(02)",
)
REQUIRED = frozenset({0, 1, 2, 4, 5, 10, 12, 13, 19, 20, 22, 27, 28, 58})
"""Columns that Hometax shows in orange, counted from 0."""

_NOTES = (
    "엑셀 업로드 양식(전자세금계산서-일반(영세율)) - 100건 이하",
    "○ 주황색으로 표시된 항목은 필수 입력항목입니다.",
    "○ 자료는 7행부터 시작하며, 파일마다 최대 100건입니다.",
    "○ 행과 열을 추가하거나 삭제하지 마십시오. 품목은 1건 이상 있어야 합니다.",
    "○ SOLAR gateway가 만든 파일입니다. 업로드하기 전에 공급자·공급받는자·금액을 확인하십시오.",
)
_ORANGE, _GREY = "FFF4B183", "FFD9D9D9"
_TEXTS_MAX = {"name": 70, "representative": 30, "address": 150, "business_type": 40, "business_item": 40, "email": 40}


class Skipped(NamedTuple):
    """An invoice that is no matter of Hometax's, and why."""

    number: str
    account_id: str
    why: str


class Item(NamedTuple):
    """One item of a tax invoice; whole won."""

    name: str
    supply: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class TaxInvoice:
    """One row of the form."""

    day: date
    seller: Party
    buyer: Party
    supply: Decimal
    tax: Decimal
    note: str
    items: tuple[Item, ...]


_UNKNOWN = Party()
_NOBODY: Mapping[str, Party] = {}


class PartyIncomplete(ValueError):
    """Tax invoices name both parties in full; these cannot be named."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def tax_invoices(
    month: Month,
    issued: Sequence[IssuedInvoice],
    registered: Mapping[str, Party] = _NOBODY,
    house: Party = _UNKNOWN,
    *,
    leave_out_incomplete: bool = False,
) -> tuple[list[TaxInvoice], list[Skipped]]:
    """What goes to Hometax of a month's invoices, in their order, and what does not. Raises `PartyIncomplete`.

    `registered` (by account) and `house` are how the customers and we are registered now.
    """
    rows: list[TaxInvoice] = []
    skipped: list[Skipped] = []
    faults: list[str] = []
    for each in issued:
        invoice = each.invoice
        if why := _not_there(each):
            skipped.append(Skipped(invoice.number, invoice.account_id, why))
            continue
        buyer = completed(_buyer(invoice), registered.get(invoice.account_id, _UNKNOWN))
        seller = completed(from_row_party(invoice.seller), house)
        missing = _faults(f"{invoice.account_id} ({buyer.name})", buyer)
        if missing and leave_out_incomplete:
            skipped.append(Skipped(invoice.number, invoice.account_id, "; ".join(missing)))
            continue
        faults += [one for one in (*_faults("seller (GATEWAY_SELLER_…)", seller), *missing) if one not in faults]
        rows.append(
            TaxInvoice(month.last_day(), seller, buyer, invoice.subtotal, invoice.tax, invoice.number, _items(each))
        )
    if faults:
        raise PartyIncomplete(faults)
    return rows, skipped


def _buyer(invoice: Invoice) -> Party:
    number, country, details = invoice.tax_registration_number, invoice.tax_country, invoice.payer_details
    return payer_of(invoice.payer_name, number, country, details, invoice.account_id)


def workbooks(rows: Sequence[TaxInvoice]) -> list[bytes]:
    """The files to upload: at most 100 tax invoices in each, in their order."""
    return [_workbook(rows[start : start + ROWS_MAX]) for start in range(0, len(rows), ROWS_MAX)]


def _not_there(each: IssuedInvoice) -> str | None:
    invoice = each.invoice
    if (invoice.tax_country or "").upper() != KOREA:
        return "not taxed in Korea" if invoice.tax_country else "no tax data"
    if invoice.currency != "KRW":
        return f"billed in {invoice.currency}; a tax invoice is in won"
    if invoice.subtotal <= 0:
        return "over nothing" if invoice.subtotal == 0 else "below zero: it needs an amended tax invoice"
    if invoice.status == "void":
        return "void"
    return None


def _faults(who: str, party: Party) -> list[str]:
    faults = [f"{who}: {field} is missing" for field in ("name", "representative") if not getattr(party, field).strip()]
    if not party.registration_number:
        return [*faults, f"{who}: registration_number is missing"]
    try:
        digits_of(party.registration_number)
    except WrongRegistrationNumber as error:
        faults.append(f"{who}: {error}")
    return faults


def _items(each: IssuedInvoice) -> tuple[Item, ...]:
    """By model, the dearest first; from the fourth on together where there are more than four. Their tax sums to the invoice's."""
    supplies: dict[str, list[Decimal]] = defaultdict(list)
    for line in each.lines:
        supplies[line.model].append(line.amount)
    ordered = sorted(((add(amounts), model) for model, amounts in supplies.items()), key=lambda one: (-one[0], one[1]))
    named = [(f"{model} API 이용료", supply) for supply, model in ordered if supply]
    if len(named) > ITEMS_MAX:
        rest = named[ITEMS_MAX - 1 :]
        named = [*named[: ITEMS_MAX - 1], (f"{rest[0][0]} 외 {len(rest) - 1}건", add(supply for _, supply in rest))]
    exact = [(f"{at}", multiply(supply, KOREA_RATE)) for at, (_, supply) in enumerate(named)]
    taxes = split_by_largest_remainder(each.invoice.tax, exact, each.invoice.currency)
    return tuple(Item(name, supply, tax) for (name, supply), tax in zip(named, taxes, strict=True))


def _workbook(rows: Sequence[TaxInvoice]) -> bytes:
    # Here, because it takes half a second to load: at every start of every worker, for what is done once a month.
    openpyxl, styles = (importlib.import_module(name) for name in ("openpyxl", "openpyxl.styles"))
    book = openpyxl.Workbook()
    book.properties.creator = "SOLAR gateway"
    book.properties.created = book.properties.modified = datetime(*_day(rows).timetuple()[:3], tzinfo=UTC).replace(
        tzinfo=None
    )
    sheet = book.worksheets[0]
    sheet.title = "엑셀업로드양식"
    for number, text in enumerate(_NOTES, start=1):
        sheet.cell(number, 1, text).font = styles.Font(bold=number == 1)
    for column, heading in enumerate(HEADINGS, start=1):
        cell = sheet.cell(HEADING_ROW, column, heading)
        cell.fill = styles.PatternFill("solid", fgColor=_ORANGE if column - 1 in REQUIRED else _GREY)
        cell.alignment = styles.Alignment(wrap_text=True, horizontal="center", vertical="center")
        sheet.column_dimensions[cell.column_letter].width = 16
    for number, row in enumerate(rows, start=FIRST_ROW):
        for column, value in enumerate(_cells(row), start=1):
            if value != "":
                _write(sheet.cell(number, column), value)
    sheet.freeze_panes = f"A{FIRST_ROW}"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _day(rows: Sequence[TaxInvoice]) -> date:
    return max(row.day for row in rows)


def _cells(row: TaxInvoice) -> list[str | int]:
    seller, buyer = row.seller, row.buyer
    cells: list[str | int] = [
        GENERAL,
        row.day.strftime("%Y%m%d"),
        digits_of(seller.registration_number),
        "",
        *_described(seller),
        _cut(seller, "email"),
        digits_of(buyer.registration_number),
        "",
        *_described(buyer),
        _cut(buyer, "email"),
        "",
        int(row.supply),
        int(row.tax),
        row.note,
    ]
    for item in row.items:
        cells += [row.day.strftime("%d"), item.name, "", "", "", int(item.supply), int(item.tax), ""]
    cells += [""] * (len(_ITEM) * (ITEMS_MAX - len(row.items)))
    return [*cells, "", "", "", int(row.supply + row.tax), CHARGE]


def _described(party: Party) -> list[str]:
    return [_cut(party, name) for name in ("name", "representative", "address", "business_type", "business_item")]


def _cut(party: Party, name: str) -> str:
    return str(getattr(party, name))[: _TEXTS_MAX[name]]


def _write(cell: Cell | MergedCell, value: str | int) -> None:
    """Text stays text: what a customer is called can begin like a formula."""
    cell.value = value
    if isinstance(value, str):
        cell.data_type = "s"
        cell.number_format = "@"
