"""Reads a month from both sides, ours and Stripe's, and compares them (`bills`). Writes nothing, on either side.

Errors: what `stripe_client` raises; a month is compared whole, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from billing.accounts.store import get as get_account
from billing.agreement.bills import Agreement, Bill, Finding, compare_bills, compare_sums, doubled_customers
from billing.collect import meter_store, store
from billing.collect.shapes import to_wire_lines, to_wire_minor
from billing.collect.tables import StripeTask
from billing.database import Sessions
from billing.invoice.read import IssuedInvoice, invoices_of
from billing.payouts.read import page_payouts, payees_named
from billing.periods import Month
from billing.stripe_client import Object, Stripe

_PAGE = 1000


async def agree_with_stripe(stripe: Stripe, sessions: Sessions, month: Month, meter_event_name: str) -> Agreement:
    """Everything of a month that is to be at Stripe, against what is there."""
    customers = await stripe.customers({})
    marks = [(one["metadata"]["solar_account"], one["id"]) for one in customers if _mark(one, "solar_account")]
    found = doubled_customers(marks)
    ours = await _our_bills(sessions, month)
    theirs = [bill for account_id, customer in marks for bill in await _their_bills(stripe, customer, month)]
    found += compare_bills(ours, theirs)
    found += await _usage(stripe, sessions, month, dict(marks), meter_event_name)
    found += await _transfers(stripe, sessions, month)
    totals: Counter[str] = Counter()
    for bill in ours.values():
        totals[bill.currency] += bill.total
    return Agreement(str(month), len(ours), len({bill.account_id for bill in ours.values()}), dict(totals), found)


async def _our_bills(sessions: Sessions, month: Month) -> dict[str, Bill]:
    async with sessions() as session:
        issued = await invoices_of(session, str(month))
        billing = {one.invoice.account_id: await get_account(session, one.invoice.account_id) for one in issued}
        sent = [one for one in issued if billing[one.invoice.account_id].billing == "invoice"]
        tasks = await store.tasks_of(session, "invoice", [one.invoice.id for one in sent])
    return {one.invoice.id: _from_row_bill(one, tasks.get(one.invoice.id)) for one in sent}


def _from_row_bill(issued: IssuedInvoice, task: StripeTask | None) -> Bill:
    paper = issued.invoice
    lines = {line["metadata"]["solar_line"]: line["amount"] for line in to_wire_lines(paper, issued.lines)}
    credits = {note.id: to_wire_minor(note.total, paper.currency) for note in issued.credits}
    note = "not in the outbox" if task is None else task.fault or "waits"
    total = to_wire_minor(paper.total, paper.currency)
    return Bill(
        paper.account_id, paper.number, paper.currency, total, paper.status, lines, credits, note, task is not None
    )


async def _their_bills(stripe: Stripe, customer: str, month: Month) -> list[tuple[str, Bill]]:
    notes = await stripe.credit_notes({"customer": customer})
    return [
        (one["metadata"]["solar_invoice"], await _from_wire_bill(stripe, one, notes))
        for one in await stripe.invoices({"customer": customer})
        if _mark(one, "solar_invoice") and one["metadata"].get("solar_month") == str(month)
    ]


async def _from_wire_bill(stripe: Stripe, invoice: Object, notes: list[Object]) -> Bill:
    lines: Counter[str] = Counter()
    for line in await stripe.lines(invoice["id"]):
        lines[_mark(line, "solar_line") or line["id"]] += line["amount"]
    credits: Counter[str] = Counter()
    for note in notes:
        if note["invoice"] == invoice["id"]:
            credits[_mark(note, "solar_credit_note") or note["id"]] += note["total"]
    return Bill(
        invoice["metadata"].get("solar_account", ""),
        invoice.get("number") or invoice["id"],
        invoice["currency"].upper(),
        invoice["total"],
        invoice["status"],
        lines,
        credits,
    )


async def _usage(
    stripe: Stripe, sessions: Sessions, month: Month, customers: Mapping[str, str], meter_event_name: str
) -> list[Finding]:
    """Metered usage: what the ledger holds against what was told, and what was told against what the meter counted."""
    async with sessions() as session:
        ledger, zones = await meter_store.costs_of(session, str(month))
        events = await meter_store.events_of(session, str(month))
    told: Counter[str] = Counter()
    for event in events:
        told[event.account_id] += event.value
    found = compare_sums("usage", "usage in the ledger and as told to Stripe", ledger, told)
    counted: dict[str, int] = {}
    meters = [one for one in await stripe.meters() if one["event_name"] == meter_event_name] if told else []
    for account_id in told:
        start, end = (instant.astimezone(UTC) for instant in month.bounds(zones[account_id]))
        span = {"start_time": int(start.timestamp()), "end_time": int(end.timestamp())}
        customer = customers.get(account_id)
        sums = [
            int(one["aggregated_value"])
            for meter in meters
            if customer is not None
            for one in await stripe.meter_sums(meter["id"], {"customer": customer, **span})
        ]
        counted[account_id] = sum(sums)
    return found + compare_sums("usage", "usage as told and as Stripe's meter counted it", told, counted)


async def _transfers(stripe: Stripe, sessions: Sessions, month: Month) -> list[Finding]:
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    async with sessions() as session:
        payouts, after = await page_payouts(session, month=str(month), count_max=_PAGE)
        while after is not None:
            more, after = await page_payouts(session, month=str(month), after=after, count_max=_PAGE)
            payouts = [*payouts, *more]
        payees = await payees_named(session, {payout.payee_id for payout in payouts})
    for payout in payouts:
        if payees[payout.payee_id].destination.get("kind") != "stripe":
            continue
        ours[payout.account_id] += to_wire_minor(payout.payable, payout.currency)
        if payout.reverses is None:
            for transfer in await stripe.transfers({"transfer_group": payout.id}):
                theirs[payout.account_id] += transfer["amount"] - transfer["amount_reversed"]
    return compare_sums("transfer", "payouts, in minor units", ours, theirs)


def _mark(thing: Object, name: str) -> Any:
    return (thing.get("metadata") or {}).get(name)
