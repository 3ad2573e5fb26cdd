"""Reading shares: statements by month and account, page by page; and what a month's shares are computed from.

Pages are ordered by month and account; the cursor is `month/account`.
Errors: `ValueError` for a cursor that is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from sqlalchemy import tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.tables import Account
from billing.club.tables import TrainingManifest
from billing.share.corrections import StoodMonth, StoodPool
from billing.share.payout import Statement
from billing.share.rules import Revenue, Terms, rule_named
from billing.share.tables import Share, ShareMonth, SharePlan


async def page_shares(
    session: AsyncSession,
    *,
    month: str | None = None,
    account_id: str | None = None,
    after: str | None = None,
    count_max: int = 100,
) -> tuple[list[Statement], str | None]:
    """A page of statements and the cursor of the next one, or None."""
    query = select(Share).order_by(col(Share.month), col(Share.account_id)).limit(count_max + 1)
    if month is not None:
        query = query.where(col(Share.month) == month)
    if account_id is not None:
        query = query.where(col(Share.account_id) == account_id)
    if after is not None:
        after_month, slash, after_account = after.partition("/")
        if not slash:
            raise ValueError(f"{after!r} is no cursor of this list")
        query = query.where(tuple_(col(Share.month), col(Share.account_id)) > (after_month, after_account))
    found = [from_row_share(row) for row in (await session.execute(query)).scalars()]
    shown = found[:count_max]
    return shown, f"{shown[-1].month}/{shown[-1].account_id}" if len(found) > count_max else None


async def find_share(session: AsyncSession, month: str, account_id: str) -> Statement | None:
    """One account's statement of a month, if there is one."""
    row = await session.get(Share, (month, account_id))
    return None if row is None else from_row_share(row)


async def shares_of(session: AsyncSession, month: str) -> list[Statement]:
    """All statements of a month, by account id."""
    query = select(Share).where(col(Share.month) == month).order_by(col(Share.account_id))
    return [from_row_share(row) for row in (await session.execute(query)).scalars()]


async def share_month(session: AsyncSession, month: str) -> ShareMonth | None:
    """How a month was shared out, pools and the house's part too; None where its close is not finished. For finance."""
    return await session.get(ShareMonth, month)


async def finished_months(session: AsyncSession) -> set[str]:
    """The months whose close is finished: shares are the last that it writes."""
    return set((await session.execute(select(ShareMonth.month))).scalars())


async def carried_into(session: AsyncSession, month: str) -> dict[str, Decimal]:
    """What each account's newest earlier statement carries over, where it is not zero."""
    query = select(Share).where(col(Share.month) < month).ext(distinct_on(col(Share.account_id)))
    newest = query.order_by(col(Share.account_id), col(Share.month).desc())
    return {row.account_id: row.carried_over for row in (await session.execute(newest)).scalars() if row.carried_over}


async def stood_months(session: AsyncSession, months: Iterable[str]) -> list[StoodMonth]:
    """The pools of finished months, and how they were split: what a later credit note takes back from."""
    query = select(ShareMonth, SharePlan).join(SharePlan, col(ShareMonth.plan_id) == col(SharePlan.id))
    stood: list[StoodMonth] = []
    for row, plan in await session.execute(query.where(col(ShareMonth.month).in_(set(months)))):
        parts: dict[tuple[int, str], list[tuple[str, Fraction]]] = defaultdict(list)
        for share in await shares_of(session, row.month):
            for step in share.steps:
                if step["kind"] == "pool":
                    fraction = Fraction(step["weight"]) / Fraction(step["weight_total"])
                    parts[step["payer"], step["model"]].append((share.account_id, fraction))
        pools = (
            StoodPool(
                payer=pool["payer"],
                revenue=Revenue(
                    pool["account_id"],
                    pool["owner_group"],
                    pool["model"],
                    Decimal(pool["net_revenue"]),
                    Decimal(pool["usage_at_list"]),
                ),
                parts=tuple(parts[pool["payer"], pool["model"]]),
            )
            for pool in row.pools
        )
        terms = Terms(plan.pool_rate, plan.payer_cap)
        stood.append(StoodMonth(row.month, rule_named(plan.rule), terms, tuple(pools)))
    return stood


async def manifests(session: AsyncSession) -> Sequence[TrainingManifest]:
    """Every training manifest, oldest first."""
    query = select(TrainingManifest).order_by(col(TrainingManifest.created_at), col(TrainingManifest.id))
    return (await session.execute(query)).scalars().all()


async def accounts_named(session: AsyncSession, ids: Iterable[str]) -> dict[str, Account]:
    """Accounts by id."""
    query = select(Account).where(col(Account.id).in_(set(ids)))
    return {account.id: account for account in (await session.execute(query)).scalars()}


def from_row_share(row: Share) -> Statement:
    return Statement(
        account_id=row.account_id,
        month=row.month,
        pool=row.pool,
        weight=row.weight,
        amount=row.amount,
        carried_in=row.carried_in,
        carried_over=row.carried_over,
        payout=row.payout,
        currency=row.currency,
        rule=row.rule,
        steps=row.steps,
        terms=row.terms,
    )
