"""Tiers: accepted tokens set the discount, by a table that itself holds from an instant on. Pure.

Units: tokens; a discount is a ratio (0.10 = 10 % off). Until a table is posted, `DEFAULT_TIERS` hold (design.md section 5.4). A table that
takes over changes what calls from its own instant on are given, and nothing before; so does each contribution.
Errors: `ValueError` naming the field of a table that cannot be.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from billing.money import ZERO


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the club: from so many accepted tokens on, so much off."""

    name: str
    tokens_min: int
    discount: Decimal


DEFAULT_TIERS = (
    Tier("100M", 100_000_000, Decimal("0.10")),
    Tier("1B", 1_000_000_000, Decimal("0.20")),
    Tier("10B", 10_000_000_000, Decimal("0.30")),
    Tier("100B", 100_000_000_000, Decimal("0.40")),
)
NO_TIER = Tier("none", 0, ZERO)
_TIERS_MAX = 32
_NAME_MAX = 32


@dataclass(frozen=True, slots=True)
class TierTable:
    """The steps that hold from an instant on, until the next table takes over."""

    id: str
    effective_at: datetime
    tiers: tuple[Tier, ...]


DEFAULT_TABLE = TierTable("default", datetime.min.replace(tzinfo=UTC), DEFAULT_TIERS)
DEFAULT_TABLES = (DEFAULT_TABLE,)


class Reached(NamedTuple):
    """A tier that an account came to: since when, with how many accepted tokens, by which contribution or table."""

    since: datetime
    tier: Tier
    tokens: int
    by: str

    @property
    def reason(self) -> str:
        """Why a call is given the discount, as its entry says it: tier, basis, and what brought it about."""
        return f"{self.tier.name}: {self.tokens} accepted tokens, by {self.by}"


def tier_of(accepted_tokens: int, tiers: Sequence[Tier] = DEFAULT_TIERS) -> Tier:
    """The highest step that so many accepted tokens reach."""
    reached = [tier for tier in tiers if accepted_tokens >= tier.tokens_min]
    return max(reached, key=lambda tier: tier.tokens_min, default=NO_TIER)


def tier_changes(
    accepted: Iterable[tuple[datetime, int, str]], tables: Sequence[TierTable] = DEFAULT_TABLES
) -> tuple[Reached, ...]:
    """From (instant, tokens accepted or withdrawn, by which contribution) to the changes of the tier, oldest first.

    `tables` oldest first; of two with one instant the later holds. At most one change an instant: that to where it ends.
    """
    events = heapq.merge(
        sorted((at, 0, tokens, by) for at, tokens, by in accepted),
        ((table.effective_at, 1, place, table.id) for place, table in enumerate(tables)),
    )
    tiers: Sequence[Tier] = DEFAULT_TIERS
    total, current = 0, NO_TIER
    changes: list[Reached] = []
    for at, together in groupby(events, key=lambda event: event[0]):
        by = ""
        for _, is_table, value, name in together:
            by = name
            if is_table:
                tiers = tables[value].tiers
            else:
                total += value
        reached = tier_of(total, tiers)
        if reached != current:
            changes.append(Reached(at, reached, total, by))
            current = reached
    return tuple(changes)


def tier_at(changes: Sequence[Reached], at: datetime) -> Tier:
    """The tier in force at an instant."""
    in_force = NO_TIER
    for change in changes:
        if change.since > at:
            break
        in_force = change.tier
    return in_force


def from_wire_tiers(wire: Sequence[Mapping[str, Any]]) -> tuple[Tier, ...]:
    """`[{"name", "tokens_min", "discount"}]` → the steps of a table, lowest first. Raises ValueError naming the wrong field."""
    if not 1 <= len(wire) <= _TIERS_MAX:
        raise ValueError(f"tiers: from 1 to {_TIERS_MAX} of them")
    tiers = tuple(_tier(place, each) for place, each in enumerate(wire))
    for lower, higher in pairwise(tiers):
        if lower.tokens_min >= higher.tokens_min or lower.discount >= higher.discount:
            raise ValueError(f"tiers: {higher.name} must need more tokens and give more discount than {lower.name}")
    if len({tier.name for tier in tiers} | {NO_TIER.name}) != len(tiers) + 1:
        raise ValueError("tiers: each needs a name of its own, and none may be called none")
    return tiers


def to_wire_tiers(tiers: Iterable[Tier]) -> list[dict[str, Any]]:
    return [{"name": x.name, "tokens_min": x.tokens_min, "discount": format(x.discount, "f")} for x in tiers]


def _tier(place: int, wire: Mapping[str, Any]) -> Tier:
    name, tokens_min = wire["name"], wire["tokens_min"]
    try:
        discount = Decimal(wire["discount"])
    except InvalidOperation:
        discount = Decimal("NaN")
    if not name or len(name) > _NAME_MAX or not name.isprintable() or ":" in name:
        raise ValueError(f"tiers.{place}.name: from 1 to {_NAME_MAX} printable characters without a colon")
    if tokens_min < 1:
        raise ValueError(f"tiers.{place}.tokens_min: at least 1")
    if not discount.is_finite() or not 0 < discount <= 1 or int(discount.as_tuple().exponent) < -6:
        raise ValueError(f'tiers.{place}.discount: a ratio above 0, at most 1, at most 6 places, such as "0.10"')
    return Tier(name, tokens_min, discount)
