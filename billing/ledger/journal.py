"""The only writer of the ledger: appends settled calls, each once, with rollups and running totals in the same transaction.

Exactly-once: the entry's id is the call's; a record that is in the ledger already changes nothing. The settlement of a call of
which only an orphan's estimate is known replaces that by a linked reversal; an estimate that comes after it changes nothing.
Closing a month and appending exclude each other by an advisory lock, so that no entry slips into a month that is closed.
A month's partition is made when its first record comes. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, select

from billing.ledger.entry import Entry, Grants, Settled, entry_of, exact_of, partition_of, reversal_of
from billing.ledger.lines import COLUMNS, Sums, to_row_line
from billing.ledger.proof import Chain
from billing.ledger.record import is_orphans, to_wire_record
from billing.ledger.statements import BEGIN_CHAINS, KNOWN_ENTRIES, LOCK_CHAINS, STAGED, STATE, add_staged, stage
from billing.ledger.tables import ClosedMonth, DetachedMonth, LateRecord, LedgerGrantUse
from billing.periods import Month

CLOSE_LOCK = 7_061_001
"""Advisory lock: shared by everyone who appends, exclusive for whoever closes a month."""

_STAGE = "; ".join(["RELEASE SAVEPOINT entries", *stage()])
_LOCK_CHAINS, _BEGIN_CHAINS, _KNOWN = text(LOCK_CHAINS), text(BEGIN_CHAINS), text(KNOWN_ENTRIES)
_ADD, _STATE = text(add_staged()), text(STATE)
_SLICE = 256
_Item = TypeVar("_Item")

_Settling = tuple[Entry, Settled]
_Replaced = tuple[Entry, Entry, Settled]
"""The reversal of an estimate, the exact entry, and what was settled."""


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
    # One question for what seldom matters. Its answer holds until the transaction ends, for who closes or detaches takes the lock.
    months = {partition_of(item.record.uuid) for item in unique.values()}
    last_closed, some_detached, missing = (await session.execute(_STATE, {"months": sorted(months)})).one()
    open_from = str(Month.parse(last_closed).next()) if last_closed else ""
    batch: list[_Settling] = []
    for some in _slices(list(unique.values())):
        batch += [(entry_of(item, open_from), item) for item in some]
        await asyncio.sleep(0)
    refused = 0
    if some_detached:
        batch, refused = await _refuse_detached(session, batch, now)
        if not batch:
            return Appended(0, refused)
    if missing:
        await _have_partitions(session, missing, {entry.partition_month for entry, _ in batch})
    # An account's entries side by side: they are read together, and so their index grows in fewer places.
    batch.sort(key=_in_order)
    chains = await _lock_chains(session, {_chain_of(entry) for entry, _ in batch})
    # Nearly always all of them are new. Where one is not, the primary key says so, and each is looked up.
    new, replaced = batch, list[_Replaced]()
    if not await _insert(session, [entry for entry, _ in new], chains, now):
        new, replaced = await _unknown(session, batch, open_from)
        rows = [entry for entry, _ in new] + [row for reversal, exact, _ in replaced for row in (reversal, exact)]
        if rows and not await _insert(session, rows, chains, now):
            raise DBAPIError("COPY", None, asyncpg.UniqueViolationError("an entry's id is taken by another account"))
    await _add_grant_use(session, [(entry.entry_id, item.grants) for entry, item in new])
    await _move_grant_use(session, replaced)
    return Appended(len(new) + len(replaced), refused)


def _in_order(pair: _Settling) -> tuple[str, str]:
    return pair[0].common.shared.account_id, pair[0].call_id


def _chain_of(entry: Entry) -> tuple[str, str]:
    shared = entry.common.shared
    return shared.account_id, shared.booked_month


async def _refuse_detached(session: AsyncSession, batch: list[_Settling], now: datetime) -> tuple[list[_Settling], int]:
    """Set aside what belongs into a month that is no longer attached, each once, and count it."""
    months = {entry.partition_month for entry, _ in batch}
    query = (
        select(DetachedMonth)
        .where(col(DetachedMonth.partition_month).in_(months), col(DetachedMonth.attached_at).is_(None))
        .with_for_update()
    )
    refused = 0
    for detached in (await session.execute(query)).scalars().all():
        late = [pair for pair in batch if pair[0].partition_month == detached.partition_month]
        batch = [pair for pair in batch if pair[0].partition_month != detached.partition_month]
        kept = insert(LateRecord).values([_to_row_late(entry, item, now) for entry, item in late])
        new = (await session.execute(kept.on_conflict_do_nothing().returning(col(LateRecord.call_id)))).all()
        detached.refused += len(new)
        refused += len(new)
    await session.flush()
    return batch, refused


def _to_row_late(entry: Entry, item: Settled, now: datetime) -> dict[str, Any]:
    return {
        "partition_month": entry.partition_month,
        "call_id": item.record.uuid,
        "account_id": item.record.account_id,
        "record": to_wire_record(item.record),
        "grants": [list(part) for part in item.grants],
        "refused_at": now,
    }


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


async def _insert(
    session: AsyncSession, entries: Sequence[Entry], chains: dict[tuple[str, str], Chain], now: datetime
) -> bool:
    """Link entries to the proofs of their accounts, and insert them with their rollups and totals.

    Nothing is done, and it is False, where one of them is in the ledger already.
    """
    lengthened = {key: Chain(chain.entries, chain.head) for key, chain in chains.items()}
    recorded_at, sums = now.isoformat(), Sums()

    async def lines() -> AsyncIterator[bytes]:
        """A slice at a time: Postgres works on one while the next is made."""
        for part in _slices(entries):
            sums.add(part)
            yield "".join([to_row_line(e, lengthened[_chain_of(e)], recorded_at) for e in part]).encode()
            await asyncio.sleep(0)

    driver = await _driver(session)
    with _as_sqlalchemys():
        await driver.execute("SAVEPOINT entries")
        try:
            await driver.copy_to_table("ledger_entry", source=lines(), columns=COLUMNS)
        except asyncpg.UniqueViolationError:
            await driver.execute("ROLLBACK TO SAVEPOINT entries")
            return False
        await driver.execute(_STAGE)
        for (table, columns), rows in zip(STAGED.items(), sums.to_row_lines(), strict=True):
            await driver.copy_to_table(table, source=memoryview("".join(rows).encode()), columns=columns)
    await session.execute(_ADD, _to_row_chains(lengthened))
    return True


def _slices(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Some at a time, so that a large batch does not hold up the event loop, nor Postgres, which is fed from it."""
    for at in range(0, len(items), _SLICE):
        yield items[at : at + _SLICE]


