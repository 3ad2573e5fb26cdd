"""The proofs of a month worked out again from its entries, account by account: detached months too, while their tables are there.

Entries are read a few hundred at a time by their place, so an account of any size is verified in the same memory.
Errors: `sources.MonthDetached` where entries are not in this database any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.ledger.proof import FIELDS, Chain, leaf_of
from billing.ledger.sources import entries_of
from billing.ledger.tables import LedgerProof

_FETCH = 500


@dataclass(frozen=True, slots=True)
class Verified:
    """What an account's entries of a month lead to, beside what the ledger wrote down as it linked them."""

    account_id: str
    entries: int
    entries_found: int
    root: str
    root_found: str

    @property
    def holds(self) -> bool:
        return (self.entries, self.root) == (self.entries_found, self.root_found)


async def count_accounts(session: AsyncSession, booked_month: str) -> int:
    """How many accounts have a proof in a month."""
    query = select(func.count()).select_from(LedgerProof).where(col(LedgerProof.booked_month) == booked_month)
    return (await session.execute(query)).scalar_one()


async def verify(
    session: AsyncSession, booked_month: str, account_id: str | None, after: str, entries_max: int
) -> tuple[list[Verified], str | None]:
    """Verify accounts of a month, in their order, until about `entries_max` entries were read; where to go on, or None at the end."""
    query = select(LedgerProof).where(
        col(LedgerProof.booked_month) == booked_month, col(LedgerProof.account_id) > after
    )
    if account_id is not None:
        query = query.where(col(LedgerProof.account_id) == account_id)
    source, done, read = await entries_of(session, booked_month), list[Verified](), 0
    for proof in (await session.execute(query.order_by(col(LedgerProof.account_id)))).scalars().all():
        if read >= entries_max:
            return done, done[-1].account_id
        done.append(await _verify_one(session, source, proof))
        read += done[-1].entries_found
    return done, None


async def _verify_one(session: AsyncSession, source: str, proof: LedgerProof) -> Verified:
    chain, misplaced = Chain.begin(proof.account_id, proof.booked_month), 0
    query = text(
        f"SELECT place, {', '.join(FIELDS)} FROM {source} WHERE account_id = :account AND booked_month = :month AND place > 0 "  # noqa: S608 - our own names
        "ORDER BY place, entry_id"
    )
    asked = {"account": proof.account_id, "month": proof.booked_month}
    async for row in (await session.stream(query, asked, execution_options={"yield_per": _FETCH})).mappings():
        misplaced += row["place"] != chain.add(leaf_of(dict(row)))
    stated = Chain(proof.entries, proof.head)
    found = chain.root() if not misplaced else f"{misplaced} entries out of place"
    return Verified(proof.account_id, proof.entries, chain.entries, stated.root(), found)
