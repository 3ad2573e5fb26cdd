"""What an account's month comes to on paper. Pure.

Units: `exact_usd` is exact USD; `exact_amount` exact in the invoice's currency; `amount`, `subtotal`, `tax` and `total` whole
minor units of it. A KRW line is its exact USD × the rate of the month's last day, rounded once (half up); late calls of an
earlier month are converted at that same rate, because one invoice prints one rate.
Errors: `LedgerDisagrees` where the lines do not sum to what the ledger says; `RateNeeded` for a foreign currency without a rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from billing.invoice.tax import tax_on
from billing.money import add, multiply, round_line, to_wire_decimal
from billing.rating.rate import Booked, RatedLine, rate

BASE_CURRENCY = "USD"
_KIND_NAMES = {
    "input": "input tokens",
    "cached_input": "cached input tokens",
    "output": "output tokens",
    "standard": "pages, standard",
    "enhanced": "pages, enhanced",
}


class LedgerDisagrees(ArithmeticError):
    """The lines of an invoice do not sum to what the ledger says the month cost; nothing is issued."""

    def __init__(self, account_id: str, month: str, lines_usd: Decimal, ledger_usd: Decimal) -> None:
        super().__init__(f"{account_id} {month}: the lines come to {lines_usd} USD, the ledger to {ledger_usd} USD")
        self.account_id, self.month, self.lines_usd, self.ledger_usd = account_id, month, lines_usd, ledger_usd


class RateNeeded(ValueError):
    """An account pays in a currency for which no rate was given."""

    def __init__(self, account_id: str, currency: str) -> None:
        super().__init__(f"{account_id} pays in {currency}: its invoice needs a USD/{currency} rate")
        self.account_id, self.currency = account_id, currency


@dataclass(frozen=True, slots=True)
class Payer:
    """Whom an invoice is for."""

    account_id: str
    currency: str = BASE_CURRENCY
    tax_country: str | None = None
    name: str | None = None
    tax_registration_number: str | None = None
    details: Mapping[str, Any] | None = None


class FxQuote(NamedTuple):
    """How many units of the payer's currency one USD is, and the day of that rate."""

    day: date
    rate: Decimal


@dataclass(frozen=True, slots=True)
class DraftLine:
    """One line of an invoice."""

    position: int
    description: str
    model: str
    kind: str
    quantity: int
    unit_price: Decimal
    discount: Decimal
    exact_amount: Decimal
    amount: Decimal
    exact_usd: Decimal
    card_id: str
    billing_month: str
    granted: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice before it has a number. Its first five names are those of an issued one, so that both print alike."""

    id: ClassVar[None] = None
    number: ClassVar[None] = None
    status: ClassVar[str] = "draft"
    issued_at: ClassVar[datetime | None] = None
    proof_root: ClassVar[str | None] = None

    account_id: str
    month: str
    currency: str
    lines: tuple[DraftLine, ...]
    grants_used: int
    subtotal: Decimal
    tax: Decimal
    tax_reason: str | None
    total: Decimal
    fx_rate: Decimal | None
    fx_day: date | None
    payer_name: str | None = None
    tax_country: str | None = None
    tax_registration_number: str | None = None
    payer_details: Mapping[str, Any] | None = None


def draft_invoice(
    payer: Payer, month: str, booked: Sequence[Booked], ledger_usd: Decimal, fx: FxQuote | None
) -> Draft | None:
    """The invoice of a month, or None where nothing was used. `ledger_usd` is the ledger's own sum, for the proof."""
    rated = sorted(rate(booked), key=lambda line: _lateness(line, month))
    lines_usd = add(line.exact_usd for line in rated)
    if lines_usd != ledger_usd:
        raise LedgerDisagrees(payer.account_id, month, lines_usd, ledger_usd)
    if not rated:
        return None
    quote = _quote(payer, fx)
    lines = tuple(_line(i, line, month, payer.currency, quote) for i, line in enumerate(rated))
    subtotal = add(line.amount for line in lines)
    tax = tax_on(subtotal, payer.currency, payer.tax_country)
    return Draft(
        account_id=payer.account_id,
        month=month,
        currency=payer.currency,
        lines=lines,
        grants_used=sum(line.quantity for line in lines if line.granted),
        subtotal=subtotal,
        tax=tax.amount,
        tax_reason=tax.reason,
        total=add([subtotal, tax.amount]),
        fx_rate=quote.rate if quote else None,
        fx_day=quote.day if quote else None,
        payer_name=payer.name,
        tax_country=payer.tax_country,
        tax_registration_number=payer.tax_registration_number,
        payer_details=payer.details,
    )


def _quote(payer: Payer, fx: FxQuote | None) -> FxQuote | None:
    if payer.currency == BASE_CURRENCY:
        return None
    if fx is None:
        raise RateNeeded(payer.account_id, payer.currency)
    return fx


def _line(position: int, line: RatedLine, month: str, currency: str, fx: FxQuote | None) -> DraftLine:
    exact = multiply(line.exact_usd, fx.rate) if fx else line.exact_usd
    return DraftLine(
        position=position,
        description=_describe(line, month),
        model=line.model,
        kind=line.kind,
        quantity=line.quantity,
        unit_price=line.unit_price,
        discount=line.discount,
        exact_amount=exact,
        amount=round_line(exact, currency),
        exact_usd=line.exact_usd,
        card_id=line.card_id,
        billing_month=line.billing_month,
        granted=line.granted,
    )


def _describe(line: RatedLine, month: str) -> str:
    parts = [f"{line.model}, {_KIND_NAMES[line.kind]}"]
    if line.granted:
        parts.append("covered by granted tokens")
    elif line.discount:
        parts.append(f"discount {to_wire_decimal(multiply(line.discount, 100))} %")
    if line.billing_month != month:
        parts.append(f"calls of {line.billing_month} that came after its close")
    return "; ".join(parts)


def _lateness(line: RatedLine, month: str) -> bool:
    """This month's lines come first, then those of earlier months, oldest first (sorting is stable)."""
    return line.billing_month != month
