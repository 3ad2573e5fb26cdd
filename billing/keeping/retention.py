"""Retention: a UTC month's entries leave the ledger as a table of their own, and come back.

    RetentionRefused      nothing was changed; `code` is stable
    ├── MonthInUse        month_in_use: too young, not closed, not finished, or read just now
    ├── NotInLedger       month_not_attached: there are no entries of it, or they are detached already
    ├── NotDetached       month_not_detached: it is in the ledger
    ├── TableGone         month_table_gone: its table is not in the database (any more)
    └── EntriesDiffer     month_entries_differ: the table does not hold what was detached

Detaching is one `ALTER TABLE`, by a function that runs as the ledger's owner: no entry is copied or deleted, whatever the size.
Rollups, totals, bills and proofs stay. While it runs nothing is appended (`hold_appends`); it waits at most `lock_wait_s` for
readers. Units: months as numbers (202610), exact USD.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.ledger.entry import Settled
from billing.ledger.journal import append, hold_appends
from billing.ledger.read import closed_months
from billing.ledger.record import from_wire_record
from billing.ledger.sources import detached_months, month_of, number_of, table_exists, table_of
from billing.ledger.tables import DetachedMonth, LateRecord
from billing.money import add
from billing.periods import Month

KEEP_MONTHS_MIN = 2
"""The running month and the one before are never detached: their calls may still be settled."""

_LOCK_NOT_AVAILABLE = "55P03"
FinishedMonths = Callable[[AsyncSession], Awaitable[Collection[str]]]
"""The months whose invoices and shares are all issued."""


class RetentionRefused(RuntimeError):
    """A month cannot be detached or attached (now)."""

    code = "month_refused"


class MonthInUse(RetentionRefused):
    """Something still rests on its entries being here."""

    code = "month_in_use"


class NotInLedger(RetentionRefused):
    """There is nothing to detach."""

    code = "month_not_attached"


class NotDetached(RetentionRefused):
    """There is nothing to attach."""

    code = "month_not_detached"


class TableGone(RetentionRefused):
    """Its table was moved away."""

    code = "month_table_gone"


class EntriesDiffer(RetentionRefused):
    """Its table is not what was detached."""

    code = "month_entries_differ"


@dataclass(frozen=True, slots=True)
class Kept:
    """A month of the ledger, attached or not. `late`: records that came after it was detached, which are kept."""

    month: Month
    attached: bool
    table_there: bool
    entries: int | None
    """None for an attached month: counting it reads it."""
    cost: Decimal | None
    booked: dict[str, int]
    """Entries by the month whose invoices carry them."""
    bytes: int
    detached_at: datetime | None
    late: int


async def kept_months(session: AsyncSession) -> list[Kept]:
    """Every month of the ledger, oldest first."""
    query = text(
        "SELECT CAST(right(c.relname, 6) AS integer), pg_total_relation_size(c.oid) FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST('ledger_entry' AS regclass)"
    )
    found = [
        Kept(month_of(month), True, True, None, None, {}, size, None, 0)
        for month, size in (await session.execute(query)).all()
    ]
    late = await _late_counts(session)
    for each in await detached_months(session):
        there = await table_exists(session, each.partition_month)
        found.append(
            Kept(
                month_of(each.partition_month),
                False,
                there,
                each.entries,
                each.cost,
                dict(each.booked),
                await _size_of(session, each.partition_month) if there else 0,
                each.detached_at,
                late.get(each.partition_month, 0),
            )
        )
    return sorted(found, key=lambda kept: number_of(kept.month))


async def detach(
    session: AsyncSession,
    month: Month,
    now: datetime,
    finished_months: FinishedMonths,
    *,
    keep_months: int = KEEP_MONTHS_MIN,
    lock_wait_s: int = 5,
) -> DetachedMonth:
    """Take a month's entries out of the ledger. The caller commits."""
    number = number_of(month)
    young_from = _back(Month.of(now, "UTC"), max(keep_months, KEEP_MONTHS_MIN) - 1)
    if str(month) >= str(young_from):
        raise MonthInUse(f"{month} is kept: months from {young_from} on stay in the ledger")
    await hold_appends(session)
    booked = await _booked(session, number) if await _is_attached(session, number) else {}
    if not booked:  # no table, or an empty one
        raise NotInLedger(f"the ledger holds no entries of {month} (UTC)")
    last_closed = max(await closed_months(session), default="")
    finished = set(await finished_months(session))
    if last_closed < str(month):
        raise MonthInUse(f"{month} is not closed")
    if waiting := sorted(name for name in booked if name not in finished):
        raise MonthInUse(
            f"entries of {month} (UTC) are booked into {waiting[0]}, which is not closed and issued to its end"
        )
    try:
        await session.execute(text("SELECT ledger_detach(:month, :wait_s)"), {"month": number, "wait_s": lock_wait_s})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        raise MonthInUse(f"{month} is being read; nothing was changed after {lock_wait_s} s") from None
    row = await session.get(DetachedMonth, number) or DetachedMonth(partition_month=number, detached_at=now)
    row.detached_at, row.attached_at = now, None
    row.entries, row.cost = sum(count for count, _ in booked.values()), add(cost for _, cost in booked.values())
    row.booked = {name: count for name, (count, _) in booked.items()}
    session.add(row)
    await session.flush()
    return row


