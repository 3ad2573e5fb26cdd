"""Upstream's account of a month against the ledger, by day, upstream key and model: each difference gets a name. Pure.

    doubled    a row stands in the export twice, or upstream counts a group a whole number of times
    missing    upstream bills less than the ledger has: calls that it has not counted, or not yet
    timeouts   calls of which the ledger has no exact count (estimated, or an attempt that was lost): upstream says what they were
    unknown    upstream bills what the ledger has no trace of, or counts the same calls otherwise
    price      upstream took another price than the rate card says it takes (`buy`)
    midnight   calls accepted just before midnight, which upstream counts on the next day; the month's sum is not touched

Units: exact fractions of a USD; counts of a day, in the order of `usage_export.KINDS`. Convention: what upstream asks for, less what
the ledger expects, is Σ findings + residue, exactly. The residue is what upstream's own rounding of each row's cost leaves, and so
below one unit of its last place for each row. Where requests are too many or too few *and* some calls are uncertain, the tokens of
the first are taken at the average of the day's exact calls, and what is left is that of the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from billing.reconcile.price_drift import Drift, name_drifts, simplest
from billing.reconcile.sides import SCALES, Expected, Place, Side, side_by_side, value_of, worth_of
from billing.reconcile.usage_export import KINDS, UsageExport, UsageRow

CALL_TOKENS_MAX = 131_072
"""What one uncertain call can come to at most: the longest context of a Solar model (upstage-api.md, 2026-11)."""


class Finding(NamedTuple):
    """One difference with its name; over several days where they tell the same."""

    name: str
    day: date
    until: date
    days: int
    key: str
    model: str
    kind: str
    """The kind of token or page, where it is about one."""
    calls: int
    quantity: int
    """Tokens and pages."""
    usd: Fraction
    evidence: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A month, compared."""

    upstream_usd: Fraction
    ledger_usd: Fraction
    findings: tuple[Finding, ...]
    residue_usd: Fraction
    residue_usd_max: Fraction
    upstream_calls: int = 0
    ledger_calls: int = 0


@dataclass(slots=True)
class _Both:
    """A place that both sides know and that has prices; by how much upstream counts more, before and after each explanation."""

    rows: Sequence[UsageRow]
    ours: Expected
    prices: tuple[Fraction, ...]
    extra_calls: int
    over: list[int]


def compare(ours: Iterable[Expected], export: UsageExport, names: Mapping[str, str] | None = None) -> Compared:
    """Name every difference. `names`: what upstream calls a model → what the ledger does (itself, where it is not there)."""
    sides = side_by_side(ours, export, names or {})
    known = {place: side.ours for place, side in sides.items() if side.ours is not None}
    keys, models = {key for key, _, _ in known}, {model for _, model, _ in known}
    findings = [_doubled_row(row, first) for row, first in export.doubled]
    both: dict[Place, _Both] = {}
    for place, side in sides.items():
        met = _met(side)
        if met is None:
            findings += _one_sided(place, side, keys, models)
        else:
            both[place] = met
    findings += [found for place in both for found in _over_midnight(place, both)]
    findings += [found for place, one in both.items() for found in _counted(place, one)]
    priced, residue = _prices(both)
    rows = [*export.rows, *(row for row, _ in export.doubled)]
    return Compared(
        upstream_usd=sum((Fraction(row.cost) for row in rows), Fraction(0)),
        ledger_usd=sum((each.worth for each in known.values()), Fraction(0)),
        findings=tuple(_merged([*findings, *priced])),
        residue_usd=residue,
        residue_usd_max=sum((Fraction(row.unit_usd) for one in both.values() for row in one.rows), Fraction(0)),
        upstream_calls=sum(row.requests for row in rows),
        ledger_calls=sum(each.calls + each.estimated_calls for each in known.values()),
    )


def _met(side: Side) -> _Both | None:
    ours = side.ours
    if ours is None or ours.prices is None or not side.rows:
        return None
    over = [theirs - mine for theirs, mine in zip(side.served(), ours.known(), strict=True)]
    return _Both(side.rows, ours, ours.prices, side.requests - ours.calls - ours.estimated_calls, over)


def _found(name: str, place: Place, usd: Fraction, evidence: str, calls: int = 0, quantity: int = 0) -> Finding:
    key, model, day = place
    return Finding(name, day, day, 1, key, model, "", calls, quantity, usd, evidence)


def _doubled_row(row: UsageRow, first: int) -> Finding:
    place = (row.key, row.model, row.day)
    evidence = f"line {row.line} of the export repeats line {first}"
    return _found("doubled", place, Fraction(row.cost), evidence, row.requests, sum(row.counts))


def _one_sided(place: Place, side: Side, keys: set[str], models: set[str]) -> Iterator[Finding]:
    """What only one of the two knows at all, or what nobody here has a price for."""
    key, model, _ = place
    ours = side.ours
    if side.rows:
        why = "no rate card says what upstream takes for it"
        if ours is None:
            why = "the ledger has no call of that day over this key and model"
            why = "no call of the month went over this key" if key and key not in keys else why
            why = "the ledger knows no such model in this month" if model not in models else why
        yield _found("unknown", place, side.cost, why, side.requests, sum(side.served()))
    elif ours is not None and (any(ours.known()) or ours.calls or ours.estimated_calls):
        calls = ours.calls + ours.estimated_calls
        yield _found("missing", place, -ours.worth, "not in the export", -calls, -sum(ours.known()))


