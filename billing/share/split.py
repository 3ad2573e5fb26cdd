"""Splitting pools among partners, pro rata. Pure.

Units: pools are exact USD; weights are accepted tokens × quality; amounts are whole cents. Parts are reckoned as exact fractions
(a third of a dollar is no decimal); money is rounded twice only: the sum of all pools down to the cent, and its split by
largest remainder, ties to the smaller account id (design.md section 5.7).
Conventions: a pool is what one payer's net revenue for one model brings in. It is split among the partners outside the payer's
owner group that have weight for that model. Where there is none, the pool stays with the house, and so do the parts of a cent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.money import ZERO, add, floor_pool, multiply, split_by_largest_remainder

CURRENCY = "USD"


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
    """What one payer's net revenue for one model puts up; `datasets` is None where no manifest names what trained it."""

    payer_id: str
    owner_group: str
    model: str
    exact: Decimal
    datasets: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How one pool came to one partner: `weight` / `weight_total` of `pool`. The payer is a number, never a name."""

    payer: int
    model: str
    pool: Decimal
    weight: Decimal
    weight_total: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """What one partner gets of a month's pools, in whole cents, and why."""

    account_id: str
    weight: Decimal
    amount: Decimal
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A month's pools, split: `amount`s sum to `pool`; `pool` + `house` is the exact sum of all pools."""

    pool: Decimal
    house: Decimal
    parts: tuple[Part, ...]
    with_house: tuple[Pool, ...]
    """The pools for which nobody was eligible."""


def split(pools: Iterable[Pool], partners: Iterable[Partner]) -> Split:
    """Each partner's part; the order of pools and of partners does not matter."""
    members = sorted((p for p in partners if p.weight() > 0), key=lambda p: p.account_id)
    ordered = sorted(pools, key=lambda pool: (pool.payer_id, pool.model))
    numbers = number_payers(ordered)
    weights = _weights(members, {pool.datasets for pool in ordered})
    steps: dict[str, list[Step]] = defaultdict(list)
    exact: dict[str, Fraction] = defaultdict(Fraction)
    with_house: list[Pool] = []
    for pool in ordered:
        eligible = [
            p for p in members if p.owner_group != pool.owner_group and weights[pool.datasets, p.account_id] > 0
        ]
        if not eligible:
            with_house.append(pool)
            continue
        total = add(weights[pool.datasets, p.account_id] for p in eligible)
        for partner in eligible:
            weight = weights[pool.datasets, partner.account_id]
            exact[partner.account_id] += Fraction(pool.exact) * Fraction(weight) / Fraction(total)
            steps[partner.account_id].append(Step(numbers[pool.payer_id], pool.model, pool.exact, weight, total))
    left = {(pool.payer_id, pool.model) for pool in with_house}
    shared = floor_pool(add(pool.exact for pool in ordered if (pool.payer_id, pool.model) not in left), CURRENCY)
    amounts = split_by_largest_remainder(shared, [(p.account_id, exact[p.account_id]) for p in members], CURRENCY)
    return Split(
        pool=shared,
        house=add([*(pool.exact for pool in ordered), multiply(shared, -1)]),
        parts=tuple(
            Part(partner.account_id, partner.weight(), amount, tuple(steps[partner.account_id]))
            for partner, amount in zip(members, amounts, strict=True)
        ),
        with_house=tuple(with_house),
    )


def number_payers(pools: Iterable[Pool]) -> dict[str, int]:
    """A number for each payer: 1 is the one whose pools are largest. Numbers change each month and tell no name."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for pool in pools:
        sums[pool.payer_id] = add([sums[pool.payer_id], pool.exact])
    ranked = sorted(sums, key=lambda payer_id: (Fraction(-1) * Fraction(sums[payer_id]), payer_id))
    return {payer_id: number for number, payer_id in enumerate(ranked, start=1)}


def pools_of(
    revenue: Mapping[tuple[str, str, str], Decimal], rate: Decimal, trained_on: Mapping[str, frozenset[str]]
) -> list[Pool]:
    """From net revenue by (payer, owner group, model), in exact USD, to pools. `trained_on`: model → datasets of its manifest."""
    return [
        Pool(payer_id, owner_group, model, multiply(net, rate), trained_on.get(model))
        for (payer_id, owner_group, model), net in sorted(revenue.items())
        if net
    ]


def _weights(
    members: Sequence[Partner], manifests: Iterable[frozenset[str] | None]
) -> dict[tuple[frozenset[str] | None, str], Decimal]:
    return {(datasets, p.account_id): p.weight(datasets) for datasets in manifests for p in members}
