"""Reading the ledger: running totals, what is left of grants, and which months are closed (usage: `usage.py`; bills: `rollups.py`).

Units: counts and exact USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.ledger.entry import exact_id, partition_of
from billing.ledger.proof import Chain
from billing.ledger.record import is_orphans
from billing.ledger.sources import gone_before
from billing.ledger.tables import ClosedMonth, LedgerDay, LedgerEntry, LedgerGrantUse, LedgerProof, LedgerTotal
from billing.money import ZERO


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """Exact USD so far, and the count of entries that orders two readings."""

    cost: Decimal = ZERO
    entries: int = 0


async def totals_of(session: AsyncSession, account_id: str) -> dict[tuple[str, str], RunningTotal]:
    """Running totals of an account: (billing month, key id) → total."""
    return (await totals_of_each(session, [account_id]))[account_id]


async def totals_of_each(
    session: AsyncSession, account_ids: Sequence[str]
) -> dict[str, dict[tuple[str, str], RunningTotal]]:
    """The same of several accounts."""
    found: dict[str, dict[tuple[str, str], RunningTotal]] = {account_id: {} for account_id in account_ids}
    row = LedgerTotal
    query = select(row.account_id, row.billing_month, row.key_id, row.cost, row.entries)  # type: ignore[call-overload]
    for account_id, month, key_id, cost, entries in await session.execute(
        query.where(col(row.account_id).in_(account_ids))
    ):
        found[account_id][month, key_id] = RunningTotal(cost, entries)
    return found


async def grant_use(session: AsyncSession, grant_ids: Sequence[str]) -> dict[str, int]:
    """Tokens taken from each grant so far."""
    query = select(LedgerGrantUse.grant_id, func.sum(LedgerGrantUse.tokens)).where(
        col(LedgerGrantUse.grant_id).in_(grant_ids)
    )
    return {grant: int(tokens) for grant, tokens in await session.execute(query.group_by(col(LedgerGrantUse.grant_id)))}


async def settled_calls(session: AsyncSession, call_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these calls whose settlement is in the ledger; an orphan's estimate is none."""
    ids = {exact_id(call_id): call_id for call_id in call_ids} | {call_id: call_id for call_id in call_ids}
    query = select(LedgerEntry.entry_id, LedgerEntry.estimated_reason).where(
        col(LedgerEntry.partition_month).in_({partition_of(call_id) for call_id in call_ids}),
        col(LedgerEntry.entry_id).in_(ids),
    )
    return {ids[entry_id] for entry_id, reason in await session.execute(query) if not is_orphans(reason)}


async def calls_since(session: AsyncSession, models: Sequence[str], since: datetime, account_id: str | None) -> bool:
    """Has anyone (or an account) asked for one of these models since an instant? Of a detached month nobody can say no."""
    if since < await gone_before(session):
        return True
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
    booked = col(LedgerDay.booked_month)
    query = select(LedgerDay.booked_month).where(booked > after, booked < before).order_by(booked).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def proof_roots(session: AsyncSession, account_ids: Sequence[str], month: str) -> dict[str, str]:
    """What the entries booked into accounts' month lead to (PROOF.md), without reading them; none where none is proved."""
    query = select(LedgerProof.account_id, LedgerProof.entries, LedgerProof.head).where(
        col(LedgerProof.booked_month) == month, col(LedgerProof.account_id).in_(account_ids)
    )
    found = await session.execute(query)
    return {account_id: Chain(entries, head).root() for account_id, entries, head in found if entries}


async def proof_root(session: AsyncSession, account_id: str, month: str) -> str | None:
    """The same of one account."""
    return (await proof_roots(session, [account_id], month)).get(account_id)


async def unclosed_months(session: AsyncSession, account_id: str) -> list[str]:
    """Months that hold entries of an account and are not closed."""
    booked = select(LedgerProof.booked_month).where(col(LedgerProof.account_id) == account_id)
    open_months = booked.where(col(LedgerProof.booked_month).not_in(select(ClosedMonth.month)))
    return sorted((await session.execute(open_months)).scalars())
