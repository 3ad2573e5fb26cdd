"""A second, independent calculation of a month, in exact fractions, from the calls themselves.

Shares no arithmetic with `billing`: no ledger, no Decimal, no grouping by card. Only the counts and the posted prices go in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

KIND_OF_INDEX = ("input", "cached_input", "output", "standard", "enhanced")


@dataclass(frozen=True)
class PlainCall:
    """What happened, before anyone reckoned."""

    account_id: str
    model: str
    counts: tuple[int, int, int, int, int]
    granted: tuple[int, int, int]
    prices: tuple[str, str, str, str, str]
    discount: str


@dataclass
class Bill:
    """What an account owes, by (model, kind, discount)."""

    lines: dict[tuple[str, str, str], Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    by_model: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    granted: int = 0


def bills(calls: Iterable[PlainCall]) -> dict[str, Bill]:
    """Exact USD by account."""
    found: dict[str, Bill] = defaultdict(Bill)
    for call in calls:
        bill = found[call.account_id]
        granted = (*call.granted, 0, 0)
        for index, kind in enumerate(KIND_OF_INDEX):
            paid = call.counts[index] - granted[index]
            price = Fraction(call.prices[index]) / (1 if index >= 3 else 1_000_000)
            usd = paid * price * (1 - Fraction(call.discount))
            bill.by_model[call.model] += usd
            if paid:
                bill.lines[call.model, kind, call.discount] += usd
        bill.granted += sum(granted)
    return found


def half_up(exact: Fraction, unit: Fraction) -> Fraction:
    """To the unit, ties up (amounts here are not negative)."""
    return floor(exact / unit + Fraction(1, 2)) * unit


def shares(
    revenue: dict[tuple[str, str, str], Fraction],
    partners: dict[str, tuple[str, dict[str, Fraction]]],
    trained_on: dict[str, set[str]],
    rate: Fraction,
) -> tuple[dict[str, Fraction], Fraction]:
    """Amounts in dollars by partner, and the pool, from revenue by (payer, group, model) and partner → (group, dataset → weight)."""
    exact: dict[str, Fraction] = {partner: Fraction(0) for partner in partners}
    shared = Fraction(0)
    for (_, payer_group, model), usd in revenue.items():
        weights = {
            partner: sum(w for dataset, w in given.items() if model not in trained_on or dataset in trained_on[model])
            for partner, (group, given) in partners.items()
            if group != payer_group
        }
        whole = sum(weights.values())
        if whole == 0:
            continue
        shared += rate * usd
        for partner, weight in weights.items():
            exact[partner] += rate * usd * weight / whole
    pool_cents = floor(shared * 100)
    cents = {partner: floor(amount * 100) for partner, amount in exact.items()}
    by_remainder = sorted(exact, key=lambda partner: (cents[partner] - exact[partner] * 100, partner))
    for partner in by_remainder[: pool_cents - sum(cents.values())]:
        cents[partner] += 1
    return {partner: Fraction(amount, 100) for partner, amount in cents.items()}, Fraction(pool_cents, 100)
