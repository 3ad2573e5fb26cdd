"""What we issue, as Stripe's requests. Pure: rows in, fields out; nothing is reckoned but the minor units.

Units: whole minor units of the currency (KRW has none: won), as Stripe counts them (docs.stripe.com/currencies, "Zero-decimal currencies",
read 2026-11). VAT is a line of its own, and Stripe reckons no tax. An invoice holds `LINES_MAX` lines at Stripe: what is beyond is one
last line, so that the sum stays ours. Errors: `NotInMinorUnits` for an amount that has a rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

from billing.money import ZERO, add, minor_unit

LINES_MAX: Final = 250
_DESCRIPTION_MAX = 500
_NAME_MAX = 250
_STREET_MAX = 200

Fields = dict[str, Any]


class NotInMinorUnits(ArithmeticError):
    """An amount that nobody could pay exactly."""


class PayingAccount(Protocol):
    """Who is to pay."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def tax_country(self) -> str | None: ...
    @property
    def tax_registration_number(self) -> str | None: ...
    @property
    def tax_details(self) -> Mapping[str, Any] | None: ...


class IssuedPaper(Protocol):
    """An issued invoice."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def month(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def tax(self) -> Decimal: ...
    @property
    def tax_reason(self) -> str | None: ...
    @property
    def total(self) -> Decimal: ...


class PaperLine(Protocol):
    """A line of it."""

    @property
    def position(self) -> int: ...
    @property
    def description(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def quantity(self) -> int: ...
    @property
    def amount(self) -> Decimal: ...


class NotePaper(Protocol):
    """A credit note."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def tax(self) -> Decimal: ...
    @property
    def tax_reason(self) -> str | None: ...
    @property
    def total(self) -> Decimal: ...


