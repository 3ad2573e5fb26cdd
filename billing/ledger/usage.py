"""Usage by day, model, key or account.

Days of an account in its own zone come from `ledger_day`; days of the whole house in any zone from `ledger_slot`; what neither can
say (an account seen in a zone that is not its own, an interval that is not one of whole days) is summed from the entries.
Units: counts and exact USD. Intervals are half-open instants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, String, and_, case, cast, literal, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.ledger.sources import must_hold_between
from billing.ledger.statements import SLOT_MINUTES
from billing.ledger.tables import LedgerDay, LedgerEntry, LedgerSlot
from billing.money import ZERO, add, subtract
from billing.periods import Month, zone_of

_SLOT = timedelta(minutes=SLOT_MINUTES)
_ZONES_SPREAD = timedelta(days=2)
"""No two zones are further apart than 26 hours."""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What a group of calls used and cost; exact USD. `buy_cost` is what upstream takes for it, where the rate card says."""

    group: str | None = None
    calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    pages: int = 0
    estimated_calls: int = 0
    list_cost: Decimal = ZERO
    cost: Decimal = ZERO
    buy_cost: Decimal = ZERO
    absorbed_buy_cost: Decimal = ZERO
    calls_without_buy_price: int = 0

    @property
    def margin(self) -> Decimal | None:
        """Revenue less what upstream takes, for the charged and for the absorbed part; None where some call's buy price is unknown."""
        if self.calls_without_buy_price:
            return None
        return subtract(subtract(self.cost, self.buy_cost), self.absorbed_buy_cost)


async def usage(
    session: AsyncSession,
    start: datetime,
    end: datetime,
    *,
    account_id: str | None = None,
    group_by: str | None = None,
    zone: str = "UTC",
) -> tuple[list[UsageSum], UsageSum]:
    """Usage of [start, end): the groups (by `day` in a zone, `model`, `key` or `account`), and their total."""
    days = _whole_days(start, end, zone)
    if account_id is None and group_by in (None, "day", "model") and _whole_slots(start, end, zone):
        found = await _from_slots(session, start, end, group_by, zone)
    elif days is not None:
        found = await _from_days(session, days, account_id, group_by, zone)
        foreign = await _foreign_accounts(session, days, account_id, zone)
        if foreign:
            found += await _from_entries(session, start, end, foreign, group_by, zone, besides=zone)
    else:
        found = await _from_entries(session, start, end, None if account_id is None else [account_id], group_by, zone)
    groups = _merged(found)
    return ([] if group_by is None else groups), _sum_of(None, groups)


def _whole_days(start: datetime, end: datetime, zone: str) -> tuple[date, date] | None:
    """The days of a zone that an interval is made of, half-open; None where it is not whole days."""
    begins, ends = start.astimezone(zone_of(zone)), end.astimezone(zone_of(zone))
    midnight = (0, 0, 0, 0)
    whole = all((t.hour, t.minute, t.second, t.microsecond) == midnight for t in (begins, ends))
    return (begins.date(), ends.date()) if whole else None


def _whole_slots(start: datetime, end: datetime, zone: str) -> bool:
    """Do an interval and the days in it consist of whole slots? So they do in every zone since 1972."""
    offsets = [t.astimezone(zone_of(zone)).utcoffset() or timedelta() for t in (start, end)]
    since = [timedelta(seconds=int(t.timestamp()), microseconds=t.microsecond) for t in (start, end)]
    return not any(length % _SLOT for length in (*offsets, *since))


async def _from_slots(
    session: AsyncSession, start: datetime, end: datetime, group_by: str | None, zone: str
) -> list[UsageSum]:
    label = _label(LedgerSlot, group_by, _day_of(LedgerSlot.slot, zone))
    where = [col(LedgerSlot.slot) >= start, col(LedgerSlot.slot) < end]
    return await _sums(session, label, _rolled_up(LedgerSlot), where)


async def _from_days(
    session: AsyncSession, days: tuple[date, date], account_id: str | None, group_by: str | None, zone: str
) -> list[UsageSum]:
    label = _label(LedgerDay, group_by, cast(col(LedgerDay.day), String))
    where = [col(LedgerDay.day) >= days[0], col(LedgerDay.day) < days[1], col(LedgerDay.zone) == zone]
    if account_id is not None:
        where.append(col(LedgerDay.account_id) == account_id)
    return await _sums(session, label, _rolled_up(LedgerDay), where)


