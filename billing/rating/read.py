"""What the ledger has booked into a month, summed for rating.

Read from the ledger's daily rollup, so that the time and memory of a close do not grow with the number of calls.
Units: as in `billing.rating.rate`; sums are exact, because Postgres adds NUMERIC without rounding.
Errors: `AccountNotFound` for entries of an account that does not exist: revenue is never dropped in silence; where entries themselves
are read, `MonthDetached` while some of them are not in the ledger, rather than a part for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import AccountNotFound
from billing.accounts.tables import Account
from billing.ledger.rollups import BookedSum, booked_sums
from billing.ledger.sources import must_hold
from billing.ledger.tables import LedgerDay, LedgerEntry
from billing.money import add
from billing.rating.rate import KINDS, Booked


@dataclass(slots=True)
class BookedMonth:
    """What is booked into an account's month, by line of a bill; and its cost by the ledger's own sum, exact USD."""

    groups: list[Booked] = field(default_factory=list)
    costs: list[Decimal] = field(default_factory=list)

    @property
    def cost(self) -> Decimal:
        return add(self.costs)


async def booked_accounts(session: AsyncSession, month: str) -> Sequence[Account]:
    """The accounts with entries booked into a month, in the order of their ids. Raises `AccountNotFound`."""
    ids = select(LedgerDay.account_id).where(col(LedgerDay.booked_month) == month).distinct()
    query = select(Account).where(col(Account.id).in_(ids)).order_by(col(Account.id))
    accounts = (await session.execute(query)).scalars().all()
    known = {account.id for account in accounts}
    for (account_id,) in await session.execute(ids.order_by(col(LedgerDay.account_id))):
        if account_id not in known:
            raise AccountNotFound(account_id)
    return accounts


async def booked_currencies(session: AsyncSession, month: str, besides: str) -> list[str]:
    """The currencies, besides one, of accounts with entries booked into a month. Quick where few accounts pay in them."""
    entry = select(LedgerDay.account_id).where(
        col(LedgerDay.booked_month) == month, col(LedgerDay.account_id) == col(Account.id)
    )
    query = select(Account.currency).where(col(Account.currency) != besides, entry.exists()).distinct()
    return list((await session.execute(query.order_by(col(Account.currency)))).scalars())


async def booked_month(session: AsyncSession, month: str, account_id: str | None = None) -> dict[str, BookedMonth]:
    """What is booked into a month, by account: of all, or of one."""
    found: dict[str, BookedMonth] = {}
    for booked_sum in await booked_sums(session, month, account_id):
        of = found.setdefault(booked_sum.account_id, BookedMonth())
        of.groups += from_row_booked(booked_sum)
        of.costs.append(booked_sum.cost)
    return found


async def booked(session: AsyncSession, account_id: str, month: str) -> tuple[list[Booked], Decimal]:
    """What is booked into an account's month, by line of a bill; and its cost by the ledger's own sum, exact USD."""
    found = (await booked_month(session, month, account_id)).get(account_id, BookedMonth())
    return found.groups, found.cost


def from_row_booked(row: BookedSum) -> list[Booked]:
    """One sum of the ledger → the kinds that it has counts of."""
    return [
        Booked(row.model, kind, row.card_id, row.prices.of(kind), row.discount, row.billing_month, used, granted)
        for kind, used, granted in zip(KINDS, row.used, row.granted, strict=True)
        if used or granted
    ]


async def booked_entries(
    session: AsyncSession, account_id: str, month: str, after: tuple[datetime, UUID] | None, count_max: int
) -> Sequence[LedgerEntry]:
    """A page of the entries booked into an account's month, in the order of their instants; `after` is the last one seen."""
    await must_hold(session, month)
    place = (col(LedgerEntry.accepted_at), col(LedgerEntry.entry_id))
    query = select(LedgerEntry).where(col(LedgerEntry.account_id) == account_id, col(LedgerEntry.booked_month) == month)
    if after is not None:
        query = query.where(tuple_(*place) > after)
    return (await session.execute(query.order_by(*place).limit(count_max))).scalars().all()
