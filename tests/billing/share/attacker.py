"""An attacker in search of a profit: sybil groups and payers, collusion, recycled grants, discounts and credit notes.

The attacker controls a ring of owner groups, each with text given and an account that pays, and payers of no group of its own. It may
split its text among the groups at will, buy traffic for any model through any of them, cover a part with grants, take the discount
that its tier gives, and have a part of an invoice credited afterwards. The traffic is worth nothing to it.
Profit = what the ring is paid in share, less what a single group with the same text and no traffic is paid, less the money paid for
the traffic; exact, before rounding (what rounding to cents may add is less than a cent for each account that is paid).
The search: seeded random starts, then greedy steps; everything that is paid goes through the product's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from billing.club.tiers import DEFAULT_TIERS
from billing.share.check import PlanUnsafe, check_plan
from billing.share.corrections import Credit, StoodMonth, StoodPool, taken_back
from billing.share.rules import RULES, Revenue, Rule, Terms
from billing.share.split import Partner, Pool, Split, number_payers, pools_of, split

MODELS = ("solar-mini", "solar-pro4")
DATASETS = ("news", "law")
HUNDREDTHS = 100
_NOBODY = Fraction(0)


@dataclass(frozen=True)
class World:
    """A plan, what discount the ring's tier gives, and everyone who is honest."""

    rule: Rule
    terms: Terms
    discount: Decimal
    honest: tuple[Revenue, ...]
    partners: tuple[Partner, ...]
    trained_on: Mapping[str, frozenset[str]]
    text: Mapping[str, int]
    """The attacker's own weight by dataset."""


@dataclass(frozen=True)
class Purchase:
    """Traffic of one account of the ring: USD at list price, and how much of it (in hundredths) grants cover or a credit note returns."""

    group: int
    model: str
    at_list: int
    granted: int
    credited: int


@dataclass(frozen=True)
class Attack:
    """How the ring plays: `shares[group][dataset]` in parts of the whole; group −1 is a payer without text."""

    shares: tuple[tuple[int, int], ...]
    purchases: tuple[Purchase, ...]


def random_world(rng: Random, accepted: Callable[[Decimal, Decimal], bool]) -> World:
    """A world whose plan and discounts are accepted."""
    while True:
        rate = Decimal(rng.choice([rng.randint(0, 100), 100, 60, 90, 20])).scaleb(-2)
        discount = rng.choice([Decimal(0), *(tier.discount for tier in DEFAULT_TIERS)])
        if accepted(rate, discount):
            break
    rule = RULES[rng.choice(sorted(RULES))]
    honest = tuple(
        Revenue(
            f"honest_{payer}", f"honest_{payer}", model, net=list_price * rng.randint(0, 100) / 100, usage=list_price
        )
        for payer in range(rng.randint(0, 3))
        for model in MODELS
        for list_price in [Decimal(rng.randint(1, 5000))]
    )
    partners = tuple(
        Partner(f"partner_{number}", f"partner_{number}", tuple((d, Decimal(rng.randint(0, 1000))) for d in DATASETS))
        for number in range(rng.randint(0, 2))
    )
    trained_on = {model: frozenset(rng.sample(DATASETS, 1)) for model in MODELS if rng.random() < 0.4}
    cap = Decimal(rng.randint(1, 2000)) if rule.needs_cap else None
    text = {dataset: rng.randint(0, 1000) for dataset in DATASETS}
    return World(rule, Terms(rate, cap), discount, honest, partners, trained_on, text)


def accepted_by_the_close(rate: Decimal, discount: Decimal) -> bool:
    try:
        check_plan("plan_1", rate, discount)
    except PlanUnsafe:
        return False
    return True


def random_attack(rng: Random) -> Attack:
    groups = rng.randint(1, 4)
    shares = tuple((rng.randint(0, 3), rng.randint(0, 3)) for _ in range(groups))
    return Attack(shares, tuple(_purchase(rng, groups) for _ in range(rng.randint(1, 4))))


def _purchase(rng: Random, groups: int) -> Purchase:
    part = [0, 0, 100, rng.randint(0, HUNDREDTHS)]
    return Purchase(
        rng.randint(-1, groups - 1), rng.choice(MODELS), rng.randint(1, 10_000), rng.choice(part), rng.choice(part)
    )


def changed(rng: Random, attack: Attack) -> Attack:
    """A neighbour: one purchase bought anew, added, scaled or left out, or the text divided in another way."""
    groups, kind = len(attack.shares), rng.randint(0, 4)
    purchases = list(attack.purchases)
    at = rng.randrange(len(purchases))
    if kind == 0:
        shares = tuple((rng.randint(0, 3), rng.randint(0, 3)) for _ in range(groups))
        return replace(attack, shares=shares)
    if kind == 1:
        purchases[at] = _purchase(rng, groups)
    elif kind == 2 and len(purchases) < 6:
        purchases.append(_purchase(rng, groups))
    elif kind == 3 and len(purchases) > 1:
        purchases.pop(at)
    else:
        scaled = purchases[at].at_list * rng.choice([1, 3, 20]) // rng.choice([2, 7])
        purchases[at] = replace(purchases[at], at_list=min(max(1, scaled), 1_000_000))
    return replace(attack, purchases=tuple(purchases))


