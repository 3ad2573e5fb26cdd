"""Tiers by accepted tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.club.tiers import DEFAULT_TIERS, tier_at, tier_changes, tier_of

START = datetime(2026, 1, 1, tzinfo=UTC)
accepted = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 10**11)), max_size=10).map(
    lambda rows: [(START + timedelta(hours=hours), tokens) for hours, tokens in rows]
)


@pytest.mark.parametrize(
    ("tokens", "discount"),
    [
        (0, "0"),
        (99_999_999, "0"),
        (10**8, "0.10"),
        (10**9, "0.20"),
        (10**10, "0.30"),
        (10**11 - 1, "0.30"),
        (10**11, "0.40"),
    ],
)
def test_a_tier_is_reached_with_its_very_first_token(tokens: int, discount: str) -> None:
    assert tier_of(tokens).discount == Decimal(discount)


@given(accepted, st.integers(-1, 1001))
def test_the_tier_at_an_instant_is_that_of_all_tokens_accepted_by_then(
    rows: list[tuple[datetime, int]], hours: int
) -> None:
    at = START + timedelta(hours=hours)
    assert tier_at(tier_changes(rows), at) == tier_of(sum(tokens for instant, tokens in rows if instant <= at))


@given(st.lists(st.integers(0, 10**12), min_size=2))
def test_more_tokens_never_mean_a_lower_tier(tokens: list[int]) -> None:
    discounts = [tier_of(count, DEFAULT_TIERS).discount for count in sorted(tokens)]
    assert discounts == sorted(discounts)
