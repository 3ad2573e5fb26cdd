"""Where entries lie: in the ledger, or in a month's table that was detached from it and is still in the database.

A detached month keeps its name (`ledger_entry_202610`) until an operator has moved it away. Who needs all entries of a month to be
right asks here; who finds that some are gone says so (`MonthDetached`) instead of showing a part for the whole.
Months here are UTC months of the entries' ids, as numbers: 202610.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.ledger.tables import DetachedMonth, LedgerEntry
from billing.periods import Month


class MonthDetached(RuntimeError):
    """Entries of a month are no longer in the ledger; rollups, bills and proofs are."""

    def __init__(self, partition_month: int) -> None:
        super().__init__(f"the entries of {named(partition_month)} (UTC) are detached: attach them again to read them")
        self.partition_month = partition_month


def table_of(partition_month: int) -> str:
    """The table of a month's entries, attached or not."""
    return f"ledger_entry_{partition_month:06d}"


def number_of(month: Month) -> int:
    return month.year * 100 + month.number


def month_of(partition_month: int) -> Month:
    return Month(*divmod(partition_month, 100))


def named(partition_month: int) -> str:
    return str(month_of(partition_month))


async def detached_months(session: AsyncSession) -> list[DetachedMonth]:
    """Those that are not in the ledger now, oldest first."""
    query = select(DetachedMonth).where(col(DetachedMonth.attached_at).is_(None))
    query = query.order_by(col(DetachedMonth.partition_month))
    return list((await session.execute(query)).scalars())


async def table_exists(session: AsyncSession, partition_month: int) -> bool:
    found = await session.execute(text("SELECT to_regclass(:name)"), {"name": table_of(partition_month)})
    return found.scalar_one() is not None


async def entries_of(session: AsyncSession, booked_month: str) -> str:
    """SQL that stands for all entries of which some are booked into a month. Raises `MonthDetached` where a table is gone."""
    wanted = [each.partition_month for each in await detached_months(session) if booked_month in each.booked]
    return await _together(session, wanted)


async def entries_in(session: AsyncSession, partition_months: Iterable[int]) -> str:
    """The same for UTC months."""
    months = set(partition_months)
    wanted = [each.partition_month for each in await detached_months(session) if each.partition_month in months]
    return await _together(session, wanted)


async def _together(session: AsyncSession, detached: Iterable[int]) -> str:
    parts = [LedgerEntry.__tablename__]
    for partition_month in detached:
        if not await table_exists(session, partition_month):
            raise MonthDetached(partition_month)
        parts.append(table_of(partition_month))
    if len(parts) == 1:
        return str(parts[0])
    columns = ", ".join(LedgerEntry.__table__.columns.keys())  # type: ignore[attr-defined]
    union = " UNION ALL ".join(f"SELECT {columns} FROM {part}" for part in parts)  # noqa: S608 - our own names alone
    return f"({union}) AS ledger_entry"


async def must_hold(session: AsyncSession, booked_month: str) -> None:
    """Raises `MonthDetached` where entries that are booked into a month are not in the ledger."""
    for each in await detached_months(session):
        if booked_month in each.booked:
            raise MonthDetached(each.partition_month)


async def must_hold_between(session: AsyncSession, start: datetime, end: datetime) -> None:
    """The same for the entries of an interval."""
    for each in await detached_months(session):
        begins, ends = month_of(each.partition_month).bounds("UTC")
        if start < ends and begins < end:
            raise MonthDetached(each.partition_month)


async def gone_before(session: AsyncSession) -> datetime:
    """Until when entries may be missing: the end of the newest detached month, or the beginning of time."""
    found = await detached_months(session)
    return month_of(found[-1].partition_month).bounds("UTC")[1] if found else datetime(1970, 1, 1, tzinfo=UTC)
