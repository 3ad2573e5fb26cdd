"""Exchange rates, dated: `USD/KRW` on a day.

Errors: `RateMissing` where a rate is needed and none is known for the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel, col, select

from billing.database import MONEY


class FxRate(SQLModel, table=True):
    """How much of the second currency one unit of the first is worth."""

    __tablename__ = "fx_rate"

    day: date = Field(primary_key=True)
    pair: str = Field(primary_key=True)
    rate: Decimal = Field(sa_type=MONEY)


class RateMissing(LookupError):
    """No exchange rate is known for a day."""

    def __init__(self, pair: str, day: date) -> None:
        super().__init__(f"no {pair} rate for {day.isoformat()}; post one to /operator/v1/fx-rates")
        self.pair, self.day = pair, day


async def set_rate(session: AsyncSession, day: date, pair: str, rate: Decimal) -> bool:
    """State a rate. A day's rate is stated once: returns False, and changes nothing, where another is known already."""
    if rate <= 0:
        raise ValueError("rate: must be above zero")
    statement = insert(FxRate).values(day=day, pair=pair, rate=rate).on_conflict_do_nothing()
    await session.execute(statement)
    return await rate_on(session, pair, day) == rate


async def rate_on(session: AsyncSession, pair: str, day: date) -> Decimal:
    """The rate of a day itself. Raises `RateMissing`."""
    row = await session.get(FxRate, (day, pair))
    if row is None:
        raise RateMissing(pair, day)
    return row.rate


async def newest_rate(session: AsyncSession, pair: str, day: date) -> Decimal | None:
    """The newest rate up to a day, or None."""
    query = (
        select(col(FxRate.rate))
        .where(col(FxRate.pair) == pair, col(FxRate.day) <= day)
        .order_by(col(FxRate.day).desc())
    )
    return (await session.execute(query.limit(1))).scalar_one_or_none()


async def newest(session: AsyncSession, pair: str, day: date) -> FxRate:
    """The newest rate up to a day, with its own day. Raises `RateMissing`."""
    query = select(FxRate).where(col(FxRate.pair) == pair, col(FxRate.day) <= day).order_by(col(FxRate.day).desc())
    row = (await session.execute(query.limit(1))).scalar_one_or_none()
    if row is None:
        raise RateMissing(pair, day)
    return row


async def all_rates(session: AsyncSession) -> Sequence[FxRate]:
    return (await session.execute(select(FxRate).order_by(col(FxRate.day), col(FxRate.pair)))).scalars().all()