class NoteLine(Protocol):
    """A line of it: what is taken back of a line of the invoice."""

    @property
    def line(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...


def to_wire_minor(amount: Decimal, currency: str) -> int:
    """An amount in whole minor units; raises `NotInMinorUnits` rather than drop a digit."""
    units = Fraction(amount) / Fraction(minor_unit(currency))
    if units.denominator != 1:
        raise NotInMinorUnits(f"{amount} {currency} is not in whole units of {minor_unit(currency)}")
    return units.numerator


def email_of(account: PayingAccount) -> str | None:
    """Where an account's invoices are sent; None where we were not told."""
    return (account.tax_details or {}).get("email") or None


def to_wire_customer(account: PayingAccount) -> Fields:
    """A new customer. Stripe reckons no tax: where it is taxed, and its number, are there for people and papers."""
    known = {name: value for name, value in to_wire_customer_change(account).items() if value}
    return known | {"metadata": {name: value for name, value in known["metadata"].items() if value}}


def to_wire_customer_change(account: PayingAccount) -> Fields:
    """All that Stripe knows of a customer, as it is now; empty text takes away what was there (an e-mail too: stripe-node#1834)."""
    street = str((account.tax_details or {}).get("address") or "")[:_STREET_MAX]
    address = {"line1": street} | ({"country": account.tax_country} if account.tax_country else {})
    return {
        "name": account.name[:_NAME_MAX] or account.id,
        "email": email_of(account) or "",
        "address": address if street else "",
        "metadata": {"solar_account": account.id, "solar_registration_number": account.tax_registration_number or ""},
    }


def to_wire_invoice(paper: IssuedPaper, customer: str, *, by_mail: bool, days_until_due: int) -> Fields:
    """The head of an invoice: a draft that Stripe leaves alone until its lines are there. By mail where we know an address."""
    how: Fields = {"collection_method": "charge_automatically"}
    if by_mail:
        how = {"collection_method": "send_invoice", "days_until_due": days_until_due}
    return {
        "customer": customer,
        "currency": paper.currency.lower(),
        "number": paper.number,
        "auto_advance": False,
        "automatic_tax": {"enabled": False},
        "pending_invoice_items_behavior": "exclude",
        "description": f"{paper.month}",
        "metadata": {"solar_invoice": paper.id, "solar_account": paper.account_id, "solar_month": paper.month},
        **how,
    }


def to_wire_lines(paper: IssuedPaper, lines: Sequence[PaperLine]) -> list[Fields]:
    """All lines, the VAT last, of which the amounts sum to the invoice's total."""
    room = LINES_MAX - (1 if paper.tax_reason else 0)
    shown, rest = (lines, lines[:0]) if len(lines) <= room else (lines[: room - 1], lines[room - 1 :])
    wire = [_line(paper.currency, line.amount, line.description, _about(line)) for line in shown]
    if rest:
        amount = add(line.amount for line in rest)
        about = {"solar_line": f"{rest[0].position}-{rest[-1].position}"}
        wire.append(_line(paper.currency, amount, f"{len(rest)} further lines, see the statement", about))
    if paper.tax_reason:
        wire.append(_line(paper.currency, paper.tax, paper.tax_reason, {"solar_line": "tax"}))
    return wire


def _about(line: PaperLine) -> dict[str, str]:
    return {
        "solar_line": str(line.position),
        "solar_model": line.model,
        "solar_kind": line.kind,
        "solar_quantity": str(line.quantity),
    }


def _line(currency: str, amount: Decimal, description: str, about: dict[str, str]) -> Fields:
    return {
        "amount": to_wire_minor(amount, currency),
        "description": description[:_DESCRIPTION_MAX],
        "discountable": False,
        "metadata": about,
    }


def to_wire_credit_note(
    note: NotePaper, lines: Sequence[NoteLine], reason: str, invoice: str, *, back: int, is_paid_by_card: bool
) -> Fields:
    """A credit note. `back` is what the customer had paid already: to the card it came from, else to its balance at Stripe."""
    wire = [_credit(note.currency, line.amount, f"line {line.line}: {line.model}") for line in lines if line.amount]
    if note.tax != ZERO:
        wire.append(_credit(note.currency, note.tax, note.tax_reason or "VAT"))
    fields: Fields = {
        "invoice": invoice,
        "lines": wire,
        "memo": f"{note.number}: {reason}"[:_DESCRIPTION_MAX],
        "metadata": {"solar_credit_note": note.id, "solar_account": note.account_id},
    }
    if back:
        fields["refund_amount" if is_paid_by_card else "credit_amount"] = back
    return fields


def _credit(currency: str, amount: Decimal, description: str) -> Fields:
    return {
        "type": "custom_line_item",
        "description": description[:_DESCRIPTION_MAX],
        "quantity": 1,
        "unit_amount": to_wire_minor(amount, currency),
    }


def credited_after_payment(total: int, remaining: int) -> int:
    """What of a credit, in minor units, concerns money that was paid already; the rest lessens what is still to be paid."""
    return max(0, total - max(0, remaining))


def to_wire_transfer(payout_id: str, account_id: str, month: str, amount: Decimal, currency: str, to: str) -> Fields:
    return {
        "amount": to_wire_minor(amount, currency),
        "currency": currency.lower(),
        "destination": to,
        "transfer_group": payout_id,
        "metadata": {"solar_payout": payout_id, "solar_account": account_id, "solar_month": month},
    }


def to_wire_checkout(
    top_up_id: str, account_id: str, amount: Decimal, currency: str, customer: str, return_url: str
) -> Fields:
    about = {"solar_top_up": top_up_id, "solar_account": account_id}
    price = {
        "currency": currency.lower(),
        "unit_amount": to_wire_minor(amount, currency),
        "product_data": {"name": "SOLAR API, prepaid balance"},
    }
    return {
        "mode": "payment",
        "customer": customer,
        "client_reference_id": top_up_id,
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": return_url,
        "metadata": about,
        "payment_intent_data": {"metadata": about},
    }


def to_wire_meter_event(event_name: str, identifier: str, customer: str, value: int, at: datetime) -> Fields:
    """Usage as a whole number; `identifier` is ours, so that Stripe refuses it the second time."""
    return {
        "event_name": event_name,
        "identifier": identifier,
        "timestamp": int(at.timestamp()),
        "payload": {"stripe_customer_id": customer, "value": str(value)},
    }
