"""VAT by rule. Pure.

Units: amounts in the invoice's currency; the rate is a ratio. The tax is reckoned once, on the subtotal, and cut to the minor
unit in the customer's favour (`money.cut_tax`).
Sources: Korean Value-Added Tax Act, article 30 (rate of 10 %) and articles 21 to 24 (zero rate for what is supplied
abroad), as of November 2026. An account without tax data has no VAT line at all (design.md section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing.money import ZERO, cut_tax, multiply

KOREA = "KR"
KOREA_RATE = Decimal("0.10")


@dataclass(frozen=True, slots=True)
class Tax:
    """The tax on an invoice; `reason` is None where the invoice has no VAT line."""

    amount: Decimal
    reason: str | None = None


def tax_on(subtotal: Decimal, currency: str, country: str | None) -> Tax:
    """The tax on a subtotal for a customer in a country (ISO 3166 alpha-2)."""
    if country is None:
        return Tax(ZERO)
    if country.upper() == KOREA:
        return Tax(cut_tax(multiply(subtotal, KOREA_RATE), currency), "VAT 10 % (Korea)")
    return Tax(ZERO, f"VAT 0 %: zero-rated, supplied outside Korea ({country.upper()})")
