"""Credit notes that come after a month's shares: what they take back, the way it came. Pure.

Units: exact fractions of a USD; what is taken back is mostly negative. Conventions: a finished statement never changes (design.md
sections 5.5 and 5.8). A credit note on an invoice of an earlier month is made good in the month that it is booked into: each pool
of the earlier month is put up again from the revenue less all credits so far, by the rule and the terms of that month, and the
difference to what stood before goes to the same partners in the same fractions as the pool did. A partner that has withdrawn since
does not keep it, and a new one does not pay for it; what the house had kept of such a pool comes off the house's part.
Why all pools of the month and not the credited payer's alone: under `scaled_user_prop` one payer's revenue moves what the others put
up. Whoever bought a lot and had it all credited would have kept that effect (found by tests/billing/share/attacker.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from billing.money import ZERO, add, subtract
from billing.share.rules import Revenue, Rule, Terms


@dataclass(frozen=True, slots=True)
class Credit:
    """What a credit note gives back to a payer for one model of an invoice, without tax: a positive exact amount in USD."""

    payer_id: str
    model: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class StoodPool:
    """A pool of an earlier month: what it was put up from, and its parts as fractions that sum to 1 (none: the house's)."""

    payer: int
    revenue: Revenue
    parts: tuple[tuple[str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class StoodMonth:
    """A finished month, and the rule that it was shared by."""

    month: str
    rule: Rule
    terms: Terms
    pools: tuple[StoodPool, ...]


@dataclass(frozen=True, slots=True, order=True)
class TakenBack:
    """What credit notes take back from one partner's part of one pool; from the house where `holder` is empty."""

    month: str
    payer: int
    model: str
    holder: str
    exact: Fraction


def taken_back(stood: StoodMonth, earlier: Iterable[Credit], new: Iterable[Credit]) -> list[TakenBack]:
    """What new credits on a finished month take back, where earlier ones are made good already."""
    known = _sums(earlier)
    before, after = _put_up(stood, known), _put_up(stood, _sums(new, known))
    return [
        TakenBack(stood.month, pool.payer, pool.revenue.model, holder, (now - then) * fraction)
        for pool, then, now in zip(stood.pools, before, after, strict=True)
        if now != then
        for holder, fraction in pool.parts or (("", Fraction(1)),)
    ]


def _put_up(stood: StoodMonth, credited: Mapping[tuple[str, str], Decimal]) -> list[Fraction]:
    revenue = [
        replace(
            pool.revenue,
            net=subtract(pool.revenue.net, credited.get((pool.revenue.payer_id, pool.revenue.model), ZERO)),
        )
        for pool in stood.pools
    ]
    return stood.rule.put_up(revenue, stood.terms)


def _sums(
    credits: Iterable[Credit], known: Mapping[tuple[str, str], Decimal] | None = None
) -> dict[tuple[str, str], Decimal]:
    amounts: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for key, amount in (known or {}).items():
        amounts[key].append(amount)
    for each in credits:
        amounts[each.payer_id, each.model].append(each.usd)
    return {key: add(rows) for key, rows in amounts.items()}
