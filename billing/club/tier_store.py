"""The club's tables of tiers in Postgres: each holds from its instant on, and never changes.

A table may not begin in the past: calls that were given a discount keep it, and why. Whoever posts one tells the running gateways,
by the epochs of all accounts that gave text.
Errors: `TierTableLate` for an instant that is over, or one that a table has already; `ValueError` for a table that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import audit
from billing.accounts.tables import Account
from billing.club.tables import Contribution, TierTableRow
from billing.club.tiers import DEFAULT_TABLE, TierTable, from_wire_tiers, to_wire_tiers
from billing.ids import new_id

_TABLES_LOCK = 7_061_010


class TierTableLate(ValueError):
    """A table takes effect at an instant that is to come, and that no other table has."""


async def add_tier_table(
    session: AsyncSession, effective_at: datetime, wire: Sequence[Mapping[str, Any]], actor: str, now: datetime
) -> tuple[TierTable, dict[str, int]]:
    """Post a table; returns it and the new epochs of the accounts whose tiers it may change. The caller commits."""
    tiers = from_wire_tiers(wire)
    if effective_at < now:
        raise TierTableLate(f"effective_at: {effective_at.isoformat()} is over; calls since then have their discount")
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _TABLES_LOCK})
    if any(table.effective_at == effective_at for table in await tier_tables(session)):
        raise TierTableLate(f"effective_at: another table takes effect at {effective_at.isoformat()} already")
    row = TierTableRow(id=new_id("tiers", now), effective_at=effective_at, tiers=to_wire_tiers(tiers), created_at=now)
    session.add(row)
    audit(session, actor, "tier_table.add", row.id, {"effective_at": effective_at.isoformat()}, now)
    await session.flush()
    partners = select(Contribution.account_id).distinct()
    raised = update(Account).where(col(Account.id).in_(partners)).values(epoch=Account.epoch + 1)
    epochs = await session.execute(raised.returning(col(Account.id), col(Account.epoch)))
    return from_row_table(row), {each.id: each.epoch for each in epochs}


async def tier_tables(session: AsyncSession) -> list[TierTable]:
    """Every table, oldest first; before the first posted one the default holds."""
    query = select(TierTableRow).order_by(col(TierTableRow.effective_at), col(TierTableRow.id))
    return [DEFAULT_TABLE, *(from_row_table(row) for row in (await session.execute(query)).scalars())]


def from_row_table(row: TierTableRow) -> TierTable:
    return TierTable(row.id, row.effective_at.astimezone(UTC), from_wire_tiers(row.tiers))
