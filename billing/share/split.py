"""Splitting pools among partners by weight. Pure.

Units: pools are exact fractions of a USD; weights are accepted tokens × quality; amounts are whole cents. Parts are reckoned as exact
fractions (a third of a dollar is no decimal); money is rounded twice only: the sum of all pools down to the cent, and its split by
largest remainder, ties to the smaller account id (design.md section 5.7).
Conventions: a pool is what one payer puts up for one model (how much: `rules`). It is split among the partners outside the payer's
owner group that have weight for that model. Where there is none, the pool stays with the house, and so do the parts of a cent, and
what a rule keeps back. What a credit note takes back of an earlier month's pools (`corrections`) goes back the way it came.
"""

from __future__ import annotations

import decimal
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.money import ZERO, add, floor_pool, multiply, split_by_largest_remainder
from billing.share.corrections import TakenBack
from billing.share.rules import Revenue, Rule, Terms

CURRENCY = "USD"
SHOWN_PLACES = 18
"""Where a fraction is no decimal, it is shown cut to so many places."""


@dataclass(frozen=True, slots=True)
class Partner:
    """Who gave what: (dataset, weight) of each contribution in force at the month's end."""

    account_id: str
    owner_group: str
    given: tuple[tuple[str, Decimal], ...]

    def weight(self, datasets: frozenset[str] | None = None) -> Decimal:
        """Σ tokens × quality, of all that was given or of the datasets that trained a model."""
        return add(weight for dataset, weight in self.given if datasets is None or dataset in datasets)


@dataclass(frozen=True, slots=True)
class Pool:
    """What one payer puts up for one model, from its `net` revenue; `datasets` is None where no manifest names what trained it."""

    payer_id: str
    owner_group: str
    model: str
    exact: Fraction
    datasets: frozenset[str] | None = None
    net: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Step:
    """How one pool came to one partner: `weight` / `weight_total` of `pool`. The payer is a number, never a name."""

    payer: int
    model: str
    pool: Fraction
    weight: Decimal
    weight_total: Decimal
    net: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Part:
    """What one partner gets of a month's pools, in whole cents, and why."""

    account_id: str
    weight: Decimal
    amount: Decimal
    steps: tuple[Step, ...]
    taken_back: tuple[TakenBack, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """A month's pools, split: `amount`s sum to `pool`; `pool` + `house` is all that was put up, what was kept back included."""

    pool: Decimal
    house: Fraction
    parts: tuple[Part, ...]
    with_house: tuple[Pool, ...]
    """The pools for which nobody was eligible."""


def split(
    pools: Iterable[Pool],
    partners: Iterable[Partner],
    taken_back: Sequence[TakenBack] = (),
    kept: Fraction = Fraction(0),
) -> Split:
    """Each partner's part; the order of pools, partners and corrections does not matter. `kept`: what the rule left to the house."""
    members = {p.account_id: p for p in partners if p.weight() > 0}
    ordered = sorted((pool for pool in pools if pool.exact), key=lambda pool: (pool.payer_id, pool.model))
    numbers = number_payers(ordered)
    weights = _weights(members.values(), {pool.datasets for pool in ordered})
    steps: dict[str, list[Step]] = defaultdict(list)
    exact: dict[str, Fraction] = dict.fromkeys(members, Fraction(0))
    with_house: list[Pool] = []
    for pool in ordered:
        eligible = [
            p
            for p in members.values()
            if p.owner_group != pool.owner_group and weights[pool.datasets, p.account_id] > 0
        ]
        if not eligible:
            with_house.append(pool)
            continue
        total = add(weights[pool.datasets, p.account_id] for p in eligible)
        for partner in eligible:
            weight = weights[pool.datasets, partner.account_id]
            exact[partner.account_id] += pool.exact * Fraction(weight) / Fraction(total)
            steps[partner.account_id].append(
                Step(numbers[pool.payer_id], pool.model, pool.exact, weight, total, pool.net)
            )
    back: dict[str, list[TakenBack]] = defaultdict(list)
    house = kept + sum((pool.exact for pool in with_house), Fraction(0))
    for each in sorted(taken_back):
        if each.holder:
            exact[each.holder] = exact.get(each.holder, Fraction(0)) + each.exact
            back[each.holder].append(each)
        else:
            house += each.exact
    due = sum(exact.values(), Fraction(0))
    shared = floor_pool(shown(due), CURRENCY)
    order = sorted(exact)
    amounts = split_by_largest_remainder(shared, [(account_id, exact[account_id]) for account_id in order], CURRENCY)
    return Split(
        pool=shared,
        house=house + due - Fraction(shared),
        parts=tuple(
            Part(
                account_id,
                members[account_id].weight() if account_id in members else ZERO,
                amount,
                tuple(sorted(steps[account_id], key=lambda step: (step.payer, step.model))),
                tuple(back[account_id]),
            )
            for account_id, amount in zip(order, amounts, strict=True)
        ),
        with_house=tuple(with_house),
    )


def number_payers(pools: Iterable[Pool]) -> dict[str, int]:
    """A number for each payer: 1 is the one whose pools are largest. Numbers change each month and tell no name."""
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for pool in pools:
        sums[pool.payer_id] += pool.exact
    ranked = sorted(sums, key=lambda payer_id: (-sums[payer_id], payer_id))
    return {payer_id: number for number, payer_id in enumerate(ranked, start=1)}


def pools_of(
    revenue: Iterable[Revenue], rule: Rule, terms: Terms, trained_on: Mapping[str, frozenset[str]]
) -> tuple[list[Pool], Fraction]:
    """The pools that a rule makes of a month's revenue, and what it keeps back. `trained_on`: model → datasets of its manifest."""
    lines = sorted(revenue, key=lambda each: (each.payer_id, each.model))
    put_up = rule.put_up(lines, terms)
    pools = [
        Pool(each.payer_id, each.owner_group, each.model, amount, trained_on.get(each.model), each.net)
        for each, amount in zip(lines, put_up, strict=True)
    ]
    whole = Fraction(terms.pool_rate) * sum((Fraction(each.net) for each in lines), Fraction(0))
    return pools, whole - sum(put_up, Fraction(0))


def shown(amount: Fraction) -> Decimal:
    """A fraction as a decimal: exact where it is one of at most 60 digits, else cut (down) to 18 places."""
    try:
        return decimal.Context(prec=60, traps=[decimal.Inexact]).divide(
            Decimal(amount.numerator), Decimal(amount.denominator)
        )
    except decimal.Inexact:
        return multiply(math.floor(amount * 10**SHOWN_PLACES), Decimal(1).scaleb(-SHOWN_PLACES))


def _weights(
    members: Iterable[Partner], manifests: Iterable[frozenset[str] | None]
) -> dict[tuple[frozenset[str] | None, str], Decimal]:
    partners = list(members)
    return {(datasets, p.account_id): p.weight(datasets) for datasets in manifests for p in partners}
