"""VAT by rule."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.invoice.tax import tax_on


@pytest.mark.parametrize(
    ("subtotal", "currency", "tax"),
    [
        ("100.00", "USD", "10.00"),
        ("0.19", "USD", "0.01"),
        ("0.09", "USD", "0.00"),
        ("515", "KRW", "51"),
        ("0", "KRW", "0"),
    ],
)
def test_korean_tax_is_a_tenth_cut_to_the_minor_unit(subtotal: str, currency: str, tax: str) -> None:
    assert tax_on(Decimal(subtotal), currency, "KR").amount == Decimal(tax)
    assert tax_on(Decimal(subtotal), currency, "kr").reason == "VAT 10 % (Korea)"


def test_a_foreign_customer_is_zero_rated_with_the_reason() -> None:
    tax = tax_on(Decimal("100.00"), "USD", "JP")
    assert (tax.amount, tax.reason) == (Decimal(0), "VAT 0 %: zero-rated, supplied outside Korea (JP)")


def test_a_customer_without_tax_data_has_no_tax_line() -> None:
    tax = tax_on(Decimal("100.00"), "USD", None)
    assert (tax.amount, tax.reason) == (Decimal(0), None)