async def _driver(session: AsyncSession) -> Any:
    """What SQLAlchemy has no word for, COPY, goes straight through the driver; savepoints around it too, at a tenth of the cost."""
    return (await (await session.connection()).get_raw_connection()).driver_connection


@contextmanager
def _as_sqlalchemys() -> Iterator[None]:
    """The driver's errors as those of SQLAlchemy."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DBAPIError("COPY", None, error) from error


async def _unknown(
    session: AsyncSession, batch: Sequence[_Settling], open_from: str
) -> tuple[list[_Settling], list[_Replaced]]:
    """What of a batch is new, and which settlements come in place of an estimate that stands in the ledger."""
    known = await _known(session, [entry for entry, _ in batch])
    new = [pair for pair in batch if pair[0].entry_id not in known]
    late = {
        entry.call_id: (exact_of(entry), item)
        for entry, item in batch
        if is_orphans(known.get(entry.entry_id)) and not item.record.is_orphan
    }
    if not late:
        return new, []
    done = await _known(session, [exact for exact, _ in late.values()])
    left = {call_id: pair for call_id, pair in late.items() if pair[0].entry_id not in done}
    table = SQLModel.metadata.tables["ledger_entry"]
    query = table.select().where(
        table.c.partition_month.in_({exact.partition_month for exact, _ in left.values()}),
        table.c.entry_id.in_([UUID(hex=call_id) for call_id in left]),
    )
    estimates = (await session.execute(query.order_by(table.c.account_id, table.c.entry_id))).mappings().all()
    return new, [(reversal_of(dict(row), open_from), *left[row["call_id"].hex]) for row in estimates]


async def _known(session: AsyncSession, entries: Sequence[Entry]) -> dict[str, str | None]:
    """Those that are in the ledger already: id → why they are estimated."""
    asked = {"partitions": [each.partition_month for each in entries], "ids": [each.entry_id for each in entries]}
    return {row.entry_id.hex: row.estimated_reason for row in await session.execute(_KNOWN, asked)}


async def hold_appends(session: AsyncSession) -> None:
    """Wait for the appends that are under way and keep new ones out until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLOSE_LOCK})


async def seal(session: AsyncSession, month: Month, now: datetime) -> None:
    """Book nothing more into a month, once the caller (who holds the appends) commits."""
    session.add(ClosedMonth(month=str(month), closed_at=now))
    await session.flush()


async def _have_partitions(session: AsyncSession, missing: Sequence[int], wanted: set[int]) -> None:
    """Made by a function that runs as the ledger's owner: the application's role owns nothing (gateway/migrate.py)."""
    for month in sorted(wanted.intersection(missing)):
        await session.execute(text("SELECT ledger_partition(:month)"), {"month": month})


async def _add_grant_use(session: AsyncSession, new: Iterable[tuple[str, Grants]]) -> None:
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for entry_id, grants in new:
        for grant_id, _, tokens in grants:
            taken[grant_id, entry_id] += tokens
    if taken:
        rows = [
            {"grant_id": grant, "entry_id": UUID(hex=entry), "tokens": tokens}
            for (grant, entry), tokens in taken.items()
        ]
        await session.execute(insert(LedgerGrantUse), rows)


async def _move_grant_use(session: AsyncSession, replaced: Sequence[_Replaced]) -> None:
    """What an estimate took from grants goes back; what its settlement took is taken."""
    if not replaced:
        return
    given_back = {UUID(hex=reversal.reverses): UUID(hex=reversal.entry_id) for reversal, _, _ in replaced}
    query = select(LedgerGrantUse).where(col(LedgerGrantUse.entry_id).in_(given_back))
    for use in (await session.execute(query)).scalars().all():
        session.add(LedgerGrantUse(grant_id=use.grant_id, entry_id=given_back[use.entry_id], tokens=-use.tokens))
    await session.flush()
    await _add_grant_use(session, [(exact.entry_id, item.grants) for _, exact, item in replaced])
