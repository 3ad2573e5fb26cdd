"""Share plans, and a month's shares, written once.

Errors: `ValueError` naming the field of a plan that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import audit
from billing.ids import new_id
from billing.periods import Month
from billing.share.payout import Statement
from billing.share.rules import PRO_RATA, rule_named
from billing.share.tables import Share, ShareMonth, SharePlan

_USD_MAX = Decimal(1_000_000)


async def add_plan(session: AsyncSession, values: Mapping[str, Any], actor: str, now: datetime) -> SharePlan:
    """Post a plan: `{"effective_month", "pool_rate", "rule"?, "minimum_payout"?, "payer_cap"?}`.

    It holds until a later one takes over, and changes no month that is closed.
    """
    rule = rule_named(values.get("rule", PRO_RATA))
    payer_cap = _decimal(values, "payer_cap", "0", _USD_MAX) if values.get("payer_cap") is not None else None
    if rule.needs_cap != (payer_cap is not None):
        raise ValueError(
            f"payer_cap: {'is needed by' if rule.needs_cap else 'does not belong to'} the rule {rule.name}"
        )
    plan = SharePlan(
        id=new_id("plan", now),
        effective_month=str(Month.parse(values["effective_month"])),
        pool_rate=_decimal(values, "pool_rate", "0", Decimal(1)),
        rule=rule.name,
        minimum_payout=_decimal(values, "minimum_payout", "0.00", _USD_MAX),
        payer_cap=payer_cap,
        created_at=now,
    )
    session.add(plan)
    change = {"effective_month": plan.effective_month, "pool_rate": str(plan.pool_rate), "rule": plan.rule}
    audit(session, actor, "share_plan.add", plan.id, change, now)
    await session.flush()
    return plan


async def plan_in_force(session: AsyncSession, month: str) -> SharePlan | None:
    """The plan of a month: the latest that is effective by then, of two the newer; None where there is none."""
    query = select(SharePlan).where(col(SharePlan.effective_month) <= month)
    newest = query.order_by(col(SharePlan.effective_month).desc(), col(SharePlan.id).desc()).limit(1)
    return (await session.execute(newest)).scalar_one_or_none()


async def all_plans(session: AsyncSession) -> Sequence[SharePlan]:
    """Every plan, oldest posted first."""
    return (await session.execute(select(SharePlan).order_by(col(SharePlan.id)))).scalars().all()


async def save_month(session: AsyncSession, month: ShareMonth, statements: Sequence[Statement]) -> bool:
    """Write a month's shares, once: returns False, and writes nothing, where they stand already. The caller commits."""
    values = month.model_dump()
    statement = insert(ShareMonth).values(values).on_conflict_do_nothing().returning(col(ShareMonth.month))
    if (await session.execute(statement)).scalar_one_or_none() is None:
        return False
    session.add_all([to_row_share(each) for each in statements])
    await session.flush()
    return True


def to_row_share(statement: Statement) -> Share:
    return Share(
        month=statement.month,
        account_id=statement.account_id,
        pool=statement.pool,
        weight=statement.weight,
        amount=statement.amount,
        carried_in=statement.carried_in,
        carried_over=statement.carried_over,
        payout=statement.payout,
        currency=statement.currency,
        rule=statement.rule,
        steps=statement.steps,
        terms=statement.terms,
    )


def _decimal(values: Mapping[str, Any], field: str, default: str, highest: Decimal) -> Decimal:
    text = values.get(field, default)
    try:
        number = Decimal(text) if isinstance(text, str | Decimal) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not 0 <= number <= highest or int(number.as_tuple().exponent) < -12:
        raise ValueError(f'{field}: must be a decimal string from 0 to {highest}, at most 12 places, such as "0.20"')
    return number
