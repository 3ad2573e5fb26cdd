"""A month of calls as they were, what a ledger and upstream's export make of them, and faults that can be planted in the export."""

from __future__ import annotations

import csv
import io
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.periods import Month
from billing.reconcile.compare import Compared, compare
from billing.reconcile.sides import Expected
from billing.reconcile.usage_export import COLUMNS, COUNT_COLUMNS, PRICE_COLUMNS, Counts, from_wire_export

OCTOBER = Month(2026, 10)
FIRST = date(2026, 10, 1)
SOLD: Mapping[str, tuple[str, ...]] = {
    "solar-pro4": ("0.30", "0.06", "1.20", "0", "0"),
    "solar-mini4": ("0.10", "0.01", "0.40", "0", "0"),
    "document-parse": ("0", "0", "0", "0.01", "0.03"),
}
SCALES = (10**6, 10**6, 10**6, 1, 1)


@dataclass(frozen=True)
class Call:
    """A call as upstream served it, and how the gateway knows it."""

    day: date
    key: str
    model: str
    counts: Counts
    estimated: Counts | None = None
    """What the gateway booked instead, where its exact count was lost."""
    lost: bool = False
    """An attempt that brought no answer: the ledger has only its number."""


def month_of_calls(rng: random.Random, days: int = 5, most: int = 4) -> list[Call]:
    calls = []
    for offset in range(days):
        for key in ("key-a", "key-b"):
            for model in SOLD:
                for _ in range(rng.randrange(1, most)):
                    calls.append(Call(FIRST + timedelta(days=offset), key, model, _counts(rng, model)))
    return calls


def _counts(rng: random.Random, model: str) -> Counts:
    if model == "document-parse":
        return (0, 0, 0, rng.randrange(1, 40), rng.randrange(5))
    return (rng.randrange(1, 60_000), rng.randrange(30_000), rng.randrange(1, 9_000), 0, 0)


def with_timeouts(rng: random.Random, calls: Sequence[Call]) -> list[Call]:
    """Some calls whose exact count was lost, and some attempts that brought no answer."""
    made = []
    for call in calls:
        if call.model != "document-parse" and rng.random() < 0.1:
            less = (call.counts[0], call.counts[1], rng.randrange(call.counts[2] + 1), 0, 0)
            call = replace(call, estimated=less)
        made.append(call)
        if call.model != "document-parse" and rng.random() < 0.05:
            made.append(replace(call, estimated=None, lost=True))
    return made


def ledger_of(calls: Iterable[Call]) -> list[Expected]:
    groups: dict[tuple[date, str, str], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.day, call.key, call.model].append(call)
    return [_expected(*place, of) for place, of in groups.items()]


def _expected(day: date, key: str, model: str, calls: Sequence[Call]) -> Expected:
    exact = [call.counts for call in calls if call.estimated is None and not call.lost]
    guessed = [call.estimated for call in calls if call.estimated is not None]
    return Expected(
        day=day,
        key=key,
        model=model,
        calls=len(exact),
        counts=_summed(exact),
        estimated_calls=len(guessed),
        estimated_counts=_summed(guessed),
        lost_attempts=sum(call.lost for call in calls),
        prices=tuple(Fraction(price) for price in SOLD[model]),
    )


def _summed(counts: Sequence[Counts]) -> Counts:
    sums = [sum(each[kind] for each in counts) for kind in range(5)]
    return (sums[0], sums[1], sums[2], sums[3], sums[4])


Row = dict[str, Any]


def export_of(calls: Iterable[Call], places: int = 9) -> list[Row]:
    """Upstream's own rows: what it served, at its prices, cut to so many places of a dollar."""
    groups: dict[tuple[date, str, str], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.day, call.key, call.model].append(call)
    return [
        priced(
            {"date": day, "upstream_key": key, "model": model, "requests": len(of)},
            _summed([c.counts for c in of]),
            places,
        )
        for (day, key, model), of in groups.items()
    ]


def priced(row: Row, counts: Counts, places: int = 9, prices: Sequence[str] | None = None) -> Row:
    """A row with its counts, and the cost that they come to."""
    usd = cost_of(counts, prices or SOLD[row["model"]])
    cut = int(usd * 10**places)
    return {**row, **dict(zip(COUNT_COLUMNS, counts, strict=True)), "cost_usd": Decimal(cut).scaleb(-places)}


def cost_of(counts: Counts, prices: Sequence[str]) -> Fraction:
    return sum((n * Fraction(p) / s for n, p, s in zip(counts, prices, SCALES, strict=True)), Fraction(0))


def counts_of(row: Row) -> Counts:
    return (
        row["input_tokens"],
        row["cached_input_tokens"],
        row["output_tokens"],
        row["standard_pages"],
        row["enhanced_pages"],
    )


def text_of(rows: Iterable[Row], *, with_prices: bool = False) -> str:
    written = io.StringIO(newline="")
    names = [*COLUMNS, *(PRICE_COLUMNS if with_prices else ())]
    writer = csv.DictWriter(written, names, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        cells = {**dict(zip(PRICE_COLUMNS, SOLD.get(row["model"], ("0",) * 5), strict=True)), **row}
        writer.writerow({name: format(v, "f") if isinstance(v := cells[name], Decimal) else v for name in names})
    return written.getvalue()


def compared(calls: Sequence[Call], rows: Sequence[Row], *, with_prices: bool = False) -> Compared:
    """The comparison, held against a sum of its own: the difference is all findings and the residue."""
    result = compare(ledger_of(calls), from_wire_export(text_of(rows, with_prices=with_prices), OCTOBER))
    asked = sum((Fraction(row["cost_usd"]) for row in rows), Fraction(0))
    booked = [call.estimated or call.counts for call in calls if not call.lost]
    models = [call.model for call in calls if not call.lost]
    due = sum((cost_of(counts, SOLD[model]) for counts, model in zip(booked, models, strict=True)), Fraction(0))
    assert (result.upstream_usd, result.ledger_usd) == (asked, due)
    named = sum((each.usd for each in result.findings), Fraction(0))
    assert asked - due == named + result.residue_usd
    assert abs(result.residue_usd) <= result.residue_usd_max
    return result


def named(result: Compared) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for each in result.findings:
        sums[each.name] += each.usd
    return dict(sums)
