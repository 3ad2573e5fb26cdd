"""Reading payouts: payees, holds, what was paid, and what is due.

Pages are ordered by id, which sorts by time; the cursor is the last id seen.
Errors: `PayoutNotFound`, `HoldNotFound`; `MonthDetached` where calls are compared that are not in the ledger now.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.accounts.tables import Account
from billing.ledger.sources import must_hold
from billing.ledger.tables import LedgerEntry
from billing.money import subtract
from billing.payouts.tables import Payee, Payout, PayoutHold
from billing.share.tables import Share

_SIZES_MAX = 10_000
_SIZE_MIN_TOKENS = 50


class PayoutNotFound(LookupError):
    """No payout has this id."""

    def __init__(self, payout_id: str) -> None:
        super().__init__(f"no payout {payout_id!r}; list them with `solar-gateway shares payouts`")
        self.payout_id = payout_id


class HoldNotFound(LookupError):
    """No hold of this id stands."""

    def __init__(self, hold_id: str) -> None:
        super().__init__(f"no standing hold {hold_id!r}; list them with `solar-gateway shares holds`")
        self.hold_id = hold_id


async def payees(session: AsyncSession) -> dict[str, Payee]:
    """The payee that counts of each account that has one."""
    query = select(Payee).ext(distinct_on(col(Payee.account_id)))
    newest = query.order_by(col(Payee.account_id), col(Payee.created_at).desc(), col(Payee.id).desc())
    return {row.account_id: row for row in (await session.execute(newest)).scalars()}


async def payees_named(session: AsyncSession, ids: set[str]) -> dict[str, Payee]:
    """Payees by id, also those that were replaced since."""
    query = select(Payee).where(col(Payee.id).in_(ids))
    return {row.id: row for row in (await session.execute(query)).scalars()}


async def get_payout(session: AsyncSession, payout_id: str) -> Payout:
    """One payout by id."""
    payout = await session.get(Payout, payout_id)
    if payout is None:
        raise PayoutNotFound(payout_id)
    return payout


async def is_taken_back(session: AsyncSession, payout_id: str) -> bool:
    """Was it undone by a linked one?"""
    return (await session.execute(select(Payout.id).where(col(Payout.reverses) == payout_id))).first() is not None


async def holds(session: AsyncSession, *, standing: bool = False) -> Sequence[PayoutHold]:
    """All holds, or those that stand, oldest first."""
    query = select(PayoutHold).order_by(col(PayoutHold.id))
    if standing:
        query = query.where(col(PayoutHold.released_at).is_(None))
    return (await session.execute(query)).scalars().all()


async def page_payouts(
    session: AsyncSession,
    *,
    month: str | None = None,
    account_id: str | None = None,
    after: str | None = None,
    count_max: int = 100,
) -> tuple[Sequence[Payout], str | None]:
    """A page of payouts and the cursor of the next one, or None. `month` is the month of the statement."""
    query = select(Payout).order_by(col(Payout.id)).limit(count_max + 1)
    for column, wanted in ((Payout.month, month), (Payout.account_id, account_id)):
        if wanted is not None:
            query = query.where(col(column) == wanted)
    if after is not None:
        query = query.where(col(Payout.id) > after)
    found = (await session.execute(query)).scalars().all()
    return found[:count_max], found[count_max - 1].id if len(found) > count_max else None


async def all_accounts(session: AsyncSession) -> Sequence[Account]:
    """Every account."""
    return (await session.execute(select(Account).order_by(col(Account.id)))).scalars().all()


async def alike_calls(session: AsyncSession, month: str, account_ids: Sequence[str]) -> list[list[str]]:
    """For each size of call (model, all token counts) that several of these accounts made in a month: those accounts.

    At most `_SIZES_MAX` sizes, and none so small that it says nothing.
    """
    await must_hold(session, month)
    size: tuple[Any, ...] = (
        LedgerEntry.model,
        LedgerEntry.input_tokens,
        LedgerEntry.cached_input_tokens,
        LedgerEntry.output_tokens,
    )
    several = func.array_agg(func.distinct(LedgerEntry.account_id))
    query = (
        select(several)
        .where(
            col(LedgerEntry.booked_month) == month,
            col(LedgerEntry.account_id).in_(account_ids),
            col(LedgerEntry.input_tokens) + col(LedgerEntry.output_tokens) >= _SIZE_MIN_TOKENS,
        )
        .group_by(*size)
        .having(func.count(func.distinct(LedgerEntry.account_id)) > 1)
        .limit(_SIZES_MAX)
    )
    return [list(ids) for ids in (await session.execute(query)).scalars()]


async def due_until(session: AsyncSession, month: str) -> list[tuple[Share, Decimal]]:
    """The statements up to a month of which something is not paid, with that amount in USD. Locks them until the transaction ends."""
    query = select(Share).where(col(Share.month) <= month, col(Share.payout) > 0)
    ordered = query.order_by(col(Share.account_id), col(Share.month)).with_for_update()
    statements = (await session.execute(ordered)).scalars().all()
    sums = select(Payout.month, Payout.account_id, func.sum(Payout.usd)).group_by(
        col(Payout.month), col(Payout.account_id)
    )
    paid = {(of, account_id): usd for of, account_id, usd in await session.execute(sums)}
    left = [(row, subtract(row.payout, paid.get((row.month, row.account_id), Decimal(0)))) for row in statements]
    return [(row, usd) for row, usd in left if usd]
