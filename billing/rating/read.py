"""What the ledger has booked into a month, summed for rating.

Units: as in `billing.rating.rate`; sums are exact, because Postgres adds NUMERIC without rounding.
Errors: `AccountNotFound` for entries of an account that does not exist: revenue is never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.accounts.store import AccountNotFound
from billing.accounts.tables import Account
from billing.ledger.tables import LedgerDay
from billing.money import add
from billing.rating.rate import KINDS, Booked
from billing.usage import PAGE_KINDS

_GROUP: tuple[Any, ...] = (
    LedgerDay.model,
    LedgerDay.card_id,
    LedgerDay.billing_month,
    LedgerDay.discount,
    *(getattr(LedgerDay, f"{kind}_price") for kind in KINDS),
)


def _used(kind: str) -> Any:
    return func.sum(getattr(LedgerDay, f"{kind}_pages" if kind in PAGE_KINDS else f"{kind}_tokens"))


def _granted(kind: str) -> Any:
    # Grants pay for tokens; the ledger has no column for granted pages.
    return func.sum(getattr(LedgerDay, f"granted_{kind}_tokens")) if kind not in PAGE_KINDS else func.sum(0)


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


async def booked(session: AsyncSession, account_id: str, month: str) -> tuple[list[Booked], Decimal]:
    """What is booked into an account's month, by line of a bill; and its cost by the ledger's own sum, exact USD."""
    sums = [sum_of(kind) for kind in KINDS for sum_of in (_used, _granted)]
    columns: list[Any] = [*_GROUP, *sums, func.sum(LedgerDay.cost)]
    query = select(*columns).where(col(LedgerDay.booked_month) == month, col(LedgerDay.account_id) == account_id)
    groups: list[Booked] = []
    costs: list[Decimal] = []
    for model, card_id, billing_month, discount, *numbers in await session.execute(query.group_by(*_GROUP)):
        prices, counts = numbers[: len(KINDS)], [int(count) for count in numbers[len(KINDS) : -1]]
        costs.append(numbers[-1])
        groups += [
            Booked(model, kind, card_id, price, discount, billing_month, used, granted)
            for kind, price, used, granted in zip(KINDS, prices, counts[::2], counts[1::2], strict=True)
            if used or granted
        ]
    return groups, add(costs)
