"""The only writer of the ledger: appends settled calls, each once, with their running totals in the same transaction.

Exactly-once: the entry's id is the call's; a record that is in the ledger already changes nothing. Closing a month and
appending exclude each other by an advisory lock, so that no entry slips into a month that is closed.
A month's partition is made when its first record comes. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, func, select

from billing.ids import instant_of
from billing.ledger.record import UsageRecord, from_wire_prices
from billing.ledger.tables import ClosedMonth, LedgerGrantUse, LedgerTotal
from billing.money import add
from billing.periods import Month
from billing.prices import cost, list_cost
from billing.usage import Usage

CLOSE_LOCK = 7_061_001
"""Advisory lock: shared by everyone who appends, exclusive for whoever closes a month."""

_PARTITION_LOCK = 7_061_002


@dataclass(frozen=True, slots=True)
class Settled:
    """A record and how grants were spent on it: (grant id, kind, tokens), as decided at settlement."""

    record: UsageRecord
    grants: tuple[tuple[str, str, int], ...] = field(default=())

    @property
    def granted(self) -> Usage:
        taken: dict[str, int] = defaultdict(int)
        for _, kind, tokens in self.grants:
            taken[kind] += tokens
        return Usage(taken["input"], taken["cached_input"], taken["output"])


async def append(session: AsyncSession, settled: Sequence[Settled], now: datetime) -> int:
    """Append each call that is not there yet; returns how many were new. The caller commits."""
    unique = {item.record.call_id: item for item in settled}
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": CLOSE_LOCK})
    last_closed = (await session.execute(select(func.max(col(ClosedMonth.month))))).scalar_one_or_none()
    open_from = str(Month.parse(last_closed).next()) if last_closed else ""
    rows = [_to_row_entry(item, open_from, now) for item in unique.values()]
    await _have_partitions(session, {row["partition_month"] for row in rows})
    # One statement with many parameter sets, so that it is compiled once: composing VALUES anew costs a millisecond a row.
    table = SQLModel.metadata.tables["ledger_entry"]
    statement = insert(table).on_conflict_do_nothing().returning(table.c.entry_id)
    inserted = set((await session.execute(statement, rows)).scalars()) if rows else set()
    if inserted:
        await _add_totals(session, [row for row in rows if row["entry_id"] in inserted])
        await _add_grant_use(session, (item for item in unique.values() if item.record.uuid in inserted))
    return len(inserted)


async def hold_appends(session: AsyncSession) -> None:
    """Wait for the appends that are under way and keep new ones out until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLOSE_LOCK})


async def seal(session: AsyncSession, month: Month, now: datetime) -> None:
    """Book nothing more into a month, once the caller (who holds the appends) commits."""
    session.add(ClosedMonth(month=str(month), closed_at=now))
    await session.flush()


def _to_row_entry(item: Settled, open_from: str, now: datetime) -> dict[str, Any]:
    record, granted = item.record, item.granted
    prices, usage, discount = from_wire_prices(record.prices), Usage(*record.usage), Decimal(record.discount)
    made = instant_of(record.uuid)
    return {
        "partition_month": made.year * 100 + made.month,
        "entry_id": record.uuid,
        "call_id": record.uuid,
        "kind": "call",
        "account_id": record.account_id,
        "key_id": record.key_id,
        "accepted_at": record.accepted_at,
        "billing_month": record.billing_month,
        "booked_month": max(record.billing_month, open_from),
        "endpoint": record.endpoint,
        "model_asked": record.model_asked,
        "model": record.model,
        "model_answered": record.model_answered,
        "card_id": record.card_id,
        "input_price": prices.input,
        "cached_input_price": prices.cached_input,
        "output_price": prices.output,
        "standard_price": prices.standard,
        "enhanced_price": prices.enhanced,
        "discount": discount,
        "discount_reason": record.discount_reason,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "standard_pages": usage.standard_pages,
        "enhanced_pages": usage.enhanced_pages,
        "granted_input_tokens": granted.input_tokens,
        "granted_cached_input_tokens": granted.cached_input_tokens,
        "granted_output_tokens": granted.output_tokens,
        "list_cost": list_cost(usage, prices),
        "cost": cost(usage, granted, prices, discount),
        "estimated_reason": record.estimated_reason,
        "streamed": record.streamed,
        "attempts": record.attempts,
        "recorded_at": now,
    }


async def _have_partitions(session: AsyncSession, months: set[int]) -> None:
    for month in sorted(months):
        name = f"ledger_entry_{month:06d}"
        if (await session.execute(text("SELECT to_regclass(:name)"), {"name": name})).scalar_one() is None:
            await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PARTITION_LOCK})
            await session.execute(
                text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger_entry FOR VALUES IN ({month:d})")
            )


async def _add_totals(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    grouped: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for row in rows:
        grouped[row["account_id"], row["billing_month"], row["key_id"]].append(row["cost"])
    # Always in one order: two drains that meet wait for one another instead of dead-locking (traps.md 34).
    for (account_id, month, key_id), costs in sorted(grouped.items()):
        statement = insert(LedgerTotal).values(
            account_id=account_id, billing_month=month, key_id=key_id, entries=len(costs), cost=add(costs)
        )
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["account_id", "billing_month", "key_id"],
                set_={
                    "entries": col(LedgerTotal.entries) + statement.excluded.entries,
                    "cost": col(LedgerTotal.cost) + statement.excluded.cost,
                },
            )
        )


async def _add_grant_use(session: AsyncSession, new: Iterable[Settled]) -> None:
    taken: dict[tuple[str, UUID], int] = defaultdict(int)
    for item in new:
        for grant_id, _, tokens in item.grants:
            taken[grant_id, item.record.uuid] += tokens
    if taken:
        rows = [{"grant_id": grant, "entry_id": entry, "tokens": tokens} for (grant, entry), tokens in taken.items()]
        await session.execute(insert(LedgerGrantUse).values(rows))
