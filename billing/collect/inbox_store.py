"""Deliveries from Stripe in Postgres: stored once, worked off once, and the standing of accounts that follows.

An event's effects and the note that it is worked off are one transaction: it counts once, whatever dies. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from billing.accounts.store import audit
from billing.accounts.tables import Account
from billing.collect import top_up_store
from billing.collect.events import CheckoutFact, DisputeFact, Fact, InvoiceFact, PaymentFact, from_wire_event
from billing.collect.shapes import to_wire_minor
from billing.collect.standing import DISPUTED, OWED, Debt, Paid, change_of, merged, merged_dispute, verdict_of
from billing.collect.store import subject_of
from billing.collect.tables import AccountStanding, Dispute, InvoiceStanding, StripeEvent, TopUp
from billing.database import Session
from billing.invoice.tables import Invoice

ACTOR = "stripe"
_RETRY_FIRST_S, _RETRY_MAX_S = 1, 600
_KEPT = timedelta(days=90)
_AWAITED = timedelta(days=7)

Outdated = list[tuple[str, int]]
"""Accounts whose epoch rose, with it: running gateways are to be told."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What working off an event came to."""

    type: str
    outcome: str
    outdated: Outdated


async def keep(session: Session, event: Mapping[str, Any], now: datetime) -> bool:
    """Store a delivery; False where it was stored before. Raises `ValueError` for one that is no event."""
    try:
        row = {
            "id": str(event["id"]),
            "type": str(event["type"]),
            "created_at": datetime.fromtimestamp(int(event["created"]), UTC),
            "received_at": now,
            "body": {"data": {"object": event["data"]["object"]}, "created": event["created"], "type": event["type"]},
            "next_attempt_at": now,
        }
    except (KeyError, TypeError, OverflowError):
        raise ValueError("this is no event of Stripe's") from None
    once = insert(StripeEvent).values(row).on_conflict_do_nothing().returning(col(StripeEvent.id))
    return (await session.execute(once)).first() is not None


