"""The outbox in Postgres: what is to be sent, who is at it, how far it has come.

A task is claimed for a while before it is worked on, and every note about it is fenced by the number of its attempt: who was thought dead
and is not can no longer write. Errors: `LostClaim`; what SQLAlchemy raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import case, exists, func, literal, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from billing.accounts.tables import Account
from billing.collect.customer_store import enqueue_changes
from billing.collect.tables import StripeTask
from billing.database import DOCUMENT, INSTANT, Session
from billing.invoice.tables import CreditNote, Invoice
from billing.payouts.tables import Payee, Payout

WAITS, NOT_YET_S = "waits for ", 30
"""What waits for another task says so, and looks again after a while even if nobody wakes it; less than a claim lasts."""

_COLUMNS = ["kind", "subject_id", "account_id", "created_at", "next_attempt_at", "steps"]


class LostClaim(RuntimeError):
    """Somebody else works on this task by now."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many tasks of a kind wait, and how many an operator has to look at."""

    kind: str
    waiting: int
    given_up: int
    done: int


async def enqueue(session: Session, kind: str, subject_id: str, account_id: str, now: datetime) -> None:
    """Put a thing into the outbox, within the caller's transaction. Safe to repeat."""
    row = {"kind": kind, "subject_id": subject_id, "account_id": account_id, "created_at": now, "next_attempt_at": now}
    await session.execute(insert(StripeTask).values(row | {"steps": {}}).on_conflict_do_nothing())


def _worth_collecting(from_month: str, minima: Mapping[str, Decimal]) -> Any:
    """Accounts whose unsent invoices, less what was credited of them, come to the minimum of their currency together."""
    is_sent = exists().where(col(StripeTask.kind) == "invoice", col(StripeTask.subject_id) == col(Invoice.id))
    credited = select(func.coalesce(func.sum(CreditNote.total), 0)).where(col(CreditNote.invoice_id) == col(Invoice.id))
    owed = func.sum(col(Invoice.total) - credited.correlate(Invoice).scalar_subquery())
    minimum = case(
        *[(col(Invoice.currency) == currency, least) for currency, least in minima.items()], else_=Decimal(0)
    )
    unsent = select(Invoice.account_id).where(col(Invoice.month) >= from_month, ~is_sent)
    return unsent.group_by(col(Invoice.account_id), col(Invoice.currency)).having(owed >= minimum)


async def find_issued(session: Session, now: datetime, from_month: str, minima: Mapping[str, Decimal]) -> int:
    """Put what finance issued into the outbox: invoices from a month on, credit notes of those, payouts that go by Stripe, the
    customers of accounts whose usage Stripe bills, and what changed of customers. What an account owes is collected once it comes to the
    minimum of its currency, all of it together; that it is issued does not depend on it. Returns how many are new."""
    at = literal(now, INSTANT)
    due: list[Any] = [at, at, literal({}, DOCUMENT)]
    sent_invoice = exists().where(
        col(StripeTask.kind) == "invoice", col(StripeTask.subject_id) == col(CreditNote.invoice_id)
    )
    to_stripe = col(Payee.destination)["kind"].as_string() == "stripe"
    invoices = select(Invoice.id, Invoice.account_id, *due).where(col(Invoice.month) >= from_month)
    if minima:
        invoices = invoices.where(col(Invoice.account_id).in_(_worth_collecting(from_month, minima)))
    payouts = select(Payout.id, Payout.account_id, *due).join(Payee, col(Payee.id) == col(Payout.payee_id))
    # A payout that was taken back before its transfer was asked for is neither: nothing goes out, and nothing comes back.
    undoing = aliased(Payout)
    is_taken_back = exists().where(col(undoing.reverses) == col(Payout.id))
    is_sent_transfer = exists().where(
        col(StripeTask.kind) == "transfer", col(StripeTask.subject_id) == col(Payout.reverses)
    )
    sources: list[tuple[str, Any, Any]] = [
        (
            "invoice",
            col(Invoice.id),
            invoices.join(Account, col(Account.id) == col(Invoice.account_id)).where(col(Account.billing) == "invoice"),
        ),
        ("credit_note", col(CreditNote.id), select(CreditNote.id, CreditNote.account_id, *due).where(sent_invoice)),
        ("transfer", col(Payout.id), payouts.where(to_stripe, col(Payout.reverses).is_(None), ~is_taken_back)),
        ("reversal", col(Payout.id), payouts.where(to_stripe, is_sent_transfer)),
        (
            "customer",
            col(Account.id),
            select(Account.id, Account.id, *due).where(col(Account.billing) == "stripe_meter"),
        ),
    ]
    new = 0
    for kind, subject, query in sources:
        known = exists().where(col(StripeTask.kind) == kind, col(StripeTask.subject_id) == subject)
        rows = query.where(~known).subquery()
        chosen = select(literal(kind), *rows.c)
        once = insert(StripeTask).from_select(_COLUMNS, chosen).on_conflict_do_nothing()
        new += len((await session.execute(once.returning(col(StripeTask.subject_id)))).all())
    return new + await enqueue_changes(session, now)


