"""Sends one task of the outbox: which requests it takes, in which order, and how to find again what they made.

Errors: `Netted` where nothing is to be sent any more; `NotYet` where something else has to be there first; `TotalsDiffer` where Stripe
reckons another sum than we do, which no customer is ever shown; what `stripe_client` raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from billing.accounts.store import get as get_account
from billing.collect import customer_store, meter_store, shapes, store, top_up_store
from billing.collect.steps import Steps
from billing.collect.tables import StripeTask
from billing.database import Sessions
from billing.invoice.read import get_credit, get_invoice
from billing.payouts.read import get_payout, is_taken_back, payees_named
from billing.stripe_client import Object, Stripe, StripeRefused

CUSTOMER_LOOK_BACK_S = 2 * 86_400
_EXISTS = "already exists with identifier"


class NotYet(Exception):
    """What this task builds on is not at Stripe yet."""


class Netted(Exception):
    """Nothing is to be sent any more: what would be sent was taken back before, or what is taken back was never sent."""


class TotalsDiffer(Exception):
    """Stripe's sum is not ours: an operator has to look before anything else happens."""


class Sender:
    """Sends tasks, one at a time each."""

    def __init__(
        self,
        stripe: Stripe,
        sessions: Sessions,
        now: Callable[[], datetime],
        *,
        days_until_due: int,
        return_url: str,
        meter_event_name: str,
    ) -> None:
        self._stripe = stripe
        self._sessions = sessions
        self._now = now
        self._days_until_due = days_until_due
        self._return_url = return_url
        self._meter_event_name = meter_event_name
        self._kinds: Mapping[str, Callable[[StripeTask, Steps], Awaitable[None]]] = {
            "customer": self._customer,
            "customer_change": self._customer_change,
            "invoice": self._invoice,
            "credit_note": self._credit_note,
            "top_up": self._top_up,
            "refund": self._refund,
            "meter": self._meter,
            "transfer": self._transfer,
            "reversal": self._reversal,
        }

    async def send(self, task: StripeTask) -> None:
        """Do what is left of a task; returns once all of it is at Stripe."""
        await self._kinds[task.kind](task, Steps(self._sessions, task, self._now))

    async def _customer(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions() as session:
            account = await get_account(session, task.account_id)
        since_s = int(task.created_at.timestamp()) - CUSTOMER_LOOK_BACK_S

        async def find() -> Object | None:
            found = await self._stripe.customers({"created": {"gte": since_s}})
            return _named(found, "solar_account", account.id)

        # As it was when it was first asked for: an account may be renamed while the same request is repeated.
        async def decide() -> Mapping[str, Any]:
            return {"fields": shapes.to_wire_customer(account), "of": customer_store.to_row_customer(account)}

        await steps.once(
            "customer", lambda key, decided: self._stripe.create_customer(decided["fields"], key), find, decide
        )

    async def _customer_change(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions() as session:
            account = await get_account(session, task.account_id)
            customer = await store.made(session, "customer", task.account_id)
        if customer is None:
            raise NotYet("its customer")
        name: str = customer

        async def find() -> Object | None:
            return None  # a change that is made twice is made

        async def decide() -> Mapping[str, Any]:
            return {"fields": shapes.to_wire_customer_change(account), "of": customer_store.to_row_customer(account)}

        async def send(key: str, decided: Mapping[str, Any]) -> Object:
            return await self._stripe.change_customer(name, decided["fields"], key)

        await steps.once("customer_change", send, find, decide)

    async def _invoice(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions.begin() as session:
            issued = await get_invoice(session, task.subject_id)
            account = await get_account(session, task.account_id)
            customer = await store.customer_of(session, task.account_id, self._now())
            await customer_store.enqueue_changes(session, self._now(), task.account_id)
            is_changing = await customer_store.is_on_its_way(session, task.account_id)
        if customer is None or is_changing:
            raise NotYet("its customer")  # by mail, say, an invoice goes only to who has an address there too
        paper = issued.invoice

        async def find_head() -> Object | None:
            return _named(await self._stripe.invoices({"customer": customer}), "solar_invoice", paper.id)

        async def decide_head() -> Mapping[str, Any]:
            by_mail = shapes.email_of(account) is not None
            return shapes.to_wire_invoice(paper, customer, by_mail=by_mail, days_until_due=self._days_until_due)

        name = await steps.once(
            "invoice", lambda key, fields: self._stripe.create_invoice(fields, key), find_head, decide_head
        )
        lines = {"lines": shapes.to_wire_lines(paper, issued.lines)}

        async def find_lines() -> Object | None:
            return {"id": name} if await self._stripe.lines(name) else None

        await steps.once("lines", lambda key, _: self._stripe.add_lines(name, lines, key), find_lines)
        await self._finalize(steps, name, shapes.to_wire_minor(paper.total, paper.currency))

    async def _finalize(self, steps: Steps, name: str, total: int) -> None:
        """Only what comes to our total; then by mail, where it goes by mail and there is something to pay."""
        standing = await self._stripe.invoice(name)
        if standing["total"] != total:
            raise TotalsDiffer(f"{name} comes to {standing['total']} at Stripe, {total} here")

        async def find_final() -> Object | None:
            found = await self._stripe.invoice(name)
            return found if found["status"] != "draft" else None

        async def find_sent() -> Object | None:
            return None  # Stripe does not say: a mail may be sent a second time, an invoice may not

        final = partial(self._stripe.finalize_invoice, name, {"auto_advance": True})
        await steps.once("finalized", lambda key, _: final(key), find_final)
        if standing["collection_method"] == "send_invoice" and total > 0:
            await steps.once("sent", lambda key, _: self._stripe.send_invoice(name, {}, key), find_sent)

    async def _credit_note(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions() as session:
            issued = await get_credit(session, task.subject_id)
            of = await store.task_of(session, "invoice", issued.note.invoice_id)
        if of is None or of.done_at is None:
            raise NotYet("its invoice")
        name, note = str(of.made_id), issued.note

        async def find() -> Object | None:
            return _named(await self._stripe.credit_notes({"invoice": name}), "solar_credit_note", note.id)

        async def decide() -> Mapping[str, Any]:
            invoice = await self._stripe.invoice(name)
            total = shapes.to_wire_minor(note.total, note.currency)
            back = shapes.credited_after_payment(total, invoice["amount_remaining"])
            payments = await self._stripe.invoice_payments({"invoice": name}) if back else []
            paid_by_card = any(payment["status"] == "paid" for payment in payments)
            return {"back": back, "is_paid_by_card": paid_by_card}

        async def send(key: str, decided: Mapping[str, Any]) -> Object:
            fields = shapes.to_wire_credit_note(note, issued.lines, note.reason, name, **decided)
            return await self._stripe.create_credit_note(fields, key)

        await steps.once("credit_note", send, find, decide)

    async def _top_up(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions.begin() as session:
            top_up = await top_up_store.get(session, task.subject_id)
            customer = await store.customer_of(session, task.account_id, self._now())
        if customer is None:
            raise NotYet("its customer")
        fields = shapes.to_wire_checkout(
            top_up.id, top_up.account_id, top_up.amount, top_up.currency, customer, self._return_url
        )

        async def find() -> Object | None:
            return _named(await self._stripe.checkouts({"customer": customer}), "solar_top_up", top_up.id)

        async def decide() -> Mapping[str, Any]:
            return fields  # the return address is a setting, which may change while the request is repeated

        await steps.once("top_up", lambda key, decided: self._stripe.create_checkout(decided, key), find, decide)

    async def _refund(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions() as session:
            refund = await top_up_store.get_refund(session, task.subject_id)
            top_up = await top_up_store.get(session, refund.top_up_id)
        fields = {
            "payment_intent": top_up.payment,
            "amount": shapes.to_wire_minor(refund.amount, top_up.currency),
            "metadata": {"solar_refund": refund.id, "solar_account": top_up.account_id},
        }

        async def find() -> Object | None:
            found = await self._stripe.refunds({"payment_intent": top_up.payment})
            return _named(found, "solar_refund", refund.id)

        await steps.once("refund", lambda key, _: self._stripe.create_refund(fields, key), find)

    async def _meter(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions.begin() as session:
            event = await meter_store.get(session, task.subject_id)
            customer = await store.customer_of(session, task.account_id, self._now())
        if customer is None:
            raise NotYet("its customer")
        fields = shapes.to_wire_meter_event(self._meter_event_name, event.id, customer, event.value, event.at)

        async def find() -> Object | None:
            """An account has at most one event a minute: where its minute holds something, it is this one."""
            start_s = int(event.at.timestamp())
            wanted = {"customer": customer, "start_time": start_s, "end_time": start_s + 60}
            for meter in await self._stripe.meters():
                if meter["event_name"] == self._meter_event_name:
                    sums = await self._stripe.meter_sums(meter["id"], wanted)
                    if any(one["aggregated_value"] for one in sums):
                        return {"id": event.id}
            return None

        async def send(key: str, _: Mapping[str, Any]) -> Object:
            try:
                await self._stripe.create_meter_event(fields, key)
            except StripeRefused as error:
                if _EXISTS not in str(error):
                    raise
            return {"id": event.id}

        await steps.once("meter", send, find)

    async def _transfer(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions() as session:
            payout = await get_payout(session, task.subject_id)
            payee = (await payees_named(session, {payout.payee_id}))[payout.payee_id]
        to = str(payee.destination.get("account", ""))
        fields = shapes.to_wire_transfer(
            payout.id, payout.account_id, payout.month, payout.payable, payout.currency, to
        )

        async def find() -> Object | None:
            found = await self._stripe.transfers({"transfer_group": payout.id})
            return _named(found, "solar_payout", payout.id)

        async def decide() -> Mapping[str, Any]:
            """Asked before a transfer is begun, and again where Stripe has none: what was taken back meanwhile is not sent."""
            async with self._sessions() as session:
                if await is_taken_back(session, payout.id):
                    raise Netted
            return {}

        await steps.once("transfer", lambda key, _: self._stripe.create_transfer(fields, key), find, decide)

    async def _reversal(self, task: StripeTask, steps: Steps) -> None:
        async with self._sessions.begin() as session:
            payout = await get_payout(session, task.subject_id)
            sent = await store.task_of(session, "transfer", str(payout.reverses))
            if sent is not None and sent.given_up_at is not None:
                await store.revive(session, sent, self._now())  # it will find out whether Stripe has it
        if sent is None or (sent.done_at is not None and sent.made_id is None):
            raise Netted
        if sent.done_at is None:
            raise NotYet("its transfer")
        transfer = str(sent.made_id)
        amount = -shapes.to_wire_minor(payout.payable, payout.currency)
        fields: shapes.Fields = {"amount": amount, "metadata": {"solar_payout": payout.id}}

        async def find() -> Object | None:
            found = await self._stripe.transfers({"transfer_group": str(payout.reverses)})
            return next((one for one in found if one["id"] == transfer and one["amount_reversed"]), None)

        await steps.once("reversal", lambda key, _: self._stripe.reverse_transfer(transfer, fields, key), find)


def _named(found: list[Object], name: str, value: str) -> Object | None:
    """The one that carries our id."""
    return next((one for one in found if (one.get("metadata") or {}).get(name) == value), None)