async def apply_next(session: Session, now: datetime, grace: timedelta) -> Applied | None:
    """Work off the event that has waited longest; None where none is due."""
    query = (
        select(StripeEvent)
        .where(col(StripeEvent.next_attempt_at) <= now)
        .order_by(col(StripeEvent.next_attempt_at), col(StripeEvent.id))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    event = (await session.execute(query)).scalar_one_or_none()
    if event is None:
        return None
    event.attempts += 1
    try:
        fact = from_wire_event(event.body)
    except ValueError as error:
        return _ended(event, now, f"unreadable: {error}", [])
    if fact is None:
        return _ended(event, now, "nothing for us", [])
    outcome, account_ids, outdated = await _take(session, fact, now)
    if outcome.startswith("waits") and now > event.received_at + _AWAITED:
        return _ended(event, now, "not ours: what it names never became known here", [])
    if outcome.startswith("waits"):
        pause_s = min(_RETRY_MAX_S, _RETRY_FIRST_S * 2 ** min(event.attempts, 20))
        event.next_attempt_at, event.outcome = now + timedelta(seconds=pause_s), outcome
        return Applied(event.type, outcome, [])
    for account_id in account_ids:
        outdated += await judge(session, account_id, now, grace)
    return _ended(event, now, outcome, outdated)


def _ended(event: StripeEvent, now: datetime, outcome: str, outdated: Outdated) -> Applied:
    event.applied_at, event.next_attempt_at, event.outcome = now, None, outcome
    return Applied(event.type, outcome, outdated)


async def _take(session: Session, fact: Fact, now: datetime) -> tuple[str, list[str], Outdated]:
    """(what it came to, accounts to judge anew, accounts that changed)."""
    match fact:
        case InvoiceFact():
            return await _take_invoice(session, fact, now)
        case PaymentFact():
            task = await subject_of(session, "invoice", fact.stripe_invoice)
            if task is None:
                return "waits for its invoice", [], []
            standing = await _standing(session, task.subject_id, task.account_id)
            standing.payment = fact.payment
            return "payment known", [task.account_id], []
        case DisputeFact():
            row = {"id": fact.dispute_id, "payment": fact.payment, "status": fact.status, "opened_at": fact.opened_at}
            await session.execute(insert(Dispute).values(row).on_conflict_do_nothing())
            dispute = await session.get_one(Dispute, fact.dispute_id, with_for_update=True)
            dispute.status = merged_dispute(dispute.status, fact.status)
            return f"dispute {dispute.status}", await _payers(session, fact.payment), []
        case CheckoutFact():
            return await _take_checkout(session, fact, now)


async def _take_invoice(session: Session, fact: InvoiceFact, now: datetime) -> tuple[str, list[str], Outdated]:
    invoice = await session.get(Invoice, fact.invoice_id, with_for_update=True)
    if invoice is None:
        return "not ours", [], []
    standing = await _standing(session, invoice.id, invoice.account_id)
    before = Paid(standing.status, standing.unpaid_since, standing.why)
    after = merged(before, Paid(fact.status, fact.unpaid_since, fact.why))
    standing.status, standing.unpaid_since, standing.why = after
    if after.status in ("paid", "void") and invoice.status == "issued":
        invoice.status = after.status
        audit(session, ACTOR, f"invoice.{after.status}", invoice.number, {"invoice": invoice.id}, now)
    return f"invoice {after.status}", [invoice.account_id], []


async def _take_checkout(session: Session, fact: CheckoutFact, now: datetime) -> tuple[str, list[str], Outdated]:
    top_up = await session.get(TopUp, fact.top_up_id)
    if top_up is None:
        return "not ours", [], []
    if fact.status != "paid":
        await top_up_store.ended(session, top_up.id, fact.status)
        return f"top-up {fact.status}", [], []
    wanted = (to_wire_minor(top_up.amount, top_up.currency), top_up.currency)
    if (fact.amount, fact.currency) != wanted:
        return f"set aside: {fact.amount} {fact.currency} were paid, {wanted[0]} {wanted[1]} were asked for", [], []
    raised = await top_up_store.paid(session, top_up.id, fact.payment, now)
    return (
        ("balance raised" if raised else "balance was raised before"),
        [top_up.account_id],
        [raised] if raised else [],
    )


async def _standing(session: Session, invoice_id: str, account_id: str) -> InvoiceStanding:
    """What is known of an invoice, locked."""
    row = {"invoice_id": invoice_id, "account_id": account_id, "status": "open"}
    await session.execute(insert(InvoiceStanding).values(row).on_conflict_do_nothing())
    return await session.get_one(InvoiceStanding, invoice_id, with_for_update=True, populate_existing=True)


async def _payers(session: Session, payment: str) -> list[str]:
    """Whose payment this was, as far as is known."""
    invoices = select(InvoiceStanding).where(col(InvoiceStanding.payment) == payment)
    top_ups = select(TopUp).where(col(TopUp.payment) == payment)
    found = [row.account_id for row in (await session.execute(invoices)).scalars()]
    return sorted({*found, *(row.account_id for row in (await session.execute(top_ups)).scalars())})


async def judge(session: Session, account_id: str, now: datetime, grace: timedelta) -> Outdated:
    """Bring an account's standing, and its status, to what its debts come to now."""
    account = await session.get_one(Account, account_id, with_for_update=True, populate_existing=True)
    await session.execute(insert(AccountStanding).values(account_id=account_id, is_ours=False).on_conflict_do_nothing())
    standing = await session.get_one(AccountStanding, account_id, with_for_update=True, populate_existing=True)
    verdict = verdict_of(await _debts(session, account_id), now, grace)
    change = change_of(account.status, standing.suspended_at, standing.is_ours, verdict, now)
    standing.owes_since, standing.why = verdict.owes_since, verdict.why
    standing.suspended_at, standing.is_ours = change.suspended_at, change.is_ours
    if change.status is None:
        return []
    account.status = change.status
    account.epoch += 1
    audit(session, ACTOR, f"account.{change.status}", account_id, {"why": verdict.why or "paid"}, now)
    await session.flush()
    return [(account_id, account.epoch)]


async def _debts(session: Session, account_id: str) -> list[Debt]:
    mine = select(InvoiceStanding).where(col(InvoiceStanding.account_id) == account_id)
    standings = (await session.execute(mine)).scalars().all()
    owed = [Debt(s.unpaid_since, s.why or "") for s in standings if s.status in OWED and s.unpaid_since is not None]
    top_ups = (await session.execute(select(TopUp).where(col(TopUp.account_id) == account_id))).scalars().all()
    payments = {s.payment for s in standings if s.payment} | {top_up.payment for top_up in top_ups if top_up.payment}
    query = select(Dispute).where(col(Dispute.payment).in_(payments), col(Dispute.status).in_(DISPUTED))
    return owed + [Debt(d.opened_at, "payment disputed") for d in (await session.execute(query)).scalars()]


async def graces_over(session: Session, now: datetime, grace: timedelta, count_max: int) -> Sequence[str]:
    """Accounts that owe something for longer than the grace and are not suspended yet."""
    query = (
        select(AccountStanding)
        .where(col(AccountStanding.owes_since) <= now - grace, col(AccountStanding.suspended_at).is_(None))
        .limit(count_max)
    )
    return [row.account_id for row in (await session.execute(query)).scalars()]


async def forget_old(session: Session, now: datetime) -> None:
    """Deliveries that were worked off long ago are of no use: what they said stands elsewhere."""
    await session.execute(delete(StripeEvent).where(col(StripeEvent.applied_at) < now - _KEPT))


async def standing_of(session: Session, account_id: str) -> AccountStanding | None:
    return await session.get(AccountStanding, account_id)


async def waiting(session: Session) -> int:
    """How many deliveries are not worked off yet."""
    query = select(func.count()).select_from(StripeEvent).where(col(StripeEvent.next_attempt_at).is_not(None))
    return (await session.execute(query)).scalar_one()


async def look_again(session: Session, now: datetime) -> None:
    """Work off at once what waits for something."""
    query = update(StripeEvent).where(col(StripeEvent.next_attempt_at).is_not(None))
    await session.execute(query.values(next_attempt_at=now))