def profit(world: World, attack: Attack) -> Fraction:
    """What the ring gains, exact USD."""
    bought = tuple(_revenue(world, attack, number) for number in range(len(attack.purchases)))
    ring = _ring(world, attack.shares)
    pools, kept = pools_of(_summed((*world.honest, *bought)), world.rule, world.terms, world.trained_on)
    shares = split(pools, (*world.partners, *ring), kept=kept)
    taken, returned = _credited(world, attack, bought, pools, shares)
    names = {partner.account_id for partner in ring}
    paid = sum((Fraction(each.net) for each in bought), _NOBODY)
    before = _paid_out(_without_traffic(world), {"ring_0"})
    return _paid_out(shares, names) + sum((taken[name] for name in names), _NOBODY) - before - (paid - returned)


def _revenue(world: World, attack: Attack, number: int) -> Revenue:
    each = attack.purchases[number]
    at_list = Decimal(each.at_list)
    net = at_list * (HUNDREDTHS - each.granted) / HUNDREDTHS * (1 - world.discount)
    # Purchases of one group and model are one account's; a payer of no group is an account of its own for each.
    name = f"payer_{each.group}" if each.group >= 0 else f"sybil_{number}"
    return Revenue(name, f"ring_{each.group}" if each.group >= 0 else name, each.model, net, at_list)


def _summed(revenue: tuple[Revenue, ...]) -> list[Revenue]:
    sums: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    for each in revenue:
        key = (each.payer_id, each.owner_group, each.model)
        net, usage = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = (net + each.net, usage + each.usage)
    return [Revenue(*key, net, usage) for key, (net, usage) in sums.items()]


def _ring(world: World, shares: tuple[tuple[int, int], ...]) -> list[Partner]:
    whole = [sum(group[at] for group in shares) or 1 for at in range(len(DATASETS))]
    # Weights in units of 1/(common multiple), so that they stay whole numbers however the text is divided.
    return [
        Partner(
            f"ring_{number}",
            f"ring_{number}",
            tuple(
                (dataset, Decimal(world.text[dataset] * _UNIT * group[at] // whole[at]))
                for at, dataset in enumerate(DATASETS)
            ),
        )
        for number, group in enumerate(shares)
    ]


_UNIT = 27_720
"""Divisible by every sum that the parts of the text can come to (1 to 12)."""


def _without_traffic(world: World) -> Split:
    pools, kept = pools_of(world.honest, world.rule, world.terms, world.trained_on)
    return split(pools, (*world.partners, *_ring(world, ((1, 1),))), kept=kept)


def _paid_out(shares: Split, names: set[str]) -> Fraction:
    """The exact parts of some partners."""
    return sum(
        (
            step.pool * Fraction(step.weight) / Fraction(step.weight_total)
            for part in shares.parts
            if part.account_id in names
            for step in part.steps
        ),
        _NOBODY,
    )


def _credited(
    world: World, attack: Attack, bought: tuple[Revenue, ...], pools: list[Pool], shares: Split
) -> tuple[dict[str, Fraction], Fraction]:
    """What credit notes on the ring's invoices take back from each of it, and what money they return."""
    parts: dict[tuple[int, str], list[tuple[str, Fraction]]] = {}
    for part in shares.parts:
        for step in part.steps:
            whose = (part.account_id, Fraction(step.weight) / Fraction(step.weight_total))
            parts.setdefault((step.payer, step.model), []).append(whose)
    numbers = number_payers(pools)
    usage = {(each.payer_id, each.model): each.usage for each in _summed((*world.honest, *bought))}
    stood = StoodMonth(
        "2026-10",
        world.rule,
        world.terms,
        tuple(
            StoodPool(
                numbers[p.payer_id],
                Revenue(p.payer_id, p.owner_group, p.model, p.net, usage[p.payer_id, p.model]),
                tuple(parts.get((numbers[p.payer_id], p.model), ())),
            )
            for p in pools
        ),
    )
    credits = [
        Credit(each.payer_id, each.model, each.net * purchase.credited / HUNDREDTHS)
        for each, purchase in zip(bought, attack.purchases, strict=True)
    ]
    taken = {f"ring_{number}": _NOBODY for number in range(len(attack.shares))}
    for each in taken_back(stood, [], credits):
        if each.holder in taken:
            taken[each.holder] += each.exact
    return taken, sum((Fraction(credit.usd) for credit in credits), _NOBODY)


@dataclass(frozen=True)
class Found:
    """The best attack that a search came upon."""

    profit: Fraction
    world: World
    attack: Attack

    def __str__(self) -> str:
        spent = sum(purchase.at_list for purchase in self.attack.purchases)
        return (
            f"profit {float(self.profit):.6f} USD on {spent} USD of traffic at list price, rule {self.world.rule.name}, "
            f"pool rate {self.world.terms.pool_rate}, discount {self.world.discount}, {self.attack}"
        )


def search(rng: Random, worlds: int, steps: int, accepted: Callable[[Decimal, Decimal], bool]) -> Found:
    """The best of `worlds` random worlds, each climbed for `steps` steps."""
    best: Found | None = None
    for _ in range(worlds):
        world = random_world(rng, accepted)
        found = climb(rng, world, steps)
        if best is None or found.profit > best.profit:
            best = found
    assert best is not None
    return best


def climb(rng: Random, world: World, steps: int) -> Found:
    """The best attack on one world: from a random start, each step that is no worse is taken."""
    attack = random_attack(rng)
    found = Found(profit(world, attack), world, attack)
    for _ in range(steps):
        attack = changed(rng, found.attack)
        gained = profit(world, attack)
        if gained >= found.profit:
            found = Found(gained, world, attack)
    return found
