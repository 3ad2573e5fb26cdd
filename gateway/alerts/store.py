"""Alerts in Postgres: what budgets have come to, the alerts that follow, and which of them are due to be delivered.

Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from billing.accounts.tables import Account
from billing.database import Session
from billing.ids import new_id
from billing.ledger.tables import LedgerTotal
from billing.money import add, multiply, to_wire_decimal
from billing.periods import Month
from billing.terms import units_per_usd_of
from gateway.alerts.tables import AlertSecret, BudgetAlert
from gateway.alerts.thresholds import reached
from gateway.keys.tables import ApiKey

ACCOUNT, PREPAID = "account", "prepaid"
_SHOWN_MAX = 100
_PAGE = 500
_Totals = dict[tuple[str, str], Decimal]


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap or a balance, and what is spent of it, in the account's currency."""

    account_id: str
    scope: str
    period: str
    currency: str
    amount: Decimal
    spent: Decimal


def key_scope(key_id: str) -> str:
    return f"key:{key_id}"


async def new_secret(session: Session, account_id: str, now: datetime) -> str:
    """A fresh secret for an account's alerts, in place of the one before; to be shown once."""
    secret = f"whsec_{secrets.token_urlsafe(32)}"
    row = {"account_id": account_id, "secret": secret, "created_at": now}
    statement = insert(AlertSecret).values(row)
    await session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=row))
    return secret


async def erase_secret(session: Session, account_id: str) -> None:
    """Forget what signed an account's alerts."""
    await session.execute(update(AlertSecret).where(col(AlertSecret.account_id) == account_id).values(secret=""))


async def budgets_of_page(session: Session, after: str, now: datetime) -> tuple[list[Budget], str | None]:
    """The budgets of the next accounts that have any, and the cursor of the page that follows."""
    capped = select(ApiKey.account_id).where(col(ApiKey.monthly_cap).is_not(None))
    query = (
        select(Account)
        .where(col(Account.id) > after)
        .where(or_(col(Account.monthly_cap).is_not(None), col(Account.billing) == PREPAID, col(Account.id).in_(capped)))
        .order_by(col(Account.id))
        .limit(_PAGE)
    )
    accounts = (await session.execute(query)).scalars().all()
    return await _budgets(session, accounts, now), accounts[-1].id if len(accounts) == _PAGE else None


async def budgets_of(session: Session, account_id: str, now: datetime) -> list[Budget]:
    """The budgets of one account."""
    account = await session.get(Account, account_id)
    return [] if account is None else await _budgets(session, [account], now)


async def _budgets(session: Session, accounts: Sequence[Account], now: datetime) -> list[Budget]:
    ids = [account.id for account in accounts]
    keys: dict[str, list[ApiKey]] = {}
    query = select(ApiKey).where(col(ApiKey.account_id).in_(ids), col(ApiKey.monthly_cap).is_not(None))
    for key in (await session.execute(query)).scalars():
        keys.setdefault(key.account_id, []).append(key)
    totals: dict[str, _Totals] = {}
    rows = (await session.execute(select(LedgerTotal).where(col(LedgerTotal.account_id).in_(ids)))).scalars()
    for row in rows:
        totals.setdefault(row.account_id, {})[row.billing_month, row.key_id] = row.cost
    budgets: list[Budget] = []
    rates: dict[tuple[str, str], Decimal | None] = {}
    for account in accounts:
        at = (account.currency, account.timezone)
        if at not in rates:
            rates[at] = await units_per_usd_of(session, *at, now)
        if (rate := rates[at]) is not None:  # without a rate such a cap lets nothing pass
            month = str(Month.of(now, account.timezone))
            budgets += _of_account(account, keys.get(account.id, ()), totals.get(account.id, {}), month, rate)
    return budgets


