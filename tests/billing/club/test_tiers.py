"""Tiers by accepted tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.club.tiers import (
    DEFAULT_TABLE,
    DEFAULT_TIERS,
    Tier,
    TierTable,
    from_wire_tiers,
    tier_at,
    tier_changes,
    tier_of,
    to_wire_tiers,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
accepted = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 10**11)), max_size=10).map(
    lambda rows: [
        (START + timedelta(hours=hours), tokens, f"con_{place}") for place, (hours, tokens) in enumerate(rows)
    ]
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
    rows: list[tuple[datetime, int, str]], hours: int
) -> None:
    at = START + timedelta(hours=hours)
    assert tier_at(tier_changes(rows), at) == tier_of(sum(tokens for instant, tokens, _ in rows if instant <= at))


@given(st.lists(st.integers(0, 10**12), min_size=2))
def test_more_tokens_never_mean_a_lower_tier(tokens: list[int]) -> None:
    discounts = [tier_of(count, DEFAULT_TIERS).discount for count in sorted(tokens)]
    assert discounts == sorted(discounts)


tables = st.lists(
    st.tuples(st.integers(0, 1000), st.lists(st.integers(1, 10**11), min_size=1, max_size=4, unique=True)), max_size=4
).map(
    lambda rows: [
        DEFAULT_TABLE,
        *(
            TierTable(f"tiers_{place}", START + timedelta(hours=hours), steps_of(sorted(mins)))
            for place, (hours, mins) in enumerate(sorted(rows))
        ),
    ]
)


def steps_of(mins: list[int]) -> tuple[Tier, ...]:
    return tuple(Tier(f"T{place}", least, Decimal(place + 1) / 10) for place, least in enumerate(mins))


@given(accepted, tables, st.integers(-1, 1001))
def test_the_tier_at_an_instant_is_that_of_the_table_in_force_then(
    rows: list[tuple[datetime, int, str]], schedule: list[TierTable], hours: int
) -> None:
    at = START + timedelta(hours=hours)
    in_force = [table for table in schedule if table.effective_at <= at][-1]
    tokens = sum(given for instant, given, _ in rows if instant <= at)
    assert tier_at(tier_changes(rows, schedule), at) == tier_of(tokens, in_force.tiers)


@given(accepted, tables)
def test_each_change_says_its_basis_and_what_brought_it_about(
    rows: list[tuple[datetime, int, str]], schedule: list[TierTable]
) -> None:
    changes = tier_changes(rows, schedule)
    assert [change.since for change in changes] == sorted({change.since for change in changes})
    for change in changes:
        assert change.tokens == sum(tokens for instant, tokens, _ in rows if instant <= change.since)
        at_once = {by for instant, _, by in rows if instant == change.since}
        assert change.by in at_once | {table.id for table in schedule if table.effective_at == change.since}


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ([], "tiers: from 1"),
        ([{"name": "", "tokens_min": 1, "discount": "0.1"}], "tiers.0.name"),
        ([{"name": "a", "tokens_min": 0, "discount": "0.1"}], "tiers.0.tokens_min"),
        ([{"name": "a", "tokens_min": 1, "discount": "1.1"}], "tiers.0.discount"),
        ([{"name": "a", "tokens_min": 1, "discount": "x"}], "tiers.0.discount"),
        ([{"name": "none", "tokens_min": 1, "discount": "0.1"}], "none may be called none"),
        (
            [{"name": "a", "tokens_min": 5, "discount": "0.2"}, {"name": "b", "tokens_min": 6, "discount": "0.2"}],
            "b must need more tokens and give more discount than a",
        ),
    ],
)
def test_a_table_that_cannot_be_says_which_field_is_wrong(wire: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_wire_tiers(wire)


def test_a_table_reads_back_as_it_is_written() -> None:
    assert from_wire_tiers(to_wire_tiers(DEFAULT_TIERS)) == DEFAULT_TIERS