async def _foreign_accounts(
    session: AsyncSession, days: tuple[date, date], account_id: str | None, zone: str
) -> list[str]:
    """Accounts whose days are those of another zone, and so cannot be used for these."""
    query = (
        select(LedgerDay.account_id)
        .distinct()
        .where(
            col(LedgerDay.zone) != zone,
            col(LedgerDay.day) > _moved(days[0], -_ZONES_SPREAD),
            col(LedgerDay.day) < _moved(days[1], _ZONES_SPREAD),
        )
    )
    if account_id is not None:
        query = query.where(col(LedgerDay.account_id) == account_id)
    return list((await session.execute(query)).scalars())


def _moved(day: date, by: timedelta) -> date:
    return date.fromordinal(min(max(day.toordinal() + by.days, date.min.toordinal()), date.max.toordinal()))


async def _from_entries(
    session: AsyncSession,
    start: datetime,
    end: datetime,
    account_ids: Sequence[str] | None,
    group_by: str | None,
    zone: str,
    besides: str | None = None,
) -> list[UsageSum]:
    await must_hold_between(session, start, end)
    where = [col(LedgerEntry.accepted_at) >= start, col(LedgerEntry.accepted_at) < end]
    if account_ids is not None:
        # Nothing is booked before the month of its call: this lets the index of an account's months be used.
        earliest = Month(*_moved(start.date(), -_ZONES_SPREAD).timetuple()[:2])
        where += [col(LedgerEntry.account_id).in_(account_ids), col(LedgerEntry.booked_month) >= str(earliest)]
    if besides is not None:
        where.append(col(LedgerEntry.zone) != besides)
    return await _sums(
        session, _label(LedgerEntry, group_by, _day_of(LedgerEntry.accepted_at, zone)), _counted(), where
    )


def _label(table: Any, group_by: str | None, day: ColumnElement[Any]) -> ColumnElement[Any]:
    names = {"model": "model", "key": "key_id", "account": "account_id"}
    if group_by is None:
        return literal("").label("group")
    return (day if group_by == "day" else col(getattr(table, names[group_by]))).label("group")


def _day_of(instant: Any, zone: str) -> ColumnElement[Any]:
    return func.to_char(func.timezone(zone, col(instant)), "YYYY-MM-DD")


_SUMMED = [f.name for f in fields(UsageSum) if f.name != "group"]


def _rolled_up(table: Any) -> list[Any]:
    pages = func.sum(table.standard_pages + table.enhanced_pages)
    return [pages if name == "pages" else func.sum(getattr(table, name)) for name in _SUMMED]


def _counted() -> list[Any]:
    # A reversal stands with negative counts, and takes its call back out of the count of calls.
    calls = func.sum(case((col(LedgerEntry.kind) == "reversal", -1), else_=1))
    own = {
        "calls": calls,
        "estimated_calls": calls.filter(col(LedgerEntry.estimated_reason).is_not(None)),
        "calls_without_buy_price": calls.filter(col(LedgerEntry.buy_cost).is_(None)),
        "pages": func.sum(LedgerEntry.standard_pages + LedgerEntry.enhanced_pages),
    }
    return [own[name] if name in own else func.sum(getattr(LedgerEntry, name)) for name in _SUMMED]


async def _sums(session: AsyncSession, label: Any, sums: list[Any], where: list[Any]) -> list[UsageSum]:
    rows = await session.execute(select(label, *sums).where(and_(*where)).group_by(text("1")))
    return [_from_row_sum(str(group), values) for group, *values in rows]


def _from_row_sum(group: str, values: Sequence[Any]) -> UsageSum:
    numbers = [
        Decimal(value or 0) if name.endswith("cost") else int(value or 0)
        for name, value in zip(_SUMMED, values, strict=True)
    ]
    return UsageSum(group, *numbers)  # type: ignore[arg-type]


def _merged(found: Iterable[UsageSum]) -> list[UsageSum]:
    """One sum a group, in the order of groups."""
    by_group: dict[str | None, list[UsageSum]] = {}
    for each in found:
        by_group.setdefault(each.group, []).append(each)
    return [_sum_of(group, by_group[group]) for group in sorted(by_group, key=str)]


def _sum_of(group: str | None, sums: Sequence[UsageSum]) -> UsageSum:
    numbers = [
        add(getattr(each, name) for each in sums)
        if name.endswith("cost")
        else sum(getattr(each, name) for each in sums)
        for name in _SUMMED
    ]
    return UsageSum(group, *numbers)  # type: ignore[arg-type]
