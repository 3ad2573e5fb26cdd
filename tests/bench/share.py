"""The revenue share over many random months, and a long search for a profit. Run: python -m tests.bench.share [--cases N] [--worlds N]

Each case is a random month under a random rule (tests/billing/share/cases.py): the amounts must sum to the pool, and with the house's
part to the pool rate of all revenue, exactly; every tenth is compared with the second calculation to the cent. Exit: 0, or 1 and the
seed of what failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from fractions import Fraction
from random import Random

from tests.billing.share.attacker import accepted_by_the_close, search
from tests.billing.share.cases import random_case

_EVERY = 10
_SHOWN = 100_000


def holds(seed: int) -> str | None:
    """The rule of a random month whose sums are exact, or None."""
    case = random_case(Random(seed))
    shares = case.split()
    whole = Fraction(case.terms.pool_rate) * sum((Fraction(each.net) for each in case.revenue), Fraction(0))
    exact = sum(part.amount for part in shares.parts) == shares.pool and Fraction(shares.pool) + shares.house == whole
    if exact and seed % _EVERY == 0:
        second = case.reckon()
        exact = {part.account_id: Fraction(part.amount) * 100 for part in shares.parts} == second.cents
    return case.rule if exact else None


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cases", type=int, default=1_000_000)
    arguments.add_argument("--worlds", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=20261124)
    given = arguments.parse_args()
    began, rules = time.monotonic(), Counter[str]()
    for seed in range(given.cases):
        rule = holds(seed)
        if rule is None:
            print(f"seed {seed}: the amounts are not exact")
            return 1
        rules[rule] += 1
        if (seed + 1) % _SHOWN == 0:
            print(f"{seed + 1:,} months, {time.monotonic() - began:.0f} s", flush=True)
    print(
        f"{given.cases:,} months exact in {time.monotonic() - began:.0f} s: {dict(sorted(rules.items()))}", flush=True
    )
    if given.worlds:
        best = search(Random(given.seed), given.worlds, 100, accepted_by_the_close)
        print(f"seed {given.seed}, {given.worlds} worlds of 100 steps: best {best}")
        return int(best.profit > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
