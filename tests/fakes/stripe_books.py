"""What the fake Stripe knows and holds to be right: its objects, and the rules between them, as its documentation states them.

Customers, invoices (draft → open → paid | void), credit notes, refunds, payments, disputes, checkout sessions, meter events, transfers.
Money is whole minor units; times are Unix seconds of a clock that the test may move. Refusals are `Refused`.
Source: docs.stripe.com/api at version 2026-10-28 (invoices, credit_notes, checkout/sessions, billing/meter-event, transfers), read 2026-11.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

Object = dict[str, Any]
LINES_MAX = 250
METER_PAST_S, METER_FUTURE_S = 35 * 86_400, 300


class Refused(Exception):
    """A request that the rules do not allow."""

    def __init__(self, message: str, *, code: str = "", param: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.status = message, code, param, status


class Books:
    """All objects of one Stripe account, oldest first."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.meter_events: dict[str, Object] = {}
        self.meters = [
            {"id": "mtr_1", "object": "billing.meter", "event_name": "solar_cost_nano_usd", "status": "active"}
        ]
        self.accounts = {"acct_1", "acct_2"}
        self.clock_offset_s = 0
        self._numbers = itertools.count(1)

    def now_s(self) -> int:
        return int(time.time()) + self.clock_offset_s

    # ---- looking -------------------------------------------------------------------------------------------------------------

    def all(self, kind: str, **where: Any) -> list[Object]:
        """Objects of a kind with these values, oldest first."""
        return [
            found
            for found in self.objects.values()
            if found["object"] == kind and all(found.get(name) == value for name, value in where.items())
        ]

    def one(self, kind: str, name: str | None) -> Object:
        found = self.objects.get(name or "")
        if found is None or found["object"] != kind:
            raise Refused(f"No such {kind}: '{name}'", code="resource_missing", param=kind, status=404)
        return found

    def lines_of(self, invoice: str) -> list[Object]:
        return self.all("line_item", invoice=invoice)

    def _new(self, kind: str, prefix: str, **fields: Any) -> Object:
        made = {
            "id": f"{prefix}_{next(self._numbers):06d}",
            "object": kind,
            "created": self.now_s(),
            "livemode": False,
            **fields,
        }
        made.setdefault("metadata", {})
        self.objects[made["id"]] = made
        return made

    def tell(self, kind: str, thing: Object, **more: Any) -> Object:
        """An event about an object, as it is now."""
        event = {
            "id": f"evt_{next(self._numbers):06d}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": self.now_s(),
            "livemode": False,
            "type": kind,
            "data": {"object": {**thing, **more}},
        }
        self.events.append(event)
        return event

    # ---- customers and invoices ----------------------------------------------------------------------------------------------

    def create_customer(self, form: Object) -> Object:
        return self._new("customer", "cus", **form)

    def change_customer(self, name: str, form: Object) -> Object:
        """What is empty is taken away; of the metadata each name for itself."""
        customer = self.one("customer", name)
        marks = {**customer.get("metadata", {}), **form.get("metadata", {})}
        customer |= {field: value or None for field, value in form.items()}
        customer["metadata"] = {field: value for field, value in marks.items() if value}
        return customer

    def create_invoice(self, form: Object) -> Object:
        customer = self.one("customer", form.get("customer"))
        method = form.get("collection_method", "charge_automatically")
        if method == "send_invoice" and not customer.get("email"):
            raise Refused(
                "Missing email. The customer must have a valid email.", code="missing_email", param="customer"
            )
        if (method == "send_invoice") != ("days_until_due" in form or "due_date" in form):
            raise Refused("days_until_due goes with send_invoice, and only with it", param="days_until_due")
        if "number" in form and self.all("invoice", number=form["number"]):
            raise Refused("Invoice number is in use", code="invoice_number_in_use", param="number")
        amounts = dict.fromkeys(("subtotal", "total", "amount_due", "amount_paid", "amount_remaining"), 0)
        made = {
            "status": "draft",
            "currency": "usd",
            "collection_method": method,
            "post_payment_credit_notes_amount": 0,
        }
        return self._new("invoice", "in", **{**made, **amounts, **form})

    def add_lines(self, name: str, form: Object) -> Object:
        invoice = self._draft(name)
        if len(self.lines_of(name)) + len(form["lines"]) > LINES_MAX:
            raise Refused(f"An invoice has at most {LINES_MAX} lines", code="invoice_too_many_lines", param="lines")
        for line in form["lines"]:
            if "amount" not in line:
                raise Refused("A line needs an amount", code="parameter_missing", param="lines[amount]")
        for line in form["lines"]:
            self._new("line_item", "il", **{**line, "invoice": name, "currency": invoice["currency"]})
        invoice["subtotal"] = invoice["total"] = sum(line["amount"] for line in self.lines_of(name))
        invoice["amount_due"] = invoice["amount_remaining"] = max(0, invoice["total"])
        return invoice

    def finalize_invoice(self, name: str, form: Object) -> Object:
        invoice = self._draft(name)
        invoice["status"] = "open" if invoice["amount_due"] else "paid"
        invoice["hosted_invoice_url"] = f"https://invoice.stripe.test/{name}"
        invoice.setdefault("number", f"AUTO-{name}")
        invoice["due_date"] = self.now_s() + invoice.get("days_until_due", 0) * 86_400
        self.tell("invoice.finalized", invoice)
        if invoice["status"] == "paid":
            self.tell("invoice.paid", invoice)
        return invoice

    def send_invoice(self, name: str, form: Object) -> Object:
        invoice = self.one("invoice", name)
        if invoice["status"] not in ("open", "paid") or invoice["collection_method"] != "send_invoice":
            raise Refused("You can only manually send an invoice if its collection method is 'send_invoice'")
        invoice["times_sent"] = invoice.get("times_sent", 0) + 1
        self.tell("invoice.sent", invoice)
        return invoice

    def void_invoice(self, name: str, form: Object) -> Object:
        invoice = self.one("invoice", name)
        if invoice["status"] not in ("open", "uncollectible"):
            raise Refused(
                f"You can only void an open invoice, this one is {invoice['status']}", code="invoice_not_open"
            )
        invoice["status"], invoice["amount_remaining"] = "void", 0
        self.tell("invoice.voided", invoice)
        return invoice

    def _draft(self, name: str) -> Object:
        invoice = self.one("invoice", name)
        if invoice["status"] != "draft":
            raise Refused(
                f"This invoice is {invoice['status']} and can no longer be edited", code="invoice_not_editable"
            )
        return invoice

    # ---- what customers and banks do -----------------------------------------------------------------------------------------

    def pay(self, name: str) -> Object:
        """The customer pays the rest of an invoice; returns the event `invoice.paid`."""
        invoice = self.one("invoice", name)
        intent = self._new("payment_intent", "pi", amount=invoice["amount_remaining"], customer=invoice["customer"])
        paid = {"invoice": name, "status": "paid", "amount_paid": intent["amount"], "currency": invoice["currency"]}
        payment = self._new(
            "invoice_payment", "inpay", payment={"type": "payment_intent", "payment_intent": intent["id"]}, **paid
        )
        invoice |= {"status": "paid", "amount_paid": invoice["amount_paid"] + intent["amount"], "amount_remaining": 0}
        self.tell("invoice_payment.paid", payment)
        return self.tell("invoice.paid", invoice)

    def fail(self, name: str) -> Object:
        """The card of an invoice is refused."""
        return self.tell("invoice.payment_failed", self.one("invoice", name))

    def dispute(self, intent: str, status: str = "needs_response") -> Object:
        """The bank takes a payment back (or says how that ended): an event."""
        standing = self.all("dispute", payment_intent=intent)
        dispute = standing[0] if standing else self._new("dispute", "dp", payment_intent=intent, reason="fraudulent")
        dispute["status"] = status
        kind = "charge.dispute.created" if not standing else "charge.dispute.updated"
        return self.tell("charge.dispute.closed" if status in ("won", "lost") else kind, dispute)

    def complete(self, session: str, *, paid: bool = True) -> Object:
        """The customer goes through with a checkout; without `paid` the money comes later, or not."""
        checkout = self.one("checkout.session", session)
        intent = self._new("payment_intent", "pi", amount=checkout["amount_total"], customer=checkout.get("customer"))
        checkout |= {
            "status": "complete",
            "payment_status": "paid" if paid else "unpaid",
            "payment_intent": intent["id"],
        }
        return self.tell("checkout.session.completed", checkout)

    # ---- credit notes and refunds --------------------------------------------------------------------------------------------

    def create_credit_note(self, form: Object) -> Object:
        invoice = self.one("invoice", form["invoice"])
        if invoice["status"] not in ("open", "paid"):
            raise Refused("Credit notes are for open and paid invoices", code="invoice_not_open", param="invoice")
        lines = form.get("lines", [])
        total = sum(line["amount"] if "amount" in line else line["unit_amount"] * line["quantity"] for line in lines)
        credited = sum(note["total"] for note in self.all("credit_note", invoice=invoice["id"]))
        if total <= 0 or credited + total > invoice["total"]:
            raise Refused("The credit note is more than the invoice", code="credit_note_too_large", param="lines")
        after = max(0, total - invoice["amount_remaining"])
        given = {name: form.get(name, 0) for name in ("refund_amount", "credit_amount", "out_of_band_amount")}
        if sum(given.values()) != after:
            raise Refused(
                f"The sum of credit, refund and out of band must be the {after} paid after", param="refund_amount"
            )
        payments = self.all("invoice_payment", invoice=invoice["id"])
        if given["refund_amount"] and not payments:
            raise Refused("There is no payment to refund", param="refund_amount")
        invoice["amount_remaining"] -= total - after
        invoice["post_payment_credit_notes_amount"] += after
        if invoice["status"] == "open" and not invoice["amount_remaining"]:
            invoice["status"] = "paid"
            self.tell("invoice.paid", invoice)
        made = {
            "invoice": invoice["id"],
            "customer": invoice["customer"],
            "currency": invoice["currency"],
            "total": total,
        }
        note = self._new("credit_note", "cn", **{**form, **made, "lines": lines, "status": "issued"})
        if given["refund_amount"]:
            intent = payments[0]["payment"]["payment_intent"]
            refund = self.create_refund({"payment_intent": intent, "amount": given["refund_amount"]})
            note["refunds"] = [{"refund": refund["id"], "amount_refunded": refund["amount"]}]
        return note

    def create_refund(self, form: Object) -> Object:
        intent = self.one("payment_intent", form.get("payment_intent"))
        refunded = sum(refund["amount"] for refund in self.all("refund", payment_intent=intent["id"]))
        amount = form.get("amount", intent["amount"] - refunded)
        if amount <= 0 or refunded + amount > intent["amount"]:
            raise Refused(
                "Refund amount is greater than the unrefunded amount", code="charge_already_refunded", param="amount"
            )
        return self._new("refund", "re", **{**form, "amount": amount, "status": "succeeded"})

    # ---- checkout, meters, transfers -----------------------------------------------------------------------------------------

    def create_checkout(self, form: Object) -> Object:
        if form.get("mode") != "payment" or not form.get("line_items") or "success_url" not in form:
            raise Refused(
                "A hosted payment needs line_items and success_url", code="parameter_missing", param="line_items"
            )
        if "customer" in form:
            self.one("customer", form["customer"])
        total = sum(item["price_data"]["unit_amount"] * item["quantity"] for item in form["line_items"])
        currency = form["line_items"][0]["price_data"]["currency"]
        made = {"amount_total": total, "currency": currency, "status": "open", "payment_status": "unpaid"}
        made["expires_at"] = self.now_s() + 86_400
        session = self._new("checkout.session", "cs_test", **{**form, **made})
        session["url"] = f"https://checkout.stripe.test/{session['id']}"
        return session

    def create_meter_event(self, form: Object) -> Object:
        if form["event_name"] not in {meter["event_name"] for meter in self.meters}:
            raise Refused("No active meter with this event name", code="billing_meter_no_meter", param="event_name")
        customer, value = form["payload"].get("stripe_customer_id"), form["payload"].get("value", "")
        self.one("customer", customer)
        if not value.removeprefix("-").isdigit():
            raise Refused("value must be a whole number", code="billing_meter_invalid_value", param="payload[value]")
        at_s = form.get("timestamp", self.now_s())
        if not self.now_s() - METER_PAST_S <= at_s <= self.now_s() + METER_FUTURE_S:
            raise Refused("timestamp is not within the window", code="timestamp_too_far", param="timestamp")
        identifier = form.get("identifier") or f"auto-{next(self._numbers)}"
        before = self.meter_events.get(identifier)
        if before is not None and before["created"] > self.now_s() - 86_400:
            raise Refused(f"An event already exists with identifier {identifier}.", code="resource_already_exists")
        made = {"object": "billing.meter_event", "created": self.now_s(), "identifier": identifier, "timestamp": at_s}
        self.meter_events[identifier if before is None else f"{identifier} again"] = event = {**form, **made}
        return event

    def meter_sum(self, customer: str, start_s: int, end_s: int) -> int:
        return sum(
            int(event["payload"]["value"])
            for event in self.meter_events.values()
            if event["payload"]["stripe_customer_id"] == customer and start_s <= event["timestamp"] < end_s
        )

    def create_transfer(self, form: Object) -> Object:
        if form["destination"] not in self.accounts:
            raise Refused("No such destination", code="resource_missing", param="destination")
        if form.get("amount", 0) <= 0:
            raise Refused("A transfer needs an amount", code="parameter_missing", param="amount")
        return self._new("transfer", "tr", **{**form, "amount_reversed": 0})

    def reverse_transfer(self, name: str, form: Object) -> Object:
        transfer = self.one("transfer", name)
        left = transfer["amount"] - transfer["amount_reversed"]
        amount = form.get("amount", left)
        if not 0 < amount <= left:
            raise Refused("More than is left of the transfer", code="transfer_already_reversed", param="amount")
        transfer["amount_reversed"] += amount
        return self._new("transfer_reversal", "trr", **{**form, "amount": amount, "transfer": name})
