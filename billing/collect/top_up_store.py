"""Top-ups of prepaid balances in Postgres: asked for, paid, given back. Each is in the audit log.

The balance moves in the same transaction as the top-up's own status, and only from `pending`: however often Stripe says that it was paid,
it is raised once. Errors: `TopUpNotFound`; `TopUpRefused` naming what cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import update
from sqlmodel import col, select

from billing.accounts.store import audit
from billing.accounts.store import get as get_account
from billing.accounts.tables import Account
from billing.collect.store import enqueue
from billing.collect.tables import TopUp, TopUpRefund
from billing.database import Session
from billing.ids import new_id
from billing.ledger.read import totals_of
from billing.money import ZERO, add, minor_unit, multiply, subtract, to_wire_decimal
from billing.terms import units_per_usd_of

REASON_MAX = 500


class TopUpNotFound(LookupError):
    """No top-up has this id."""

    def __init__(self, top_up_id: str) -> None:
        super().__init__(f"no top-up {top_up_id!r}")
        self.top_up_id = top_up_id


class TopUpRefused(ValueError):
    """This cannot be paid in, or given back; the text begins with the field."""


async def ask(
    session: Session, account_id: str, amount: Decimal, actor: str, now: datetime, send_at: datetime
) -> TopUp:
    """Ask a customer to pay in: a checkout is made for it at Stripe. `send_at` is by the outbox's clock, the world's."""
    account = await get_account(session, account_id)
    if account.billing != "prepaid":
        raise TopUpRefused(f"account: {account_id} is billed by {account.billing}; only a prepaid one has a balance")
    if account.status == "closed":
        raise TopUpRefused(f"account: {account_id} is closed")
    _check_amount(amount, account.currency)
    top_up = TopUp(
        id=new_id("top", now),
        account_id=account_id,
        amount=amount,
        currency=account.currency,
        status="pending",
        created_at=now,
    )
    session.add(top_up)
    await session.flush()
    await enqueue(session, "top_up", top_up.id, account_id, send_at)
    audit(session, actor, "top_up.ask", account_id, {"top_up": top_up.id, "amount": str(amount)}, now)
    return top_up


async def paid(session: Session, top_up_id: str, payment: str, now: datetime) -> tuple[str, int] | None:
    """The money came: raises the balance, once. Returns (account, its new epoch), or None where it was raised before."""
    claim = (
        update(TopUp)
        .where(col(TopUp.id) == top_up_id, col(TopUp.status) != "paid")
        .values(status="paid", payment=payment, paid_at=now)
        .returning(TopUp)
    )
    top_up = (await session.execute(claim)).scalar_one_or_none()
    if top_up is None:
        return None
    epoch = await _move_balance(session, top_up.account_id, top_up.amount)
    audit(session, "stripe", "top_up.paid", top_up.account_id, {"top_up": top_up_id, "amount": str(top_up.amount)}, now)
    return top_up.account_id, epoch


async def ended(session: Session, top_up_id: str, status: str) -> None:
    """It will not be paid: `expired` or `failed`. What is paid stays paid."""
    query = update(TopUp).where(col(TopUp.id) == top_up_id, col(TopUp.status) == "pending")
    await session.execute(query.values(status=status))


async def give_back(
    session: Session, top_up_id: str, amount: Decimal, reason: str, actor: str, now: datetime, send_at: datetime
) -> tuple[TopUpRefund, str, int]:
    """Give a part of a paid top-up back; the balance is lessened now. Returns (the refund, its account, that one's new epoch)."""
    query = select(TopUp).where(col(TopUp.id) == top_up_id).with_for_update()
    top_up = (await session.execute(query)).scalar_one_or_none()
    if top_up is None:
        raise TopUpNotFound(top_up_id)
    if top_up.status != "paid":
        raise TopUpRefused(f"top_up: it is {top_up.status}; only a paid one can be given back")
    if not reason.strip() or len(reason) > REASON_MAX:
        raise TopUpRefused(f"reason: say why, in at most {REASON_MAX} characters")
    _check_amount(amount, top_up.currency)
    before = (await session.execute(select(TopUpRefund).where(col(TopUpRefund.top_up_id) == top_up_id))).scalars()
    left = subtract(top_up.amount, add(refund.amount for refund in before))
    account = await session.get_one(Account, top_up.account_id, with_for_update=True, populate_existing=True)
    left = min(left, await _unspent(session, account, now))
    if amount > left:
        raise TopUpRefused(f"amount: more than the {to_wire_decimal(left)} {top_up.currency} that are left")
    refund = TopUpRefund(id=new_id("rfd", now), top_up_id=top_up_id, amount=amount, reason=reason, created_at=now)
    session.add(refund)
    await session.flush()
    epoch = await _move_balance(session, top_up.account_id, -amount)
    await enqueue(session, "refund", refund.id, top_up.account_id, send_at)
    audit(session, actor, "top_up.refund", top_up.account_id, {"refund": refund.id, "amount": str(amount)}, now)
    return refund, top_up.account_id, epoch


async def get(session: Session, top_up_id: str) -> TopUp:
    found = await session.get(TopUp, top_up_id)
    if found is None:
        raise TopUpNotFound(top_up_id)
    return found


async def get_refund(session: Session, refund_id: str) -> TopUpRefund:
    found = await session.get(TopUpRefund, refund_id)
    if found is None:
        raise TopUpNotFound(refund_id)
    return found


async def of_account(session: Session, account_id: str, count_max: int) -> Sequence[TopUp]:
    """An account's newest top-ups, newest first."""
    query = select(TopUp).where(col(TopUp.account_id) == account_id).order_by(col(TopUp.id).desc()).limit(count_max)
    return (await session.execute(query)).scalars().all()


async def _unspent(session: Session, account: Account, now: datetime) -> Decimal:
    """What of a balance is not spent, as far as the ledger knows; nothing where no rate tells."""
    rate = await units_per_usd_of(session, account.currency, account.timezone, now)
    spent_usd = add(total.cost for total in (await totals_of(session, account.id)).values())
    return ZERO if rate is None else max(ZERO, subtract(account.prepaid_balance, multiply(spent_usd, rate)))


async def _move_balance(session: Session, account_id: str, amount: Decimal) -> int:
    """One statement: never read, decide, write."""
    statement = (
        update(Account)
        .where(col(Account.id) == account_id)
        .values(prepaid_balance=col(Account.prepaid_balance) + amount, epoch=col(Account.epoch) + 1)
        .returning(col(Account.epoch))
    )
    return (await session.execute(statement)).scalar_one()


def _check_amount(amount: Decimal, currency: str) -> None:
    unit = minor_unit(currency)
    if amount <= 0 or amount % unit:
        raise TopUpRefused(f"amount: must be above zero, in whole units of {unit} {currency}")
