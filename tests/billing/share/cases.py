"""Random months for the tests of the share: the same numbers as the product takes them, and as the second calculation does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from random import Random

from billing.share.rules import RULES, Revenue, Terms, rule_named
from billing.share.split import Partner, Split, pools_of, split
from tests.billing.share import reckoned

MODELS = ("solar-mini", "solar-pro4", "document-parse")
DATASETS = ("news", "law", "novels")
GROUPS = ("group_a", "group_b", "group_c", "group_d")


@dataclass(frozen=True)
class Case:
    """A month to be shared."""

    rule: str
    terms: Terms
    revenue: tuple[Revenue, ...]
    partners: tuple[Partner, ...]
    trained_on: Mapping[str, frozenset[str]]

    def split(self) -> Split:
        pools, kept = pools_of(self.revenue, rule_named(self.rule), self.terms, self.trained_on)
        return split(pools, self.partners, kept=kept)

    def exact(self) -> dict[str, Fraction]:
        """Each partner's part before any rounding, from its steps."""
        return {
            part.account_id: sum(
                (s.pool * Fraction(s.weight) / Fraction(s.weight_total) for s in part.steps), Fraction(0)
            )
            for part in self.split().parts
        }

    def reckon(self) -> reckoned.Month:
        cap = self.terms.payer_cap
        return reckoned.month(
            paid_of(self.revenue),
            givers_of(self.partners),
            {model: set(datasets) for model, datasets in self.trained_on.items()},
            self.rule,
            Fraction(self.terms.pool_rate),
            None if cap is None else Fraction(cap),
        )


def paid_of(revenue: tuple[Revenue, ...]) -> list[reckoned.Paid]:
    return [
        reckoned.Paid(each.payer_id, each.owner_group, each.model, Fraction(each.net), Fraction(each.usage))
        for each in revenue
    ]


def givers_of(partners: tuple[Partner, ...]) -> list[reckoned.Giver]:
    found = []
    for partner in partners:
        weights: dict[str, Fraction] = {}
        for dataset, weight in partner.given:
            weights[dataset] = weights.get(dataset, Fraction(0)) + Fraction(weight)
        found.append(reckoned.Giver(partner.account_id, partner.owner_group, weights))
    return found


def random_case(rng: Random, rule: str | None = None, *, reversals: bool = True) -> Case:
    """A month of a few payers and partners; some pay nothing, some have grants, some have late reversals."""
    name = rule or rng.choice(sorted(RULES))
    cap = random_money(rng) if rule_named(name).needs_cap else None
    revenue = []
    for payer in range(rng.randint(0, 5)):
        group = rng.choice([*GROUPS, f"payer_{payer}"])
        for model in rng.sample(MODELS, rng.randint(1, len(MODELS))):
            usage = random_money(rng)
            net = usage * rng.choice([Decimal(0), Decimal(1), Decimal("0.9"), Decimal("0.6"), Decimal("0.123")])
            if reversals and rng.random() < 0.05:
                net, usage = -net, -usage
            revenue.append(Revenue(f"payer_{payer}", group, model, net, usage))
    partners = tuple(
        Partner(
            f"acc_{number}",
            rng.choice(GROUPS),
            tuple((rng.choice(DATASETS), random_weight(rng)) for _ in range(rng.randint(0, 3))),
        )
        for number in range(rng.randint(0, 5))
    )
    trained_on = {model: frozenset(rng.sample(DATASETS, rng.randint(0, 2))) for model in MODELS if rng.random() < 0.4}
    rate = Decimal(rng.choice(["0.20", "0.6", "1", "0", "0.1234567"]))
    return Case(name, Terms(rate, cap), tuple(revenue), partners, trained_on)


def random_money(rng: Random) -> Decimal:
    return Decimal(rng.randrange(10 ** rng.randint(1, 9))).scaleb(-rng.randint(0, 6))


def random_weight(rng: Random) -> Decimal:
    return Decimal(rng.choice([0, 1, 2, 3, rng.randrange(10**12)]))
