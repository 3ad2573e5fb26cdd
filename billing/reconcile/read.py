"""What the ledger expects upstream to ask for, and the export that it is compared with.

Errors: `MonthDetached` where entries of the month have left the ledger.
Sums the entries of the month (not the rollups, whose days are those of accounts): seconds for ten million. Units: as in `compare`;
days are those of a zone. Call by call nothing is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.ledger.entry import COUNTS
from billing.ledger.tables import DetachedMonth, LedgerEntry
from billing.periods import Month
from billing.reconcile.sides import NOTHING, Expected
from billing.reconcile.tables import UpstreamExport
from billing.reconcile.usage_export import Counts


class MonthDetached(LookupError):
    """Without its entries nothing can be compared."""

    def __init__(self, month: Month, partitions: Sequence[int]) -> None:
        super().__init__(
            f"entries of {month} have left the ledger ({', '.join(map(str, partitions))}); attach them again"
        )


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What upstream served beyond what callers were charged: ours to pay."""

    calls: int
    usd: Decimal


async def newest_export(session: AsyncSession, month: Month) -> UpstreamExport | None:
    """The export of a month that counts."""
    query = select(UpstreamExport).where(col(UpstreamExport.month) == str(month))
    newest = query.order_by(col(UpstreamExport.imported_at).desc(), col(UpstreamExport.id).desc()).limit(1)
    return (await session.execute(newest)).scalar_one_or_none()


async def expected_of(session: AsyncSession, month: Month, zone: str, late_s: int) -> list[Expected]:
    """What the ledger has of a month by day, upstream key and model. `late_s`: how long before
    midnight a call may be the next day's for upstream."""
    starts, ends = month.bounds(zone)
    detached = select(DetachedMonth.partition_month).where(col(DetachedMonth.partition_month) == _partitions(month)[1])
    if gone := (await session.execute(detached)).scalars().all():
        raise MonthDetached(month, gone)
    values = {"starts": starts, "ends": ends, "zone": zone, "late_s": late_s, "partitions": _partitions(month)}
    rows = (await session.execute(text(_EXPECTED), values)).mappings().all()
    groups: dict[tuple[date, str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row["day"], row["key"], row["model"]), []).append(row)
    return [_from_row_expected(*place, of) for place, of in groups.items()]


async def absorbed_in(session: AsyncSession, month: Month, zone: str) -> Absorbed:
    """What was absorbed of a month's calls, at upstream's price."""
    starts, ends = month.bounds(zone)
    values = {"starts": starts, "ends": ends, "partitions": _partitions(month)}
    calls, usd = (await session.execute(text(_ABSORBED), values)).one()
    return Absorbed(int(calls), usd)


def _partitions(month: Month) -> list[int]:
    """UTC months that can hold calls of the month in any zone."""
    numbers = [month.year * 12 + month.number - 1 + by for by in (-1, 0, 1)]
    return [number // 12 * 100 + number % 12 + 1 for number in numbers]


_SIGN = "CASE kind WHEN 'reversal' THEN -1 ELSE 1 END"
_SERVED = [f"({name} + absorbed_{name})" for name in COUNTS]
_KEY = "upstream_key" if hasattr(LedgerEntry, "upstream_key") else "''"
_DAY = "CAST(accepted_at AT TIME ZONE CAST(:zone AS text) AS date)"
_LATE = "accepted_at + make_interval(secs => CAST(:late_s AS double precision))"
_IS_LATE = f"CAST(({_LATE}) AT TIME ZONE CAST(:zone AS text) AS date) > {_DAY}"
_PERIOD = "partition_month = ANY(CAST(:partitions AS integer[])) AND accepted_at >= :starts AND accepted_at < :ends"
_EXPECTED = f"""
SELECT {_DAY} AS day, COALESCE({_KEY}, '') AS key, model, buy_prices,
  COALESCE(SUM({_SIGN}) FILTER (WHERE estimated_reason IS NULL), 0) AS calls,
  COALESCE(SUM({_SIGN}) FILTER (WHERE estimated_reason IS NOT NULL), 0) AS estimated_calls,
  SUM(({_SIGN}) * GREATEST(attempts - 1, 0)) AS lost_attempts,
  COALESCE(SUM({_SIGN}) FILTER (WHERE {_IS_LATE}), 0) AS late_calls,
  {", ".join(f"COALESCE(SUM({n}) FILTER (WHERE estimated_reason IS NULL), 0) AS exact_{i}" for i, n in enumerate(_SERVED))},
  {", ".join(f"COALESCE(SUM({n}) FILTER (WHERE estimated_reason IS NOT NULL), 0) AS estimated_{i}" for i, n in enumerate(_SERVED))},
  {", ".join(f"COALESCE(SUM({n}) FILTER (WHERE {_IS_LATE}), 0) AS late_{i}" for i, n in enumerate(_SERVED))}
FROM ledger_entry WHERE {_PERIOD}
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - column names of our own
_ABSORBED = f"""
SELECT COALESCE(SUM({_SIGN}), 0), COALESCE(SUM(absorbed_buy_cost), 0) FROM ledger_entry
WHERE {_PERIOD} AND absorbed_reason IS NOT NULL
"""  # noqa: S608 - column names of our own


def _from_row_expected(day: date, key: str, model: str, rows: Sequence[Any]) -> Expected:
    def counts(name: str) -> Counts:
        sums = [sum(int(row[f"{name}_{i}"]) for row in rows) for i in range(len(COUNTS))]
        return (sums[0], sums[1], sums[2], sums[3], sums[4])

    return Expected(
        day=day,
        key=key,
        model=model,
        calls=sum(int(row["calls"]) for row in rows),
        counts=counts("exact"),
        estimated_calls=sum(int(row["estimated_calls"]) for row in rows),
        estimated_counts=counts("estimated"),
        lost_attempts=sum(int(row["lost_attempts"]) for row in rows),
        late_calls=sum(int(row["late_calls"]) for row in rows),
        late_counts=counts("late"),
        prices=_mean_prices(rows),
    )


def _mean_prices(rows: Sequence[Any]) -> tuple[Fraction, ...] | None:
    """Upstream's prices by the card; where they changed on the day, their mean by what was used under each."""
    priced = [row for row in rows if row["buy_prices"] is not None]
    if not priced:
        return None
    means = []
    for i in range(len(NOTHING)):
        used = [(int(row[f"exact_{i}"] + row[f"estimated_{i}"]), Fraction(row["buy_prices"][i])) for row in priced]
        total = sum(count for count, _ in used)
        weighted = sum((count * price for count, price in used), Fraction(0))
        means.append(weighted / total if total > 0 else used[-1][1])
    return tuple(means)
