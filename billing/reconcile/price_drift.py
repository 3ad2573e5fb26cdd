"""Which price upstream changed, where its export states costs but no prices. Pure.

A single day tells only by how much its cost is off. Days with another mix of tokens tell more: the one kind for which the same other price
explains all of them is the one that changed. Where several would, all are named and none is chosen.
Units: fractions of a USD; prices per million tokens, or per page (`scales` says of which kind).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from billing.reconcile.usage_export import KINDS, Counts

ALL_KINDS = len(KINDS)
"""The candidate that every price was changed by the same factor."""

Range = tuple[Fraction, Fraction]


class Drift(NamedTuple):
    """A day whose cost is off by `usd`; the cost itself is known to one `unit`."""

    day: date
    usd: Fraction
    unit: Fraction
    counts: Counts
    prices: tuple[Fraction, ...]


def name_drifts(series: Sequence[Drift], scales: Sequence[int]) -> Iterator[tuple[Drift, str, str]]:
    """Each day with the kind whose price changed (empty where it is not certain) and the evidence."""
    run: list[Drift] = []
    left: dict[int, Range] = {}
    for drift in sorted(series):
        ranges = _candidates(drift, scales)
        both = ranges if not run else _intersection(left, ranges)
        if not both and run:
            yield from _told(run, left)
            run, both = [], ranges
        run.append(drift)
        left = both
    if run:
        yield from _told(run, left)


def _candidates(drift: Drift, scales: Sequence[int]) -> dict[int, Range]:
    """For each kind: between which prices it alone would explain the day."""
    low, high = drift.usd - drift.unit, drift.usd + drift.unit
    found: dict[int, Range] = {}
    for kind, (count, price, scale) in enumerate(zip(drift.counts, drift.prices, scales, strict=True)):
        if count and price + high * scale / count >= 0:
            found[kind] = (price + low * scale / count, price + high * scale / count)
    worth = sum((n * p / s for n, p, s in zip(drift.counts, drift.prices, scales, strict=True)), Fraction(0))
    if worth and len(found) > 1:
        found[ALL_KINDS] = (1 + low / worth, 1 + high / worth)
    return found


def _intersection(left: dict[int, Range], right: dict[int, Range]) -> dict[int, Range]:
    both = {
        kind: (max(left[kind][0], right[kind][0]), min(left[kind][1], right[kind][1])) for kind in left.keys() & right
    }
    return {kind: (low, high) for kind, (low, high) in both.items() if low <= high}


def _told(run: Sequence[Drift], left: dict[int, Range]) -> Iterator[tuple[Drift, str, str]]:
    first = run[0]
    texts = [_text(kind, left[kind], first) for kind in sorted(left)]
    evidence = " or ".join(texts) or "no single price explains it"
    kind = KINDS[min(left)] if len(left) == 1 and ALL_KINDS not in left else ""
    for drift in run:
        yield drift, kind, evidence


def _text(kind: int, values: Range, first: Drift) -> str:
    told = simplest(*values)
    if kind == ALL_KINDS:
        return f"all prices × {told}"
    return f"{KINDS[kind]} at {told} instead of {simplest(first.prices[kind], first.prices[kind])}"


def simplest(low: Fraction, high: Fraction) -> str:
    """The decimal with the fewest places between two numbers (with at most twelve)."""
    for places in range(13):
        ceiling = -(-low * 10**places // 1)
        if ceiling <= high * 10**places or places == 12:
            sign, digits = "-" if ceiling < 0 else "", f"{abs(int(ceiling)):0{places + 1}d}"
            return f"{sign}{digits[: len(digits) - places]}{'.' if places else ''}{digits[len(digits) - places :] if places else ''}"
    raise AssertionError(low, high)
