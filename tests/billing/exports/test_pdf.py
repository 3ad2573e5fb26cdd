"""The one door to typst, read back with a foreign reader."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from pypdf import PdfReader

from billing.exports.pdf import PAPER, PaperFault, render

AT = datetime(2026, 11, 2, tzinfo=UTC)
RARE = "뷁쀍힣갂 ₩"


def values(**changed: Any) -> dict[str, Any]:
    one = {"position": 1, "ko": RARE, "en": "tokens", "exact": None, "quantity": "1", "unit_price": "0.30"}
    return {
        "title": "청구서 1",
        "heading": {"ko": "청구서", "en": "Invoice", "number": "1"},
        "seller": {"name": "주식회사 솔라", "facts": [["등록번호", "123-45-67891"]]},
        "buyer": {"name": "한빛", "facts": []},
        "facts": [{"ko": "발행일", "en": "Issued", "value": "2026-11-02"}],
        "notes": [],
        "currency": "KRW",
        "lines": [{**one, "discount": "", "amount": "513"}],
        "sums": [{"ko": "합계", "en": "Total", "amount": "566", "strong": True}],
        **changed,
    }


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def test_a_foreign_reader_finds_every_syllable_that_was_written() -> None:
    text = text_of(render("invoice.typ", values(), AT))
    for word in ("뷁쀍힣갂", "₩", "주식회사 솔라", "123-45-67891", "한빛", "2026-11-02", "566"):
        assert word in text


def test_the_same_values_give_the_same_bytes_and_others_do_not() -> None:
    assert render("invoice.typ", values(), AT) == render("invoice.typ", values(), AT)
    assert render("invoice.typ", values(), AT) != render("invoice.typ", values(currency="USD"), AT)


@pytest.mark.parametrize(
    "name", ["#panic()", "$x$ *b* _i_", '#read("/etc/passwd")', "<label> @ref \\ `raw`", "= heading"]
)
def test_what_a_customer_is_called_is_never_a_command(name: str) -> None:
    pdf = render("invoice.typ", values(buyer={"name": name, "facts": []}), AT)
    assert "".join(name.split()) in "".join(text_of(pdf).split())


def test_only_our_own_fonts_are_in_it_and_each_is_embedded() -> None:
    pages: Any = PdfReader(io.BytesIO(render("invoice.typ", values(), AT))).pages
    fonts = [font.get_object()["/BaseFont"] for page in pages for font in page["/Resources"]["/Font"].values()]
    assert fonts
    assert all("Pretendard" in font for font in fonts)
    assert {path.name for path in PAPER.glob("*.ttf")} == {"Pretendard-Regular.ttf", "Pretendard-Bold.ttf"}
    assert "SIL Open Font License, Version 1.1" in (PAPER / "OFL.txt").read_text(encoding="utf-8")


def test_a_long_invoice_runs_over_pages_that_are_numbered() -> None:
    line = values()["lines"][0]
    pages = PdfReader(io.BytesIO(render("invoice.typ", values(lines=[line] * 80), AT))).pages
    assert len(pages) > 2
    assert f"{len(pages)} / {len(pages)}" in pages[-1].extract_text()
    assert "Unit price" in pages[1].extract_text()


def test_values_that_miss_a_field_are_a_fault_and_no_paper() -> None:
    wanting = values()
    del wanting["lines"]
    with pytest.raises(PaperFault, match=r"invoice\.typ"):
        render("invoice.typ", wanting, AT)