async def attach(session: AsyncSession, month: Month, now: datetime) -> int:
    """Put a month's entries back, then append what came for it meanwhile; returns how many of those changed the ledger."""
    number = number_of(month)
    await hold_appends(session)
    row = await session.get(DetachedMonth, number, with_for_update=True)
    if row is None or row.attached_at is not None:
        raise NotDetached(f"{month} is not detached")
    if not await table_exists(session, number):
        raise TableGone(f"the table {table_of(number)} is not in the database: restore it first")
    found = await _booked(session, number, table_of(number))
    entries, cost = sum(count for count, _ in found.values()), add(cost for _, cost in found.values())
    if (entries, cost) != (row.entries, row.cost):
        raise EntriesDiffer(
            f"{table_of(number)} holds {entries} entries of {cost} USD; {row.entries} of {row.cost} USD were detached"
        )
    await session.execute(text("SELECT ledger_attach(:month)"), {"month": number})
    row.attached_at = now
    await session.flush()
    late = (await session.execute(_late(number))).scalars().all()
    changed = (await append(session, [_from_row_late(each) for each in late], now)).changed if late else 0
    for each in late:
        each.appended_at = now
    await session.flush()
    return changed


async def late_records(session: AsyncSession, count_max: int) -> list[LateRecord]:
    """Records that came for a detached month and are in no bill, newest first."""
    query = select(LateRecord).where(col(LateRecord.appended_at).is_(None))
    query = query.order_by(col(LateRecord.refused_at).desc(), col(LateRecord.call_id)).limit(count_max)
    return list((await session.execute(query)).scalars())


def _late(number: int) -> Any:
    waiting = (col(LateRecord.partition_month) == number, col(LateRecord.appended_at).is_(None))
    return select(LateRecord).where(*waiting).order_by(col(LateRecord.call_id))


def _from_row_late(row: LateRecord) -> Settled:
    grants = tuple((str(grant), str(kind), int(tokens)) for grant, kind, tokens in row.grants)
    return Settled(from_wire_record(row.record.encode()), grants)


async def _late_counts(session: AsyncSession) -> dict[int, int]:
    query = select(LateRecord.partition_month, func.count()).where(col(LateRecord.appended_at).is_(None))
    query = query.group_by(col(LateRecord.partition_month))
    return {month: count for month, count in (await session.execute(query)).all()}  # noqa: C416 - rows are no pairs to mypy


async def _booked(session: AsyncSession, number: int, table: str = "ledger_entry") -> dict[str, tuple[int, Decimal]]:
    """Entries and exact USD of a UTC month by the month whose invoices carry them."""
    query = text(
        f"SELECT booked_month, count(*), sum(cost) FROM {table} WHERE partition_month = :number GROUP BY 1 ORDER BY 1"  # noqa: S608 - our own names
    )
    return {name: (count, cost) for name, count, cost in await session.execute(query, {"number": number})}


async def _is_attached(session: AsyncSession, number: int) -> bool:
    return await table_exists(session, number) and number not in {
        each.partition_month for each in await detached_months(session)
    }


async def _size_of(session: AsyncSession, number: int) -> int:
    query = text("SELECT pg_total_relation_size(to_regclass(:name))")
    return int((await session.execute(query, {"name": table_of(number)})).scalar_one())


def _back(month: Month, by: int) -> Month:
    count = month.year * 12 + month.number - 1 - by
    return Month(count // 12, count % 12 + 1)
