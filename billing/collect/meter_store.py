"""Usage of accounts whose usage Stripe bills, as meter events: what the ledger holds of a month, less what was told before.

Units: whole nano-USD of exact cost after discount and grants. An event is the difference between a month's cost, cut to the nano-USD, and
the events before it; so a month's events sum to its cost, nothing is rounded twice, and a reversal lessens the next event (never below
nothing). An event lies in its month, at a whole minute of its own. Stripe takes no event older than 35 days: what comes later than that
is not told, and shows in the reconciliation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlmodel import col, func, select

from billing.accounts.tables import Account
from billing.collect.store import enqueue
from billing.collect.tables import MeterEvent
from billing.database import Session
from billing.ids import new_id
from billing.ledger.tables import LedgerTotal
from billing.money import NANO_USD_PER_USD
from billing.periods import Month

WINDOW = timedelta(days=35)
_MARGIN = timedelta(hours=6)
_MINUTE = timedelta(minutes=1)


class MeterEventNotFound(LookupError):
    """No meter event has this identifier."""


def nano_usd_cut(cost_usd: Decimal) -> int:
    """A month's cost as whole nano-USD, cut: what is below is told with what comes after."""
    return math.floor(Fraction(cost_usd) * NANO_USD_PER_USD)


def minute_of(month: Month, zone: str, now: datetime, taken: Set[datetime]) -> datetime | None:
    """When an event of a month is said to have happened: now, while the month runs; afterwards its last minute that is free.

    None where it cannot be told any more, or (while the month runs) not in this minute.
    """
    start, end = (instant.astimezone(UTC) for instant in month.bounds(zone))
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    if minute < end:
        return minute if minute >= start and minute not in taken else None
    minute = end - _MINUTE
    while minute in taken:
        minute -= _MINUTE
    return minute if minute >= max(start, now - WINDOW + _MARGIN) else None


async def tell_usage(session: Session, now: datetime, send_at: datetime) -> int:
    """Make the events that are due, each with its task; returns how many. `send_at` is by the outbox's clock, the world's."""
    columns: list[Any] = [Account.id, Account.timezone, LedgerTotal.billing_month, func.sum(LedgerTotal.cost)]
    costs = (
        select(*columns)
        .select_from(Account)
        .join(LedgerTotal, col(LedgerTotal.account_id) == col(Account.id))
        .where(col(Account.billing) == "stripe_meter")
        .group_by(*columns[:3])
    )
    sums: list[Any] = [MeterEvent.account_id, MeterEvent.month, func.sum(MeterEvent.value)]
    told = {(one, month): int(value) for one, month, value in await session.execute(select(*sums).group_by(*sums[:2]))}
    made = 0
    for account_id, zone, month, cost in (await session.execute(costs)).all():
        value = nano_usd_cut(cost) - told.get((account_id, month), 0)
        if value <= 0:
            continue
        at = minute_of(Month.parse(month), zone, now, await _taken(session, account_id, month))
        if at is None:
            continue
        event = MeterEvent(id=new_id("mev", now), account_id=account_id, month=month, value=value, at=at)
        session.add(event)
        await session.flush()
        await enqueue(session, "meter", event.id, account_id, send_at)
        made += 1
    return made


async def _taken(session: Session, account_id: str, month: str) -> set[datetime]:
    """The minutes of a month that have an event: at most one for each time that usage was told."""
    query = select(MeterEvent).where(col(MeterEvent.account_id) == account_id, col(MeterEvent.month) == month)
    return {event.at.astimezone(UTC) for event in (await session.execute(query)).scalars()}


async def costs_of(session: Session, month: str) -> tuple[dict[str, int], dict[str, str]]:
    """(whole nano-USD, zone) of each account whose usage Stripe bills, that used something in a month."""
    columns: list[Any] = [Account.id, Account.timezone, func.sum(LedgerTotal.cost)]
    query = (
        select(*columns)
        .select_from(Account)
        .join(LedgerTotal, col(LedgerTotal.account_id) == col(Account.id))
        .where(col(Account.billing) == "stripe_meter", col(LedgerTotal.billing_month) == month)
        .group_by(*columns[:2])
    )
    rows = (await session.execute(query)).all()
    return {one: nano_usd_cut(cost) for one, _, cost in rows}, {one: zone for one, zone, _ in rows}


async def get(session: Session, identifier: str) -> MeterEvent:
    found = await session.get(MeterEvent, identifier)
    if found is None:
        raise MeterEventNotFound(f"no meter event {identifier!r}")
    return found


async def events_of(session: Session, month: str) -> Sequence[MeterEvent]:
    """All events of a month, in their order."""
    query = (
        select(MeterEvent)
        .where(col(MeterEvent.month) == month)
        .order_by(col(MeterEvent.account_id), col(MeterEvent.at))
    )
    return (await session.execute(query)).scalars().all()
