"""What an event of Stripe's says, in our words. Pure.

An event is read for the facts in it that we act on; what else Stripe tells is kept and left alone. Times are the event's own.
Source: docs.stripe.com/api/events/types at version 2026-10-28, read 2026-11. Errors: `ValueError` for an event that cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

_UNPAID = {
    "invoice.payment_failed": "payment failed",
    "invoice.overdue": "overdue",
    "invoice.marked_uncollectible": "uncollectible",
}
_DISPUTE = {"won": "won", "lost": "lost", "warning_closed": "won", "prevented": "won"}
_CHECKOUT = {"checkout.session.expired": "expired", "checkout.session.async_payment_failed": "failed"}
_STATUSES = ("open", "uncollectible", "paid", "void")


@dataclass(frozen=True, slots=True)
class InvoiceFact:
    """An invoice of ours is open, paid, void, or was not paid when it should have been (`unpaid_since`, `why`)."""

    invoice_id: str
    status: str
    unpaid_since: datetime | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentFact:
    """Which payment paid an invoice, both by Stripe's names: disputes name only the payment."""

    stripe_invoice: str
    payment: str


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """A bank takes a payment back (`open`), or that has ended (`won`: the money stays ours; `lost`)."""

    dispute_id: str
    payment: str
    status: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class CheckoutFact:
    """A top-up is paid, expired or failed. `amount` in minor units."""

    top_up_id: str
    status: str
    payment: str
    amount: int
    currency: str


Fact: TypeAlias = InvoiceFact | PaymentFact | DisputeFact | CheckoutFact


def from_wire_event(event: Mapping[str, Any]) -> Fact | None:
    """The fact in an event; None where it holds none that concerns us."""
    try:
        kind, thing = str(event["type"]), event["data"]["object"]
        if kind.startswith("invoice."):
            return _invoice(kind, thing, _instant(event["created"]))
        if kind == "invoice_payment.paid":
            payment = thing["payment"].get("payment_intent")
            return PaymentFact(_id(thing["invoice"]), _id(payment)) if payment else None
        if kind.startswith("charge.dispute."):
            payment = thing.get("payment_intent")
            status = _DISPUTE.get(thing["status"], "open")
            return DisputeFact(thing["id"], _id(payment), status, _instant(thing["created"])) if payment else None
        if kind.startswith("checkout.session."):
            return _checkout(kind, thing)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"an event that cannot be read: {type(error).__name__}") from None
    return None


def _invoice(kind: str, thing: Mapping[str, Any], at: datetime) -> InvoiceFact | None:
    name = (thing.get("metadata") or {}).get("solar_invoice")
    if not name or thing["status"] not in _STATUSES:
        return None
    why = _UNPAID.get(kind)
    return InvoiceFact(str(name), thing["status"], at if why else None, why)


def _checkout(kind: str, thing: Mapping[str, Any]) -> CheckoutFact | None:
    name = (thing.get("metadata") or {}).get("solar_top_up")
    if not name:
        return None
    status = "paid" if thing["payment_status"] == "paid" else _CHECKOUT.get(kind, "")
    if not status:
        return None  # gone through, and the money is on its way
    return CheckoutFact(
        str(name), status, _id(thing.get("payment_intent") or ""), int(thing["amount_total"]), thing["currency"].upper()
    )


def _id(thing: Any) -> str:
    """A reference is a name, or the thing itself where it was expanded."""
    return str(thing["id"] if isinstance(thing, Mapping) else thing)


def _instant(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
