"""The rollups as bills need them, and whether they agree with the entries.

Rollups are written by the statement that writes the entries (`statements.py`), so they are right as soon as an entry is there.
Units: counts and exact USD; a month that holds more reversals than calls has negative sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.ledger.proof import plain
from billing.ledger.sources import entries_in
from billing.ledger.statements import DAY_KEY, MEASURES, SLOT_KEY, rollup_differences
from billing.ledger.tables import LedgerDay
from billing.periods import Month
from billing.prices import ModelPrice

_USED = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")
_GRANTED = ("granted_input_tokens", "granted_cached_input_tokens", "granted_output_tokens")


@dataclass(frozen=True, slots=True)
class BookedSum:
    """What is booked into an account's month at one price: the grain of a bill. Sums may be negative (late reversals)."""

    account_id: str
    booked_month: str
    billing_month: str
    """The month of the calls: earlier than `booked_month` where they came after its close."""
    model: str
    card_id: str
    discount: Decimal
    prices: ModelPrice
    used: tuple[int, int, int, int, int]
    """Input, cached input, output; standard and enhanced pages: the order of `usage.TOKEN_KINDS` and `PAGE_KINDS`."""
    granted: tuple[int, int, int, int, int]
    """The part of `used` that grants paid for; pages are never granted."""
    calls: int
    estimated_calls: int
    list_cost: Decimal
    cost: Decimal
    buy_cost: Decimal
    absorbed_buy_cost: Decimal


async def booked_sums(session: AsyncSession, month: str, account_id: str | None = None) -> list[BookedSum]:
    """What is booked into a month, of all accounts or of one, by month of the calls, model, rate card, discount and prices.

    In the order of accounts. Reads only the daily rollup: its cost does not grow with the number of calls.
    """
    prices = [
        getattr(LedgerDay, f"{kind}_price") for kind in ("input", "cached_input", "output", "standard", "enhanced")
    ]
    key: list[Any] = [LedgerDay.account_id, LedgerDay.billing_month, LedgerDay.model, LedgerDay.card_id]
    key += [LedgerDay.discount, *prices]
    names = (*_USED, *_GRANTED, "calls", "estimated_calls", "list_cost", "cost", "buy_cost", "absorbed_buy_cost")
    query = select(*key, *(func.sum(getattr(LedgerDay, name)) for name in names))
    query = query.where(col(LedgerDay.booked_month) == month)
    if account_id is not None:
        query = query.where(col(LedgerDay.account_id) == account_id)
    return [_from_row_booked(month, list(row)) for row in await session.execute(query.group_by(*key).order_by(*key))]


def _from_row_booked(month: str, row: Sequence[Any]) -> BookedSum:
    account_id, billing_month, model, card_id, discount, *rest = row
    counts = [int(count) for count in rest[5:15]]
    return BookedSum(
        account_id=account_id,
        booked_month=month,
        billing_month=billing_month,
        model=model,
        card_id=card_id,
        discount=discount,
        prices=ModelPrice(*rest[:5]),
        used=(counts[0], counts[1], counts[2], counts[3], counts[4]),
        granted=(counts[5], counts[6], counts[7], 0, 0),
        calls=counts[8],
        estimated_calls=counts[9],
        list_cost=rest[15],
        cost=rest[16],
        buy_cost=rest[17],
        absorbed_buy_cost=rest[18],
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of a rollup that is not the sum of its entries: what differs, as (rolled up, summed); None where a side has no such row."""

    table: str
    key: dict[str, str]
    differ: dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Differences:
    """How many rows of a month's rollups differ from the full sum of its entries (0: they agree), and the first of them."""

    days: int
    slots: int
    lines: tuple[Difference, ...] = ()


async def check_rollups(session: AsyncSession, month: Month, lines_max: int = 20) -> Differences:
    """Sum up all entries of a month and compare: its local days, and its quarters of an hour in UTC.

    Reads every entry of the month, of a detached one too while its table is there (`sources.MonthDetached` where it is not).
    """
    around = [_number(month, by) for by in (-1, 0, 1)]
    starts, ends = month.bounds("UTC")
    values = {"first": month.first_day(), "last": month.last_day(), "around": around, "this": [_number(month, 0)]}
    values |= {"starts": starts, "ends": ends, "rows_max": max(1, lines_max)}
    source = await entries_in(session, around)
    day_key = dict(zip(DAY_KEY, DAY_KEY, strict=True))
    checks = (
        ("ledger_day", day_key, rollup_differences("ledger_day", day_key, _DAYS_OF, _ENTRIES_OF_DAYS, source)),
        ("ledger_slot", SLOT_KEY, rollup_differences("ledger_slot", SLOT_KEY, _SLOTS_OF, _ENTRIES_OF_SLOTS, source)),
    )
    counts, lines = list[int](), list[Difference]()
    for table, key, query in checks:
        rows = (await session.execute(text(query), values)).all()
        counts.append(rows[0][0] if rows else 0)
        lines += [_from_row_difference(table, list(key), list(row)) for row in rows]
    return Differences(counts[0], counts[1], tuple(lines[:lines_max]))


def _from_row_difference(table: str, key: Sequence[str], row: Sequence[Any]) -> Difference:
    sides = row[1 + len(key) :]
    pairs = dict(zip(MEASURES, zip(sides[::2], sides[1::2], strict=True), strict=True))
    differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    shown = {n: (_shown(rolled), _shown(summed)) for n, (rolled, summed) in differ.items()}
    return Difference(table, {name: str(value) for name, value in zip(key, row[1:], strict=False)}, shown)


def _shown(value: Any) -> str | None:
    return None if value is None else plain(value)


_DAYS_OF = "day BETWEEN CAST(:first AS date) AND CAST(:last AS date)"
_ENTRIES_OF_DAYS = f"partition_month = ANY(CAST(:around AS integer[])) AND {_DAYS_OF}"
_SLOTS_OF = "slot >= CAST(:starts AS timestamptz) AND slot < CAST(:ends AS timestamptz)"
_ENTRIES_OF_SLOTS = "partition_month = ANY(CAST(:this AS integer[]))"


def _number(month: Month, by: int) -> int:
    months = month.year * 12 + month.number - 1 + by
    return months // 12 * 100 + months % 12 + 1
