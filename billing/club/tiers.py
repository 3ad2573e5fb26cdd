"""Tiers: accepted tokens set the discount. Pure.

Units: tokens; a discount is a ratio (0.10 = 10 % off). The steps are configuration (design.md section 5.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

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


def tier_of(accepted_tokens: int, tiers: Sequence[Tier] = DEFAULT_TIERS) -> Tier:
    """The highest step that so many accepted tokens reach."""
    reached = [tier for tier in tiers if accepted_tokens >= tier.tokens_min]
    return max(reached, key=lambda tier: tier.tokens_min, default=NO_TIER)


def tier_changes(
    accepted: Iterable[tuple[datetime, int]], tiers: Sequence[Tier] = DEFAULT_TIERS
) -> tuple[tuple[datetime, Tier], ...]:
    """From (instant, tokens accepted or withdrawn) to the instants at which the tier changes, oldest first."""
    total, changes = 0, []
    current = NO_TIER
    for instant, tokens in sorted(accepted):
        total += tokens
        reached = tier_of(total, tiers)
        if reached != current:
            changes.append((instant, reached))
            current = reached
    return tuple(changes)


def tier_at(changes: Sequence[tuple[datetime, Tier]], at: datetime) -> Tier:
    """The tier in force at an instant."""
    in_force = NO_TIER
    for instant, tier in changes:
        if instant > at:
            break
        in_force = tier
    return in_force
