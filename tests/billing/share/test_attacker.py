"""Nothing is to be gained from a plan that the close accepts; the same search finds what a bad one would lose.

Run with -s to see what the searches came to; more worlds: `python -m tests.bench.share --attack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from billing.share.rules import Revenue, Rule, Terms
from tests.billing.share.attacker import accepted_by_the_close, climb, profit, random_attack, random_world, search

SEED = 20261124


def test_a_search_over_what_the_close_accepts_finds_no_profit() -> None:
    best = search(Random(SEED), worlds=60, steps=40, accepted=accepted_by_the_close)
    print(f"\nseed {SEED}, 60 worlds of 40 steps: best {best}")
    assert best.profit <= 0


def test_a_pool_rate_above_one_that_the_close_would_refuse_is_found_to_pay() -> None:
    def everything(rate: Decimal, discount: Decimal) -> bool:
        return True

    rng, gains = Random(SEED), []
    for _ in range(8):
        world = random_world(rng, everything)
        planted = replace(world, terms=replace(world.terms, pool_rate=Decimal("1.30")), partners=())
        gains.append(climb(rng, planted, 40))
    best = max(gains, key=lambda found: found.profit)
    print(f"\nplanted pool rate 1.30: best {best}")
    assert not accepted_by_the_close(Decimal("1.30"), Decimal(0))
    assert best.profit > 0


def test_pools_reckoned_at_list_price_are_found_to_pay() -> None:
    def at_list(revenue: Sequence[Revenue], terms: Terms) -> list[Fraction]:
        return [Fraction(terms.pool_rate) * Fraction(each.usage) for each in revenue]

    rng, gains = Random(SEED), []
    for _ in range(8):
        world = random_world(rng, lambda rate, discount: rate >= Decimal("0.60") and discount == Decimal("0.40"))
        planted = replace(world, rule=Rule("at_list", "pool rate × list price, grants and discounts included", at_list))
        gains.append(climb(rng, planted, 40))
    best = max(gains, key=lambda found: found.profit)
    print(f"\nplanted pools at list price: best {best}")
    assert best.profit > 0


def test_text_split_among_any_number_of_groups_alone_changes_nothing() -> None:
    rng = Random(SEED)
    for _ in range(100):
        world, attack = random_world(rng, accepted_by_the_close), random_attack(rng)
        if all(sum(group[at] for group in attack.shares) for at in range(2)):
            idle = replace(attack, purchases=())
            assert profit(world, idle) == 0
