"""Exchange rates, dated: `USD/KRW` on a day.

Errors: `RateMissing` where a rate is needed and none is known for the day; `WrongRates` and `RateDiffers` for a file of rates.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel, col, select

from billing.database import MONEY

PAIRS = ("USD/KRW",)
RATE_COLUMNS = ("date", "pair", "rate")
RATES_MAX = 50_000
RATE_MAX = Decimal(10) ** 24
YEAR_MIN, YEAR_MAX = 1970, 9000


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


class WrongRates(ValueError):
    """A file of rates that is none; says the first line that is wrong, and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


class RateDiffers(ValueError):
    """Another rate of the day is known already: an invoice may rest on it, so a stated rate is not changed."""

    def __init__(self, pair: str, day: date, known: Decimal, given: Decimal) -> None:
        super().__init__(f"{pair} of {day.isoformat()} is {known} already, not {given}; a stated rate is not changed")
        self.pair, self.day = pair, day


class Quote(NamedTuple):
    """One row of a file of rates."""

    day: date
    pair: str
    rate: Decimal


def from_wire_rates(text: str) -> list[Quote]:
    """A CSV with the columns `date`, `pair`, `rate` (a mark at its start is passed over) → its rows. Raises `WrongRates`."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restkey="more")
    if tuple(reader.fieldnames or ()) != RATE_COLUMNS:
        raise WrongRates(1, f"the first line must be {','.join(RATE_COLUMNS)}")
    quotes: dict[tuple[date, str], Quote] = {}
    try:
        for row in reader:
            quote = _from_wire_rate(row, reader.line_num)
            if quotes.setdefault((quote.day, quote.pair), quote) != quote:
                raise WrongRates(reader.line_num, f"a second rate for {quote.pair} of {quote.day}")
            if len(quotes) > RATES_MAX:
                raise WrongRates(reader.line_num, f"more than {RATES_MAX} rates; split the file")
    except csv.Error as error:
        raise WrongRates(reader.line_num, f"no CSV ({error})") from None
    if not quotes:
        raise WrongRates(2, "there is no rate")
    return list(quotes.values())


def _from_wire_rate(row: Mapping[str, Any], line: int) -> Quote:
    if "more" in row or None in row.values():
        raise WrongRates(line, f"needs {len(RATE_COLUMNS)} cells")
    try:
        day = date.fromisoformat(row["date"].strip())
    except ValueError:
        raise WrongRates(line, f"date: {row['date']!r} is no day such as 2026-10-31") from None
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise WrongRates(line, f"date: must lie in the years {YEAR_MIN} to {YEAR_MAX}")
    pair = row["pair"].strip()
    if pair not in PAIRS:
        raise WrongRates(line, f"pair: {pair!r} is none of {', '.join(PAIRS)}")
    try:
        rate = Decimal(row["rate"].strip())
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or not 0 < rate <= RATE_MAX or int(rate.as_tuple().exponent) < -12:
        raise WrongRates(line, f"rate: {row['rate']!r} is no decimal above 0, to {RATE_MAX}, with at most 12 places")
    return Quote(day, pair, rate)


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


async def import_rates(session: AsyncSession, quotes: Sequence[Quote]) -> int:
    """State many rates, all or none; returns how many were new. Raises `RateDiffers`, and the caller must not commit."""
    known = {(row.day, row.pair): row.rate for row in await all_rates(session)}
    for quote in quotes:
        standing = known.get((quote.day, quote.pair))
        if standing is not None and standing != quote.rate:
            raise RateDiffers(quote.pair, quote.day, standing, quote.rate)
    new = [quote for quote in quotes if (quote.day, quote.pair) not in known]
    for quote in new:
        if not await set_rate(session, quote.day, quote.pair, quote.rate):
            raise RateDiffers(quote.pair, quote.day, await rate_on(session, quote.pair, quote.day), quote.rate)
    return len(new)
