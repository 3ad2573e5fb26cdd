"""The rules of the share: how much each payer puts up for each model. Pure.

Units: `net` and `usage` are exact USD; what is put up is an exact fraction of a USD, never rounded here (rounding: `split`).
`net` is what an invoice brought in for a model (no tax, after discount and grants); `usage` is the same usage at list price, what
grants covered included. Conventions, for all rules: a rule decides only how large the pools are; a pool is then split among the
partners outside the payer's owner group by weight (`split`). All pools together never exceed pool_rate × Σ net; what a rule leaves
out of it stays with the house. A payer whose usage does not stand positive (a reversal that came a month later) puts up
pool_rate × net under every rule.

    pro_rata          pool_rate × net, model by model (design.md section 5.7; the default)
    user_centric      pool_rate × the payer's net over all models, divided among the models by its usage: each payer's money goes
                      to those whose text trained what it used, whatever it paid for each (the user-centric rule of Bergantiños and
                      Moreno-Ternero, arXiv 2310.11861, October 2023)
    capped_pro_rata   pro_rata, but one paying owner group puts up at most the plan's `payer_cap` USD a month
    scaled_user_prop  ScaledUserProp of Ghosh, Neoh, Teh and Tyrovolas, "Fraud-Proof Revenue Division on Subscription Platforms",
                      ICML 2025, arXiv 2511.04465 (6 November 2025), read November 2026

ScaledUserProp there: n users pay a fee of 1 each, user i streams artist j w_ij times, L_i = Σ_j w_ij; with the one γ for which
Σ_i min(γ L_i, 1) = αn, artist j is paid Σ_i min(γ L_i, 1) w_ij / L_i. Here a user is a paying account, its fee is its net revenue N_i
(so 1 becomes N_i and αn becomes pool_rate × Σ N_i), a stream is one USD of usage at list price (tokens of different models and
pages have no other measure in common), and an artist is a contributor: the usage of a model is divided among those
whose text trained it, by weight. So payer i puts up min(γ L_i, N_i): in step with its usage, never more than it paid. As
L_i ≥ N_i, γ never exceeds pool_rate, and nobody puts up more than pool_rate of its usage at list price.

Errors: `UnknownRule`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

PRO_RATA = "pro_rata"


class UnknownRule(ValueError):
    """No rule has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"rule: must be one of {', '.join(RULES)}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Revenue:
    """What one payer's invoice says of one model."""

    payer_id: str
    owner_group: str
    model: str
    net: Decimal
    usage: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan says beside the name of its rule. `payer_cap` is in USD a month."""

    pool_rate: Decimal
    payer_cap: Decimal | None = None


PutUp: TypeAlias = Callable[[Sequence[Revenue], Terms], list[Fraction]]
"""What each line of revenue puts up, in their order."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and how a statement says it."""

    name: str
    words: str
    put_up: PutUp
    needs_cap: bool = False


def rule_named(name: str) -> Rule:
    """The rule of a plan; raises `UnknownRule`."""
    if name not in RULES:
        raise UnknownRule(name)
    return RULES[name]


def _pro_rata(revenue: Sequence[Revenue], terms: Terms) -> list[Fraction]:
    return [Fraction(terms.pool_rate) * Fraction(each.net) for each in revenue]


def _user_centric(revenue: Sequence[Revenue], terms: Terms) -> list[Fraction]:
    payers = _by_payer(revenue)
    put_up = _pro_rata(revenue, terms)
    for payer in payers.values():
        if payer.stands:
            for place, usage in payer.usages:
                put_up[place] = Fraction(terms.pool_rate) * payer.net * usage / payer.usage
    return put_up


def _capped_pro_rata(revenue: Sequence[Revenue], terms: Terms) -> list[Fraction]:
    put_up = _pro_rata(revenue, terms)
    if terms.payer_cap is None:
        return put_up
    cap, sums = Fraction(terms.payer_cap), defaultdict[str, Fraction](Fraction)
    for each, amount in zip(revenue, put_up, strict=True):
        sums[each.owner_group] += amount
    return [
        amount * cap / sums[each.owner_group] if sums[each.owner_group] > cap else amount
        for each, amount in zip(revenue, put_up, strict=True)
    ]


def _scaled_user_prop(revenue: Sequence[Revenue], terms: Terms) -> list[Fraction]:
    payers = [payer for payer in _by_payer(revenue).values() if payer.stands]
    put_up = _pro_rata(revenue, terms)
    total = Fraction(terms.pool_rate) * sum((payer.net for payer in payers), Fraction(0))
    gamma = level([(payer.usage, payer.net) for payer in payers], total)
    for payer in payers:
        amount = min(gamma * payer.usage, payer.net)
        for place, usage in payer.usages:
            put_up[place] = amount * usage / payer.usage
    return put_up


def level(asked: Sequence[tuple[Fraction, Fraction]], total: Fraction) -> Fraction:
    """The γ for which Σ min(γ × a, most) = total, over (a, most) pairs with a > 0 and total ≤ Σ most; 0 where there are none."""
    left, above = total, sum((a for a, _ in asked), Fraction(0))
    gamma = Fraction(0)
    for a, most in sorted(asked, key=lambda pair: pair[1] / pair[0]):
        gamma = left / above
        if gamma * a <= most:
            return gamma
        left, above = left - most, above - a
    return gamma


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(PRO_RATA, "pool rate × net revenue of each payer's invoice, model by model", _pro_rata),
        Rule(
            "user_centric",
            "pool rate × net revenue of each payer's invoice, divided among models by its usage at list price",
            _user_centric,
        ),
        Rule(
            "capped_pro_rata",
            "pool rate × net revenue, at most the payer cap for one paying owner group",
            _capped_pro_rata,
            needs_cap=True,
        ),
        Rule(
            "scaled_user_prop",
            "ScaledUserProp: in step with each payer's usage at list price, at most what it paid",
            _scaled_user_prop,
        ),
    )
}


@dataclass(slots=True)
class _Payer:
    """What one payer paid and used over all models; `usages` are (place in the revenue, usage)."""

    net: Fraction
    usage: Fraction
    usages: list[tuple[int, Fraction]]
    stands: bool


def _by_payer(revenue: Sequence[Revenue]) -> dict[str, _Payer]:
    payers: dict[str, _Payer] = {}
    for place, each in enumerate(revenue):
        payer = payers.setdefault(each.payer_id, _Payer(Fraction(0), Fraction(0), [], stands=True))
        payer.net += Fraction(each.net)
        payer.usage += Fraction(each.usage)
        payer.usages.append((place, Fraction(each.usage)))
        payer.stands = payer.stands and each.net >= 0 and each.usage >= 0
    for payer in payers.values():
        payer.stands = payer.stands and payer.usage >= payer.net and payer.usage > 0
    return payers