def _over_midnight(place: Place, both: Mapping[Place, _Both]) -> Iterator[Finding]:
    """Move what was accepted late on this day, and counted by upstream on the next one, back to where the ledger has it."""
    key, model, day = place
    today, next_day = both[place], both.get((key, model, day + timedelta(days=1)))
    if next_day is None:
        return
    late = today.ours.late_counts
    moved = [max(0, min(-less, more, most)) for less, more, most in zip(today.over, next_day.over, late, strict=True)]
    if not any(moved):
        return
    calls = max(0, min(-today.extra_calls, next_day.extra_calls, today.ours.late_calls))
    today.over = [over + count for over, count in zip(today.over, moved, strict=True)]
    next_day.over = [over - count for over, count in zip(next_day.over, moved, strict=True)]
    today.extra_calls += calls
    next_day.extra_calls -= calls
    usd = worth_of(moved, next_day.prices) - worth_of(moved, today.prices)
    yield _found("midnight", place, usd, "accepted late on the day, counted on the next one", calls, sum(moved))


def _counted(place: Place, one: _Both) -> Iterator[Finding]:
    """Why upstream's counts are not the ledger's."""
    ours, over = one.ours, one.over
    if not any(over) and not one.extra_calls:
        return
    requests = ours.calls + ours.estimated_calls
    times = one.extra_calls // requests if requests else 0
    # One attempt that was lost can look like its own repetition: what may explain it comes first.
    if (
        times >= 1
        and one.extra_calls > ours.lost_attempts
        and [times * n for n in ours.known()] == over
        and times * requests == one.extra_calls
    ):
        evidence = f"upstream counts each call {times + 1} times"
        yield _found("doubled", place, worth_of(over, one.prices), evidence, one.extra_calls, sum(over))
        return
    from_lost = max(-ours.estimated_calls, min(ours.lost_attempts, one.extra_calls))
    rest = one.extra_calls - from_lost
    parts: dict[str, list[int]] = {name: [0] * len(KINDS) for name in ("timeouts", "unknown", "missing")}
    for kind, count in enumerate(over):
        parts["timeouts"][kind], other = _divided(count, kind, ours, rest)
        parts["unknown" if other > 0 else "missing"][kind] = other
    calls = {"timeouts": from_lost, "unknown": max(0, rest), "missing": min(0, rest)}
    for name, counts in parts.items():
        if calls[name] or any(counts):
            usd = worth_of(counts, one.prices)
            yield _found(name, place, usd, _why(name, ours, rest), calls[name], sum(counts))


def _divided(over: int, kind: int, ours: Expected, rest: int) -> tuple[int, int]:
    """(what uncertain calls account for, what they do not) of one kind's difference."""
    uncertain = ours.estimated_calls + ours.lost_attempts
    if not uncertain:
        return 0, over
    other = rest * ours.counts[kind] // ours.calls if ours.calls else (over if rest else 0)
    other = max(0, min(over, other)) if over > 0 else min(0, max(over, other))
    timeouts = max(-ours.estimated_counts[kind], min(over - other, uncertain * CALL_TOKENS_MAX))
    return timeouts, over - timeouts


def _why(name: str, ours: Expected, rest: int) -> str:
    if name == "timeouts":
        return f"{ours.estimated_calls} calls are estimated, {ours.lost_attempts} attempts brought no answer"
    if name == "unknown":
        return "more calls than the ledger has" if rest > 0 else "as many calls, with more tokens"
    return "fewer calls than the ledger has" if rest < 0 else "as many calls, with fewer tokens"


def _prices(both: Mapping[Place, _Both]) -> tuple[list[Finding], Fraction]:
    """What comes of other prices, and what is left of rounding."""
    findings: list[Finding] = []
    residue = Fraction(0)
    drifts: dict[tuple[str, str], list[Drift]] = defaultdict(list)
    for place, one in both.items():
        for row in one.rows:
            stated = one.prices if row.prices is None else tuple(Fraction(price) for price in row.prices)
            off, unit = Fraction(row.cost) - worth_of(row.counts, stated), Fraction(row.unit_usd)
            findings += _stated_prices(place, row, one.prices, stated)
            if abs(off) < unit:
                residue += off
            elif row.prices is not None:
                findings.append(_found("price", place, off, "its cost does not follow from the prices beside it"))
            else:
                drifts[place[:2]].append(Drift(place[2], off, unit, row.counts, one.prices))
    for (key, model), series in drifts.items():
        for drift, kind, evidence in name_drifts(series, SCALES):
            found = _found("price", (key, model, drift.day), drift.usd, evidence, 0, sum(drift.counts))
            findings.append(found._replace(kind=kind))
    return findings, residue


def _stated_prices(
    place: Place, row: UsageRow, ours: Sequence[Fraction], theirs: Sequence[Fraction]
) -> Iterator[Finding]:
    for kind, count in enumerate(row.counts):
        usd = value_of(kind, count, theirs) - value_of(kind, count, ours)
        if usd:
            card, export = (simplest(price, price) for price in (ours[kind], theirs[kind]))
            evidence = f"{card} on the rate card, {export} in the export"
            yield _found("price", place, usd, evidence, row.requests, count)._replace(kind=KINDS[kind])


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Those that tell the same of several days as one; the most money first."""
    together: dict[tuple[str, str, str, str, str], list[Finding]] = defaultdict(list)
    for each in findings:
        together[each.name, each.key, each.model, each.kind, each.evidence].append(each)
    merged = [
        of[0]._replace(
            day=min(x.day for x in of),
            until=max(x.until for x in of),
            days=len({x.day for x in of}),
            calls=sum(x.calls for x in of),
            quantity=sum(x.quantity for x in of),
            usd=sum((x.usd for x in of), Fraction(0)),
        )
        for of in together.values()
    ]
    return sorted(merged, key=lambda x: (-abs(x.usd), x.day, x.key, x.model, x.name, x.kind, x.evidence))
