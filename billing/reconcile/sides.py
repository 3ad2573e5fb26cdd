"""The two sides of a month, put beside each other by upstream key, model and day. Pure.

Units: counts in the order of `usage_export.KINDS`; prices as fractions of a USD, per million tokens or per page.
Convention: where either side does not know over which key a day's calls of a model went, both sides' keys are taken together there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import TypeAlias

from billing.reconcile.usage_export import KINDS, Counts, UsageExport, UsageRow
from billing.usage import PAGE_KINDS

NOTHING: Counts = (0, 0, 0, 0, 0)
SCALES = tuple(1 if kind in PAGE_KINDS else 1_000_000 for kind in KINDS)


Place: TypeAlias = tuple[str, str, date]
"""Key, model, day: so that the days of one series follow one another."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ledger knows of a day's calls of one model over one upstream key (empty: it does not know over which)."""

    day: date
    key: str
    model: str
    calls: int = 0
    counts: Counts = NOTHING
    """Of calls that upstream counted exactly, with what was absorbed."""
    estimated_calls: int = 0
    estimated_counts: Counts = NOTHING
    lost_attempts: int = 0
    """Attempts that brought no answer; upstream may bill each."""
    late_calls: int = 0
    late_counts: Counts = NOTHING
    """The part of all these that was accepted so late that upstream may count it on the next day."""
    prices: tuple[Fraction, ...] | None = None
    """What upstream takes, by the rate card; its mean where that changed on the day. None: no card says."""

    def known(self) -> list[int]:
        return [exact + guessed for exact, guessed in zip(self.counts, self.estimated_counts, strict=True)]

    @property
    def worth(self) -> Fraction:
        """What upstream should ask for it; nothing where no card says."""
        return Fraction(0) if self.prices is None else worth_of(self.known(), self.prices)


@dataclass(slots=True)
class Side:
    """What there is of one place: upstream's rows, the ledger's calls, or both."""

    rows: list[UsageRow] = field(default_factory=list)
    ours: Expected | None = None

    @property
    def cost(self) -> Fraction:
        return sum((Fraction(row.cost) for row in self.rows), Fraction(0))

    @property
    def requests(self) -> int:
        return sum(row.requests for row in self.rows)

    def served(self) -> list[int]:
        return [sum(row.counts[kind] for row in self.rows) for kind in range(len(KINDS))]


def side_by_side(ours: Iterable[Expected], export: UsageExport, names: Mapping[str, str]) -> dict[Place, Side]:
    """Every place that either side knows, in order. `names`: what upstream calls a model → what the ledger does."""
    expected = list(ours)
    blind = {(each.day, each.model) for each in expected if not each.key}
    blind |= {(row.day, names.get(row.model, row.model)) for row in export.rows if not row.key}
    sides: dict[Place, Side] = defaultdict(Side)

    def side(day: date, key: str, model: str) -> Side:
        return sides["" if (day, model) in blind else key, model, day]

    for each in expected:
        at = side(each.day, each.key, each.model)
        at.ours = each if at.ours is None else _joined(at.ours, each)
    for row in export.rows:
        side(row.day, row.key, names.get(row.model, row.model)).rows.append(row)
    return {place: sides[place] for place in sorted(sides)}


def worth_of(counts: Sequence[int], prices: Sequence[Fraction]) -> Fraction:
    """What counts of all kinds come to."""
    return sum((value_of(kind, count, prices) for kind, count in enumerate(counts)), Fraction(0))


def value_of(kind: int, quantity: int, prices: Sequence[Fraction]) -> Fraction:
    return quantity * prices[kind] / SCALES[kind]


def _joined(a: Expected, b: Expected) -> Expected:
    """Two keys of a day taken together, because the ledger does not know the key of all its calls."""
    prices = a.prices if b.prices is None else b.prices
    if a.prices is not None and b.prices is not None:
        prices = tuple(
            (p * m + q * n) / (m + n) if m + n else p
            for p, q, m, n in zip(a.prices, b.prices, a.known(), b.known(), strict=True)
        )
    return Expected(
        a.day,
        "",
        a.model,
        a.calls + b.calls,
        _added(a.counts, b.counts),
        a.estimated_calls + b.estimated_calls,
        _added(a.estimated_counts, b.estimated_counts),
        a.lost_attempts + b.lost_attempts,
        a.late_calls + b.late_calls,
        _added(a.late_counts, b.late_counts),
        prices,
    )


def _added(a: Counts, b: Counts) -> Counts:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4])
