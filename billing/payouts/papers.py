"""What a share comes to in a payee's hands: currency, tax paper, VAT, withholding. Pure.

Units: `usd` whole cents of a statement; everything else whole minor units of the payee's currency. A won amount is the USD × the rate
that is printed beside it, rounded once (half up, as an invoice line). Taxes are cut, never rounded up.
The rules are data (`PAPERS`), by kind and country of the payee, each from a day on and with its source; the day of the payout decides. A
new rate is a new rule beside the old one: what was paid before stays as it was, and an earlier day has its own rule or none.
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
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.money import ZERO, add, cut_tax, multiply, round_line, subtract

BASE_CURRENCY = "USD"
KINDS = ("business", "individual")


class NoPaperRule(LookupError):
    """It is not known which papers this kind of payee needs on that day."""

    def __init__(self, kind: str, country: str, day: date) -> None:
        super().__init__(f"no tax paper rule for payees of kind {kind} in {country} on {day}")
        self.kind, self.country, self.day = kind, country, day


@dataclass(frozen=True, slots=True)
class Withholding:
    """A tax kept back: `ratio` of the amount, or of the tax named by `of`; cut to whole `cut_to` of a currency (else its minor unit)."""

    name: str
    ratio: Decimal
    of: str | None = None
    cut_to: tuple[tuple[str, Decimal], ...] = (("KRW", Decimal(10)),)


@dataclass(frozen=True, slots=True)
class PaperRule:
    """Which paper a payout needs, what VAT comes on top, and what is withheld: from a day on."""

    paper: str
    since: date
    source: str
    vat_ratio: Decimal = ZERO
    withholdings: tuple[Withholding, ...] = ()


PaperRules = Mapping[tuple[str, str], tuple[PaperRule, ...]]
"""By kind and country, in any order."""

PAPERS: PaperRules = {
    ("business", "KR"): (
        PaperRule(
            "tax_invoice",
            date(2013, 7, 1),
            "Value-Added Tax Act as wholly amended (Act No. 11873), articles 29 to 32; read 2026-11",
            vat_ratio=Decimal("0.10"),
        ),
    ),
    ("individual", "KR"): (
        PaperRule(
            "withholding_receipt",
            date(2025, 1, 1),
            "Income Tax Act, article 129 (1) 3, as amended up to 2024-12-31; Local Tax Act, article 103-13; read 2026-11",
            withholdings=(
                Withholding("income_tax", Decimal("0.03")),
                Withholding("local_income_tax", Decimal("0.10"), of="income_tax"),
            ),
        ),
    ),
}


def rule_on(kind: str, country: str, day: date, papers: PaperRules = PAPERS) -> PaperRule:
    """The newest rule that is in force on a day; raises `NoPaperRule`."""
    in_force = [rule for rule in papers.get((kind, country), ()) if rule.since <= day]
    if not in_force:
        raise NoPaperRule(kind, country, day)
    return max(in_force, key=lambda rule: rule.since)


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
    day: date,
    papers: PaperRules = PAPERS,
) -> Reckoned:
    """What is paid for a share of so many USD on a day; `fx_rate` is None for a payee that is paid in USD."""
    rule = rule_on(kind, country, day, papers)
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
