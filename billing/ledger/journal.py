"""The only writer of the ledger: appends settled calls, each once, with rollups and running totals in the same transaction.

Exactly-once: the entry's id is the call's; a record that is in the ledger already changes nothing. The settlement of a call of
which only an orphan's estimate is known replaces that by a linked reversal; an estimate that comes after it changes nothing.
Closing a month and appending exclude each other by an advisory lock, so that no entry slips into a month that is closed.
A month's partition is made when its first record comes. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, func, select

from billing.ledger.entry import Grants, Settled, exact_id, partition_of, to_row_entry, to_row_reversal
from billing.ledger.record import ORPHANED
from billing.ledger.statements import ENTRY_TYPES, insert_entries
from billing.ledger.tables import ClosedMonth, LedgerGrantUse
from billing.periods import Month

CLOSE_LOCK = 7_061_001
"""Advisory lock: shared by everyone who appends, exclusive for whoever closes a month."""

_PARTITION_LOCK = 7_061_002
_INSERT = text(insert_entries())
_MONEY_COLUMNS = [name for name, kind in ENTRY_TYPES.items() if kind == "numeric"]


async def append(session: AsyncSession, settled: Sequence[Settled], now: datetime) -> int:
    """Append each call that is not there yet, and settlements in place of estimates; returns how many records changed the ledger.

    The caller commits.
    """
    unique: dict[str, Settled] = {}
    for item in settled:
        known = unique.get(item.record.call_id)
        if known is None or (known.record.is_orphan and not item.record.is_orphan):
            unique[item.record.call_id] = item
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": CLOSE_LOCK})
    last_closed = (await session.execute(select(func.max(col(ClosedMonth.month))))).scalar_one_or_none()
    open_from = str(Month.parse(last_closed).next()) if last_closed else ""
    # Always in one order: two drains that meet wait for one another instead of dead-locking (traps.md 34).
    batch = [(to_row_entry(item, open_from, now), item) for item in sorted(unique.values(), key=_call_id)]
    await _have_partitions(session, {row["partition_month"] for row, _ in batch})
    new = await _insert(session, [row for row, _ in batch])
    grants = [(row["entry_id"], item.grants) for row, item in batch if row["entry_id"] in new]
    late = {row["call_id"]: (row, item) for row, item in batch if row["entry_id"] not in new}
    replaced = await _replace_estimates(session, late, open_from, now)
    await _add_grant_use(session, grants)
    await _move_grant_use(session, [(reversal, late[reversal["call_id"]][1], exact) for reversal, exact in replaced])
    return len(new) + len(replaced)


def _call_id(item: Settled) -> str:
    return item.record.call_id


async def _insert(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> set[UUID]:
    """Insert what is not there yet, and add it to the rollups and running totals; returns the ids of what is new."""
    if not rows:
        return set()
    columns = {name: [row[name] for row in rows] for name in ENTRY_TYPES}
    for name in _MONEY_COLUMNS:
        columns[name] = [None if value is None else str(value) for value in columns[name]]
    return set((await session.execute(_INSERT, columns)).scalars())


async def _replace_estimates(
    session: AsyncSession, late: dict[UUID, tuple[dict[str, Any], Settled]], open_from: str, now: datetime
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Settlements of calls whose estimate is in the ledger: its reversal and the exact entry, for each that is new."""
    settlements = [call_id for call_id, (_, item) in late.items() if not item.record.is_orphan]
    if not settlements:
        return []
    table = SQLModel.metadata.tables["ledger_entry"]
    query = table.select().where(
        table.c.partition_month.in_({partition_of(call_id) for call_id in settlements}),
        table.c.entry_id.in_(settlements),
        table.c.estimated_reason.startswith(ORPHANED),
    )
    pairs = []
    for estimate in (await session.execute(query.order_by(table.c.entry_id))).mappings():
        exact = {**late[estimate["call_id"]][0], "entry_id": exact_id(estimate["call_id"])}
        pairs.append((to_row_reversal(dict(estimate), open_from, now), exact))
    new = await _insert(session, [row for pair in pairs for row in pair])
    return [(reversal, exact) for reversal, exact in pairs if reversal["entry_id"] in new]


async def hold_appends(session: AsyncSession) -> None:
    """Wait for the appends that are under way and keep new ones out until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLOSE_LOCK})


async def seal(session: AsyncSession, month: Month, now: datetime) -> None:
    """Book nothing more into a month, once the caller (who holds the appends) commits."""
    session.add(ClosedMonth(month=str(month), closed_at=now))
    await session.flush()


async def _have_partitions(session: AsyncSession, months: set[int]) -> None:
    for month in sorted(months):
        name = f"ledger_entry_{month:06d}"
        if (await session.execute(text("SELECT to_regclass(:name)"), {"name": name})).scalar_one() is None:
            await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PARTITION_LOCK})
            await session.execute(
                text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger_entry FOR VALUES IN ({month:d})")
            )


async def _add_grant_use(session: AsyncSession, new: Iterable[tuple[UUID, Grants]]) -> None:
    taken: dict[tuple[str, UUID], int] = defaultdict(int)
    for entry_id, grants in new:
        for grant_id, _, tokens in grants:
            taken[grant_id, entry_id] += tokens
    if taken:
        rows = [{"grant_id": grant, "entry_id": entry, "tokens": tokens} for (grant, entry), tokens in taken.items()]
        await session.execute(insert(LedgerGrantUse), rows)


async def _move_grant_use(
    session: AsyncSession, replaced: Sequence[tuple[dict[str, Any], Settled, dict[str, Any]]]
) -> None:
    """What an estimate took from grants goes back; what its settlement took is taken."""
    if not replaced:
        return
    given_back = {reversal["reverses"]: reversal["entry_id"] for reversal, _, _ in replaced}
    query = select(LedgerGrantUse).where(col(LedgerGrantUse.entry_id).in_(given_back))
    for use in (await session.execute(query)).scalars().all():
        session.add(LedgerGrantUse(grant_id=use.grant_id, entry_id=given_back[use.entry_id], tokens=-use.tokens))
    await session.flush()
    await _add_grant_use(session, [(exact["entry_id"], item.grants) for _, item, exact in replaced])
