"""The only writer of the ledger: appends settled calls, each once, with rollups and running totals in the same transaction.

Exactly-once: the entry's id is the call's; a record that is in the ledger already changes nothing. The settlement of a call of
which only an orphan's estimate is known replaces that by a linked reversal; an estimate that comes after it changes nothing.
Closing a month and appending exclude each other by an advisory lock, so that no entry slips into a month that is closed.
A month's partition is made when its first record comes. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, func, select

from billing.ledger.entry import Grants, Settled, exact_id, partition_of, to_row_entry, to_row_reversal
from billing.ledger.proof import Chain, leaf_of
from billing.ledger.record import ORPHANED
from billing.ledger.statements import (
    BEGIN_CHAINS,
    ENTRY_TYPES,
    KNOWN_ENTRIES,
    LOCK_CHAINS,
    STAGING,
    insert_staged,
    stage,
)
from billing.ledger.tables import ClosedMonth, DetachedMonth, LedgerGrantUse
from billing.periods import Month

CLOSE_LOCK = 7_061_001
"""Advisory lock: shared by everyone who appends, exclusive for whoever closes a month."""

_STAGE = text(stage())
_LOCK_CHAINS, _BEGIN_CHAINS, _KNOWN = text(LOCK_CHAINS), text(BEGIN_CHAINS), text(KNOWN_ENTRIES)
Row = dict[str, Any]
_INSERT = text(insert_staged())
_IN_ORDER = itemgetter(*ENTRY_TYPES)


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch: how many records changed the ledger, and how many came for a month that is detached."""

    changed: int
    refused: int


async def append(session: AsyncSession, settled: Sequence[Settled], now: datetime) -> Appended:
    """Append each call that is not there yet, and settlements in place of estimates. The caller commits."""
    unique: dict[str, Settled] = {}
    for item in settled:
        first = unique.get(item.record.call_id)
        if first is None or (first.record.is_orphan and not item.record.is_orphan):
            unique[item.record.call_id] = item
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": CLOSE_LOCK})
    last_closed = (await session.execute(select(func.max(col(ClosedMonth.month))))).scalar_one_or_none()
    open_from = str(Month.parse(last_closed).next()) if last_closed else ""
    batch = {
        item.record.uuid: (to_row_entry(item, open_from, now), item) for item in sorted(unique.values(), key=_call_id)
    }
    refused = await _refuse_detached(session, batch)
    if not batch:
        return Appended(0, refused)
    chains = await _lock_chains(session, {(row["account_id"], row["booked_month"]) for row, _ in batch.values()})
    known = await _known(session, [row for row, _ in batch.values()])
    new = [pair for call_id, pair in batch.items() if call_id not in known]
    estimated = [
        c for c, reason in known.items() if (reason or "").startswith(ORPHANED) and not batch[c][1].record.is_orphan
    ]
    replaced = await _replacements(session, {call_id: batch[call_id] for call_id in estimated}, open_from, now)
    rows = [row for row, _ in new] + [row for reversal, exact, _ in replaced for row in (reversal, exact)]
    if rows:
        await _insert(session, rows, chains)
        await _add_grant_use(session, [(row["entry_id"], item.grants) for row, item in new])
        await _move_grant_use(session, replaced)
    return Appended(len(new) + len(replaced), refused)


def _call_id(item: Settled) -> str:
    return item.record.call_id


async def _refuse_detached(session: AsyncSession, batch: dict[UUID, tuple[Row, Settled]]) -> int:
    """Take out what belongs into a month that is no longer attached, and count it; have partitions for the rest."""
    months = {row["partition_month"] for row, _ in batch.values()}
    query = select(DetachedMonth).where(col(DetachedMonth.partition_month).in_(months)).with_for_update()
    refused = 0
    for detached in (await session.execute(query)).scalars().all():
        gone = [c for c, (row, _) in batch.items() if row["partition_month"] == detached.partition_month]
        for call_id in gone:
            del batch[call_id]
        detached.refused += len(gone)
        refused += len(gone)
        months.discard(detached.partition_month)
    await session.flush()
    await _have_partitions(session, months)
    return refused


async def _lock_chains(session: AsyncSession, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Chain]:
    """The proofs that this batch lengthens, locked until the transaction ends: who appends to an account waits for its turn."""
    keys = sorted(wanted)
    asked: dict[str, Any] = {"accounts": [account for account, _ in keys], "months": [month for _, month in keys]}
    rows = (await session.execute(_LOCK_CHAINS, asked)).all()
    if len(rows) < len(keys):
        found = {(row.account_id, row.booked_month) for row in rows}
        begun = [(key, Chain.begin(*key)) for key in keys if key not in found]
        await session.execute(_BEGIN_CHAINS, _to_row_chains(dict(begun)))
        rows = (await session.execute(_LOCK_CHAINS, asked)).all()
    return {(row.account_id, row.booked_month): Chain(row.entries, row.head) for row in rows}