def _of_account(
    account: Account, keys: Sequence[ApiKey], totals: _Totals, month: str, units_per_usd: Decimal
) -> list[Budget]:
    def budget(scope: str, period: str, amount: Decimal, costs_usd: Sequence[Decimal]) -> Budget:
        return Budget(account.id, scope, period, account.currency, amount, multiply(add(costs_usd), units_per_usd))

    found = []
    if account.monthly_cap is not None:
        of_month = [cost for (m, _), cost in totals.items() if m == month]
        found.append(budget(ACCOUNT, month, account.monthly_cap, of_month))
    for key in keys:
        if key.monthly_cap is not None and key.revoked_at is None:
            cost = totals.get((month, key.id), Decimal(0))
            found.append(budget(key_scope(key.id), month, key.monthly_cap, [cost]))
    if account.billing == PREPAID:
        paid_in = to_wire_decimal(account.prepaid_balance)
        found.append(budget(PREPAID, paid_in, account.prepaid_balance, list(totals.values())))
    return found


async def raise_alerts(
    session: Session, budgets: Sequence[Budget], now: datetime, refused: Collection[tuple[str, str]] = ()
) -> int:
    """Store the alerts that these budgets call for, each once; returns how many are new. `refused`: (account, scope) of budgets whose
    rest did not cover a call."""
    rows = [
        {
            "id": new_id("alert", now),
            "account_id": budget.account_id,
            "scope": budget.scope,
            "period": budget.period,
            "threshold_percent": percent,
            "reason": "spent" if percent in reached(budget.spent, budget.amount) else "refused",
            "currency": budget.currency,
            "budget": budget.amount,
            "spent": budget.spent,
            "at": now,
            "attempts": 0,
            "next_attempt_at": now,
        }
        for budget in budgets
        for percent in reached(budget.spent, budget.amount, refused=(budget.account_id, budget.scope) in refused)
    ]
    if not rows:
        return 0
    once = insert(BudgetAlert).values(rows).on_conflict_do_nothing(constraint="budget_alert_once")
    return len((await session.execute(once.returning(col(BudgetAlert.id)))).all())


async def alerts_of(session: Session, account_id: str, periods: Sequence[str] | None = None) -> Sequence[BudgetAlert]:
    """An account's newest alerts (of these periods), newest first."""
    query = (
        select(BudgetAlert)
        .where(col(BudgetAlert.account_id) == account_id)
        .order_by(col(BudgetAlert.at).desc(), col(BudgetAlert.threshold_percent).desc())
    )
    if periods is not None:
        query = query.where(col(BudgetAlert.period).in_(periods))
    return (await session.execute(query.limit(_SHOWN_MAX))).scalars().all()


async def claim_due(
    session: Session, now: datetime, lease_s: float, count_max: int
) -> list[tuple[BudgetAlert, str | None, str | None]]:
    """Alerts that are due, with their account's URL and secret, set aside for `lease_s` so that no other process sends them meanwhile."""
    due = (
        select(BudgetAlert.id)
        .where(col(BudgetAlert.next_attempt_at) <= now)
        .order_by(col(BudgetAlert.next_attempt_at))
        .limit(count_max)
        .with_for_update(skip_locked=True)
    )
    claimed = (
        update(BudgetAlert)
        .where(col(BudgetAlert.id).in_(due))
        .values(next_attempt_at=now + timedelta(seconds=lease_s), attempts=BudgetAlert.attempts + 1)
        .returning(BudgetAlert)
    )
    rows = (await session.execute(claimed)).scalars().all()
    accounts = [row.account_id for row in rows]
    urls = select(Account.id, Account.alert_webhook_url).where(col(Account.id).in_(accounts))
    keys = select(AlertSecret.account_id, AlertSecret.secret).where(col(AlertSecret.account_id).in_(accounts))
    url_of = {row.id: row.alert_webhook_url for row in await session.execute(urls)}
    secret_of = {row.account_id: row.secret for row in await session.execute(keys)}
    return [(row, url_of.get(row.account_id), secret_of.get(row.account_id)) for row in rows]


async def mark(
    session: Session,
    alert_id: str,
    *,
    delivered_at: datetime | None = None,
    next_attempt_at: datetime | None = None,
    given_up_at: datetime | None = None,
) -> None:
    """How a delivery ended: done, to be tried again, given up; or, with none of these, nobody wanted it."""
    ended = {"delivered_at": delivered_at, "next_attempt_at": next_attempt_at, "given_up_at": given_up_at}
    await session.execute(update(BudgetAlert).where(col(BudgetAlert.id) == alert_id).values(**ended))
