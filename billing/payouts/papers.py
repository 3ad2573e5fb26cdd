"""What a share comes to in a payee's hands: currency, tax paper, VAT, withholding. Pure.

Units: `usd` whole cents of a statement; everything else whole minor units of the payee's currency. A won amount is the USD × the rate
that is printed beside it, rounded once (half up, as an invoice line). Taxes are cut, never rounded up.
The rules are data (`PAPERS`), by kind and country of the payee:
- A Korean business sends us a tax invoice (세금계산서): VAT of 10 % comes on top of its share (Value-Added Tax Act, articles 29 to 32).
- A Korean resident individual: 3 % income tax of the amount is withheld (Income Tax Act, article 129 (1) 3, as amended up to
  2024-12-31, read 2026-11 at lawgram.cc/소득세법/제129조), and 10 % of that as local income tax (Local Tax Act, article 103-13): 3.3 %
  in all; each cut to 10 won (Management of the National Funds Act, article 47). Whether a share is business income of a partner is
  for its contract and finance to say: the table is configuration.
- For everyone else no rule is known here: treaties differ, and a wrong guess would be ours to pay. Such a payee is left out of a
  payment run, by name, until finance adds a rule.
Errors: `NoPaperRule`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.money import ZERO, add, cut_tax, multiply, round_line, subtract

BASE_CURRENCY = "USD"
KINDS = ("business", "individual")


class NoPaperRule(LookupError):
    """It is not known which papers this kind of payee needs."""

    def __init__(self, kind: str, country: str) -> None:
        super().__init__(f"no tax paper rule for payees of kind {kind} in {country}")
        self.kind, self.country = kind, country


@dataclass(frozen=True, slots=True)
class Withholding:
    """A tax kept back: `ratio` of the amount, or of the tax named by `of`; cut to whole `cut_to` of a currency (else its minor unit)."""

    name: str
    ratio: Decimal
    of: str | None = None
    cut_to: tuple[tuple[str, Decimal], ...] = (("KRW", Decimal(10)),)


@dataclass(frozen=True, slots=True)
class PaperRule:
    """Which paper a payout needs, what VAT comes on top, and what is withheld."""

    paper: str
    vat_ratio: Decimal = ZERO
    withholdings: tuple[Withholding, ...] = ()


PAPERS: Mapping[tuple[str, str], PaperRule] = {
    ("business", "KR"): PaperRule("tax_invoice", vat_ratio=Decimal("0.10")),
    ("individual", "KR"): PaperRule(
        "withholding_receipt",
        withholdings=(
            Withholding("income_tax", Decimal("0.03")),
            Withholding("local_income_tax", Decimal("0.10"), of="income_tax"),
        ),
    ),
}


class Withheld(NamedTuple):
    """One tax that was kept back."""

    name: str
    ratio: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Reckoned:
    """A share in its payee's hands: `payable` = `amount` + `vat` − Σ `withheld`."""

    amount: Decimal
    vat: Decimal
    withheld: Sequence[Withheld]
    payable: Decimal
    tax_paper: str


def reckon(
    usd: Decimal,
    kind: str,
    country: str,
    currency: str,
    fx_rate: Decimal | None,
    papers: Mapping[tuple[str, str], PaperRule] = PAPERS,
) -> Reckoned:
    """What is paid for a share of so many USD; `fx_rate` is None for a payee that is paid in USD."""
    rule = papers.get((kind, country))
    if rule is None:
        raise NoPaperRule(kind, country)
    amount = usd if fx_rate is None else round_line(multiply(usd, fx_rate), currency)
    vat = cut_tax(multiply(amount, rule.vat_ratio), currency)
    withheld: list[Withheld] = []
    for tax in rule.withholdings:
        base = amount if tax.of is None else next(each.amount for each in withheld if each.name == tax.of)
        withheld.append(Withheld(tax.name, tax.ratio, _cut(multiply(base, tax.ratio), currency, tax)))
    kept = add(each.amount for each in withheld)
    return Reckoned(amount, vat, tuple(withheld), subtract(add([amount, vat]), kept), rule.paper)


def _cut(exact: Decimal, currency: str, tax: Withholding) -> Decimal:
    unit = dict(tax.cut_to).get(currency)
    if unit is None:
        return cut_tax(exact, currency)
    return multiply(math.floor(Fraction(exact) / Fraction(unit)), unit)