def _to_row_chains(chains: dict[tuple[str, str], Chain]) -> dict[str, list[Any]]:
    return {
        "accounts": [account for account, _ in chains],
        "months": [month for _, month in chains],
        "entries": [chain.entries for chain in chains.values()],
        "heads": [chain.head for chain in chains.values()],
    }


async def _known(session: AsyncSession, rows: Sequence[Row]) -> dict[UUID, str | None]:
    """Entries that are in the ledger already: id → why they are estimated."""
    asked = {"partitions": [row["partition_month"] for row in rows], "ids": [row["entry_id"] for row in rows]}
    return {row.entry_id: row.estimated_reason for row in await session.execute(_KNOWN, asked)}


async def _insert(session: AsyncSession, rows: Sequence[Row], chains: dict[tuple[str, str], Chain]) -> None:
    """Link new entries to the proofs of their accounts, and insert them with their rollups and running totals."""
    for row in rows:
        row["place"] = chains[row["account_id"], row["booked_month"]].add(leaf_of(row))
    await session.execute(_STAGE)
    await _copy(session, rows)
    await session.execute(_INSERT, _to_row_chains(chains))


async def _copy(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Straight through the driver, for which SQLAlchemy has no word; its errors are made those of SQLAlchemy."""
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    try:
        await driver.copy_records_to_table(STAGING, records=map(_IN_ORDER, rows), columns=list(ENTRY_TYPES))
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DBAPIError("COPY", None, error) from error
    except OverflowError as error:
        raise DBAPIError("COPY", None, asyncpg.NumericValueOutOfRangeError(f"{error}")) from error


async def _replacements(
    session: AsyncSession, late: dict[UUID, tuple[Row, Settled]], open_from: str, now: datetime
) -> list[tuple[Row, Row, Settled]]:
    """For each settlement of a call whose estimate stands: the estimate's reversal, the exact entry, and what was settled."""
    if not late:
        return []
    exact = {call_id: {**row, "entry_id": exact_id(call_id)} for call_id, (row, _) in late.items()}
    done = await _known(session, list(exact.values()))
    table = SQLModel.metadata.tables["ledger_entry"]
    query = table.select().where(
        table.c.partition_month.in_({partition_of(call_id) for call_id in late}),
        table.c.entry_id.in_([call_id for call_id, row in exact.items() if row["entry_id"] not in done]),
    )
    estimates = (await session.execute(query.order_by(table.c.entry_id))).mappings().all()
    return [
        (to_row_reversal(dict(estimate), open_from, now), exact[estimate["call_id"]], late[estimate["call_id"]][1])
        for estimate in estimates
    ]


async def hold_appends(session: AsyncSession) -> None:
    """Wait for the appends that are under way and keep new ones out until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLOSE_LOCK})


async def seal(session: AsyncSession, month: Month, now: datetime) -> None:
    """Book nothing more into a month, once the caller (who holds the appends) commits."""
    session.add(ClosedMonth(month=str(month), closed_at=now))
    await session.flush()


async def _have_partitions(session: AsyncSession, months: set[int]) -> None:
    """Made by a function that runs as the ledger's owner: the application's role owns nothing (gateway/migrate.py)."""
    for month in sorted(months):
        name = f"ledger_entry_{month:06d}"
        if (await session.execute(text("SELECT to_regclass(:name)"), {"name": name})).scalar_one() is None:
            await session.execute(text("SELECT ledger_partition(:month)"), {"month": month})


async def _add_grant_use(session: AsyncSession, new: Iterable[tuple[UUID, Grants]]) -> None:
    taken: dict[tuple[str, UUID], int] = defaultdict(int)
    for entry_id, grants in new:
        for grant_id, _, tokens in grants:
            taken[grant_id, entry_id] += tokens
    if taken:
        rows = [{"grant_id": grant, "entry_id": entry, "tokens": tokens} for (grant, entry), tokens in taken.items()]
        await session.execute(insert(LedgerGrantUse), rows)


async def _move_grant_use(session: AsyncSession, replaced: Sequence[tuple[Row, Row, Settled]]) -> None:
    """What an estimate took from grants goes back; what its settlement took is taken."""
    if not replaced:
        return
    given_back = {reversal["reverses"]: reversal["entry_id"] for reversal, _, _ in replaced}
    query = select(LedgerGrantUse).where(col(LedgerGrantUse.entry_id).in_(given_back))
    for use in (await session.execute(query)).scalars().all():
        session.add(LedgerGrantUse(grant_id=use.grant_id, entry_id=given_back[use.entry_id], tokens=-use.tokens))
    await session.flush()
    await _add_grant_use(session, [(exact["entry_id"], item.grants) for _, exact, item in replaced])
