"""Reading the ledger: usage by day, model or key; running totals; what is left of grants.

Units: counts and exact USD. Intervals are half-open instants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import case, col, func, select

from billing.ledger.tables import ClosedMonth, LedgerEntry, LedgerGrantUse, LedgerTotal
from billing.money import ZERO


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What a group of calls used and cost; exact USD."""

    group: str | None = None
    calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    pages: int = 0
    estimated_calls: int = 0
    list_cost: Decimal = ZERO
    cost: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """Exact USD so far, and the count of entries that orders two readings."""

    cost: Decimal = ZERO
    entries: int = 0


_COUNTED = [f.name for f in fields(UsageSum) if f.name != "group"]


def _sums() -> list[Any]:
    # A reversal stands with negative counts, and takes its call back out of the count of calls.
    calls = case((col(LedgerEntry.kind) == "reversal", -1), else_=1)
    return [
        func.sum(calls),
        func.sum(LedgerEntry.input_tokens),
        func.sum(LedgerEntry.cached_input_tokens),
        func.sum(LedgerEntry.output_tokens),
        func.sum(LedgerEntry.standard_pages + LedgerEntry.enhanced_pages),
        func.sum(calls).filter(col(LedgerEntry.estimated_reason).is_not(None)),
        func.sum(LedgerEntry.list_cost),
        func.sum(LedgerEntry.cost),
    ]


async def usage(
    session: AsyncSession,
    start: datetime,
    end: datetime,
    *,
    account_id: str | None = None,
    group_by: str | None = None,
    zone: str = "UTC",
) -> tuple[list[UsageSum], UsageSum]:
    """Usage of [start, end): the groups (by `day` in a zone, `model`, `key` or `account`), and their total."""
    where = [col(LedgerEntry.accepted_at) >= start, col(LedgerEntry.accepted_at) < end]
    if account_id is not None:
        where.append(col(LedgerEntry.account_id) == account_id)
    groups: list[UsageSum] = []
    if group_by is not None:
        label = _group(group_by, zone)
        rows = await session.execute(select(label, *_sums()).where(*where).group_by(label).order_by(label))
        groups = [_to_sum(str(group), values) for group, *values in rows]
    total = (await session.execute(select(*_sums()).where(*where))).one()
    return groups, _to_sum(None, list(total))


def _group(group_by: str, zone: str) -> Any:
    if group_by == "day":
        return func.to_char(func.timezone(zone, col(LedgerEntry.accepted_at)), "YYYY-MM-DD").label("group")
    return {
        "model": col(LedgerEntry.model),
        "key": col(LedgerEntry.key_id),
        "account": col(LedgerEntry.account_id),
    }[group_by].label("group")


def _to_sum(group: str | None, values: Sequence[Any]) -> UsageSum:
    numbers = [
        Decimal(value or 0) if name.endswith("cost") else int(value or 0)
        for name, value in zip(_COUNTED, values, strict=True)
    ]
    return UsageSum(group, *numbers)  # type: ignore[arg-type]


async def totals_of(session: AsyncSession, account_id: str) -> dict[tuple[str, str], RunningTotal]:
    """Running totals of an account: (billing month, key id) → total."""
    rows = (await session.execute(select(LedgerTotal).where(col(LedgerTotal.account_id) == account_id))).scalars()
    return {(row.billing_month, row.key_id): RunningTotal(row.cost, row.entries) for row in rows}


async def grant_use(session: AsyncSession, grant_ids: Sequence[str]) -> dict[str, int]:
    """Tokens taken from each grant so far."""
    query = select(LedgerGrantUse.grant_id, func.sum(LedgerGrantUse.tokens)).where(
        col(LedgerGrantUse.grant_id).in_(grant_ids)
    )
    return {grant: int(tokens) for grant, tokens in await session.execute(query.group_by(col(LedgerGrantUse.grant_id)))}


async def calls_since(session: AsyncSession, models: Sequence[str], since: datetime, account_id: str | None) -> bool:
    """Has anyone (or an account) asked for one of these models since an instant?"""
    query = select(LedgerEntry.entry_id).where(
        col(LedgerEntry.accepted_at) >= since, col(LedgerEntry.model_asked).in_(models)
    )
    if account_id is not None:
        query = query.where(col(LedgerEntry.account_id) == account_id)
    return (await session.execute(query.limit(1))).first() is not None


async def closed_months(session: AsyncSession) -> list[str]:
    """The months into which nothing is booked any more, oldest first."""
    return list((await session.execute(select(ClosedMonth.month).order_by(col(ClosedMonth.month)))).scalars())


async def first_booked(session: AsyncSession, after: str, before: str) -> str | None:
    """The first month between two others (both left out) into which entries are booked, or None."""
    booked = col(LedgerEntry.booked_month)
    query = select(LedgerEntry.booked_month).where(booked > after, booked < before).order_by(booked).limit(1)
    return (await session.execute(query)).scalar_one_or_none()