async def claim_due(session: Session, now: datetime, lease_s: int, count_max: int) -> Sequence[StripeTask]:
    """Tasks that are due, set aside for `lease_s` so that no other process works on them meanwhile."""
    due = (
        select(StripeTask.kind, StripeTask.subject_id)
        .where(col(StripeTask.next_attempt_at) <= now)
        .order_by(col(StripeTask.next_attempt_at))
        .limit(count_max)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    claimed = (
        update(StripeTask)
        .where(col(StripeTask.kind) == due.c.kind, col(StripeTask.subject_id) == due.c.subject_id)
        .values(next_attempt_at=now + timedelta(seconds=lease_s), attempts=col(StripeTask.attempts) + 1)
        .returning(StripeTask)
    )
    return (await session.execute(claimed)).scalars().all()


async def note(session: Session, task: StripeTask, **values: Any) -> None:
    """Write down how a task stands; raises `LostClaim` where this is no longer its attempt."""
    mine = update(StripeTask).where(
        col(StripeTask.kind) == task.kind,
        col(StripeTask.subject_id) == task.subject_id,
        col(StripeTask.attempts) == task.attempts,
    )
    found = (await session.execute(mine.values(**values).returning(col(StripeTask.kind)))).all()
    if not found:
        raise LostClaim(f"{task.kind} {task.subject_id}")


async def wake(session: Session, account_id: str, now: datetime) -> None:
    """Let an account's tasks that wait for another one look again: it may have been the one that is done now."""
    mine = update(StripeTask).where(col(StripeTask.account_id) == account_id)
    waiting_ones = mine.where(
        col(StripeTask.fault).startswith(WAITS),
        col(StripeTask.next_attempt_at).between(now, now + timedelta(seconds=NOT_YET_S)),
    )
    await session.execute(waiting_ones.values(next_attempt_at=now))


async def made(session: Session, kind: str, subject_id: str) -> str | None:
    """Stripe's name of a thing of ours; None while it has none."""
    task = await session.get(StripeTask, (kind, subject_id))
    return None if task is None else task.made_id


async def subject_of(session: Session, kind: str, made_id: str) -> StripeTask | None:
    """The task behind a thing that Stripe names."""
    query = select(StripeTask).where(col(StripeTask.made_id) == made_id, col(StripeTask.kind) == kind)
    return (await session.execute(query)).scalar_one_or_none()


async def task_of(session: Session, kind: str, subject_id: str) -> StripeTask | None:
    return await session.get(StripeTask, (kind, subject_id))


async def tasks_of(session: Session, kind: str, subject_ids: Sequence[str]) -> Mapping[str, StripeTask]:
    """Tasks of a kind by our ids."""
    query = select(StripeTask).where(col(StripeTask.kind) == kind, col(StripeTask.subject_id).in_(subject_ids))
    return {task.subject_id: task for task in (await session.execute(query)).scalars()}


async def customer_of(session: Session, account_id: str, now: datetime) -> str | None:
    """Stripe's name of an account; where it has none yet, its task is put into the outbox."""
    found = await made(session, "customer", account_id)
    if found is None:
        await enqueue(session, "customer", account_id, account_id, now)
    return found


async def given_up(session: Session, count_max: int) -> Sequence[StripeTask]:
    """What an operator has to look at, oldest first."""
    query = select(StripeTask).where(col(StripeTask.given_up_at).is_not(None)).order_by(col(StripeTask.created_at))
    return (await session.execute(query.limit(count_max))).scalars().all()


async def revive(session: Session, task: StripeTask, now: datetime) -> None:
    """Let one task that was given up be tried once more."""
    mine = update(StripeTask).where(
        col(StripeTask.kind) == task.kind,
        col(StripeTask.subject_id) == task.subject_id,
        col(StripeTask.given_up_at).is_not(None),
    )
    await session.execute(mine.values(given_up_at=None, refusals=0, next_attempt_at=now))


async def try_again(session: Session, now: datetime) -> int:
    """Let everything that was given up be tried once more; returns how much that is."""
    query = (
        update(StripeTask)
        .where(col(StripeTask.given_up_at).is_not(None))
        .values(given_up_at=None, refusals=0, next_attempt_at=now)
        .returning(col(StripeTask.kind))
    )
    return len((await session.execute(query)).all())


async def waiting(session: Session) -> list[Waiting]:
    """The outbox in numbers, by kind."""
    is_open = col(StripeTask.done_at).is_(None) & col(StripeTask.given_up_at).is_(None)
    counts: list[Any] = [
        StripeTask.kind,
        func.count().filter(is_open),
        func.count().filter(col(StripeTask.given_up_at).is_not(None)),
        func.count().filter(col(StripeTask.done_at).is_not(None)),
    ]
    query = select(*counts).group_by(col(StripeTask.kind)).order_by(col(StripeTask.kind))
    return [Waiting(*row) for row in await session.execute(query)]
