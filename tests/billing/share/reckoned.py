"""A second, independent calculation of a month's shares under every rule, in exact fractions.

Shares no arithmetic with `billing`: no Decimal, no water level by sorting, no largest remainder of its. Amounts are whole cents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor


@dataclass(frozen=True)
class Paid:
    """What an invoice says of a model, in USD."""

    payer: str
    group: str
    model: str
    net: Fraction
    usage: Fraction


@dataclass(frozen=True)
class Giver:
    """A partner: its group, and the weight of each dataset."""

    name: str
    group: str
    weights: Mapping[str, Fraction]


@dataclass
class Month:
    """Cents by partner, what the house kept in USD, and how each pool was divided: (payer, model) → partner → USD."""

    cents: dict[str, int]
    house: Fraction
    divided: dict[tuple[str, str], dict[str, Fraction]]
    pools: dict[tuple[str, str], Fraction]
    exact: dict[str, Fraction] = field(default_factory=dict)


def put_up(paid: Sequence[Paid], rule: str, rate: Fraction, cap: Fraction | None) -> dict[tuple[str, str], Fraction]:
    """What each (payer, model) puts up. Payers with a negative line (or more paid than list) pay by rate × net."""
    net: dict[str, Fraction] = defaultdict(Fraction)
    usage: dict[str, Fraction] = defaultdict(Fraction)
    group_sum: dict[str, Fraction] = defaultdict(Fraction)
    for each in paid:
        net[each.payer] += each.net
        usage[each.payer] += each.usage
        group_sum[each.group] += rate * each.net
    odd = {e.payer for e in paid if e.net < 0 or e.usage < 0}
    odd |= {payer for payer in net if usage[payer] == 0 or net[payer] > usage[payer]}
    by_payer = {payer: rate * net[payer] for payer in net}
    if rule == "scaled_user_prop":
        by_payer |= _scaled({p: (usage[p], net[p]) for p in net if p not in odd}, rate)
    pools = {}
    for each in paid:
        amount = rate * each.net
        if rule == "capped_pro_rata" and cap is not None and group_sum[each.group] > cap:
            amount = amount * cap / group_sum[each.group]
        if rule in ("user_centric", "scaled_user_prop") and each.payer not in odd:
            amount = by_payer[each.payer] * each.usage / usage[each.payer]
        pools[each.payer, each.model] = amount
    return pools


def _scaled(payers: Mapping[str, tuple[Fraction, Fraction]], rate: Fraction) -> dict[str, Fraction]:
    """By a fixed point: whoever would put up more than it paid is held to what it paid, until nobody would."""
    held: set[str] = set()
    whole = rate * sum((net for _, net in payers.values()), Fraction(0))
    while True:
        free = [p for p in payers if p not in held]
        usage = sum((payers[p][0] for p in free), Fraction(0))
        left = whole - sum((payers[p][1] for p in held), Fraction(0))
        gamma = left / usage if free else Fraction(0)
        over = {p for p in free if gamma * payers[p][0] > payers[p][1]}
        if not over:
            return {p: payers[p][1] if p in held else gamma * payers[p][0] for p in payers}
        held |= over


def month(
    paid: Sequence[Paid],
    givers: Sequence[Giver],
    trained_on: Mapping[str, set[str]],
    rule: str,
    rate: Fraction,
    cap: Fraction | None = None,
    back: Mapping[str | None, Fraction] | None = None,
) -> Month:
    """Everybody's cents. `back`: what credit notes take back from partners (negative), and from the house (None)."""
    pools = put_up(paid, rule, rate, cap)
    exact = {giver.name: Fraction(0) for giver in givers if sum(giver.weights.values()) > 0}
    divided: dict[tuple[str, str], dict[str, Fraction]] = {}
    for each in paid:
        amount, counts = pools[each.payer, each.model], {}
        for giver in givers:
            named = [w for d, w in giver.weights.items() if each.model not in trained_on or d in trained_on[each.model]]
            if giver.group != each.group and sum(named) > 0:
                counts[giver.name] = sum(named, Fraction(0))
        parts = {name: amount * weight / sum(counts.values()) for name, weight in counts.items()}
        divided[each.payer, each.model] = parts
        for name, part in parts.items():
            exact[name] += part
    whole = rate * sum((each.net for each in paid), Fraction(0))
    house = whole - sum(exact.values())
    for holder, amount in (back or {}).items():
        if holder is None:
            house += amount
        else:
            exact[holder] = exact.get(holder, Fraction(0)) + amount
    due = sum(exact.values(), Fraction(0))
    cents = {name: floor(amount * 100) for name, amount in exact.items()}
    missing = floor(due * 100) - sum(cents.values())
    for name in sorted(exact, key=lambda n: (-(exact[n] * 100 - cents[n]), n))[:missing]:
        cents[name] += 1
    return Month(cents, house + due - Fraction(sum(cents.values()), 100), divided, pools, exact)
