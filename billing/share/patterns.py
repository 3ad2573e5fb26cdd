"""Who feeds whose share: how concentrated it is, and what about it should make an operator look. Pure.

Units: exact fractions of a USD; ratios from 0 to 1. A flag is a question, not a verdict: nothing is stopped by it (an operator can
place a hold). Conventions: everything is by owner group; `concentration` is the Herfindahl–Hirschman index Σ (part of each paying
group)², 1 where one group feeds all; `reciprocal` is the part that comes from groups which get a share of this group's own payments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple


class Flow(NamedTuple):
    """What one payer's money came to in one partner's share of a month, exact USD."""

    partner_id: str
    partner_group: str
    payer_id: str
    payer_group: str
    usd: Fraction


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is flagged. Amounts below `usd_min` are never flagged."""

    usd_min: Fraction = Fraction(10)
    payers_min: int = 3
    top_payer: Fraction = Fraction(1, 2)
    concentration: Fraction = Fraction(1, 2)
    reciprocal: Fraction = Fraction(1, 4)


@dataclass(frozen=True, slots=True)
class Fed:
    """How one owner group's share of a month came together."""

    owner_group: str
    partner_ids: tuple[str, ...]
    usd: Fraction
    payer_groups: tuple[tuple[str, Fraction], ...]
    """(paying group, USD), the largest first."""
    concentration: Fraction
    reciprocal: Fraction
    related: tuple[str, ...]
    """Paying groups that something besides money ties to this one."""
    flags: tuple[str, ...]


def fed(flows: Iterable[Flow], ties: Iterable[frozenset[str]] = (), thresholds: Thresholds = Thresholds()) -> list[Fed]:
    """Each owner group's share, the most suspicious first. `ties`: sets of owner groups that seem to belong together."""
    money: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    partners: dict[str, set[str]] = defaultdict(set)
    for flow in flows:
        money[flow.partner_group][flow.payer_group] += flow.usd
        partners[flow.partner_group].add(flow.partner_id)
    tied = list(ties)
    found = [_fed(group, money, tuple(sorted(partners[group])), tied, thresholds) for group in sorted(money)]
    return sorted(found, key=lambda each: (-len(each.flags), -each.concentration, each.owner_group))


def _fed(
    group: str,
    money: Mapping[str, Mapping[str, Fraction]],
    partner_ids: tuple[str, ...],
    ties: list[frozenset[str]],
    thresholds: Thresholds,
) -> Fed:
    payers = {payer: usd for payer, usd in money[group].items() if usd > 0}
    usd = sum(payers.values(), Fraction(0))
    parts = {payer: amount / usd for payer, amount in payers.items()}
    concentration = sum((part * part for part in parts.values()), Fraction(0))
    reciprocal = sum((part for payer, part in parts.items() if money.get(payer, {}).get(group, 0) > 0), Fraction(0))
    related = tuple(sorted(payer for payer in payers if any({group, payer} <= tie for tie in ties)))
    flags = (
        ("few_payers", len(payers) < thresholds.payers_min),
        ("one_payer", max(parts.values(), default=Fraction(0)) >= thresholds.top_payer),
        ("concentrated", concentration >= thresholds.concentration),
        ("reciprocal", reciprocal >= thresholds.reciprocal),
        ("related", bool(related)),
    )
    return Fed(
        owner_group=group,
        partner_ids=partner_ids,
        usd=usd,
        payer_groups=tuple(sorted(payers.items(), key=lambda pair: (-pair[1], pair[0]))),
        concentration=concentration,
        reciprocal=reciprocal,
        related=related,
        flags=tuple(name for name, holds in flags if holds) if usd >= thresholds.usd_min else (),
    )
