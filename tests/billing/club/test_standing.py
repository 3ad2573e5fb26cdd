"""Corrections and withdrawals as arithmetic, by properties."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.club.standing import standing_at, token_steps
from billing.club.tiers import NO_TIER, tier_at, tier_changes

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    id: str
    tokens: int
    accepted_at: datetime
    undoes: str | None = None
    dataset: str = "news"
    quality: Decimal = Decimal(1)


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 12))):
        standing = [row for row in rows if all(other.undoes != row.id for other in rows) and row.tokens]
        undoes = draw(st.sampled_from([None, *(row.id for row in standing)]))
        tokens = draw(st.integers(0 if undoes else 1, 3_000_000_000))
        rows.append(Row(f"c{number}", tokens, START + timedelta(days=number), undoes))
    return rows


@given(histories(), st.randoms(use_true_random=False))
def test_the_steps_sum_to_what_stands_at_every_instant_in_whatever_order_the_rows_come(
    rows: list[Row], random: st.DataObject
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for row in rows:
        end = row.accepted_at + timedelta(seconds=1)
        stepped = sum(tokens for at, tokens, _ in token_steps(shuffled) if at < end)
        assert stepped == sum(one.tokens for one in standing_at(shuffled, end)) >= 0


def test_a_tier_falls_at_the_instant_of_the_withdrawal_and_not_before() -> None:
    given_ = Row("c1", 150_000_000, START)
    taken = Row("c2", 0, START + timedelta(days=10), "c1")
    changes = tier_changes(token_steps([taken, given_]))
    assert [(change.since, change.tier.name) for change in changes] == [(START, "100M"), (taken.accepted_at, "none")]
    assert tier_at(changes, taken.accepted_at - timedelta(microseconds=1)).discount == Decimal("0.10")
    assert tier_at(changes, taken.accepted_at) == NO_TIER


def test_a_correction_upwards_lifts_the_tier_from_its_own_instant() -> None:
    first = Row("c1", 90_000_000, START)
    better = replace(first, id="c2", tokens=1_000_000_000, accepted_at=START + timedelta(days=3), undoes="c1")
    (change,) = tier_changes(token_steps([first, better]))
    assert (change.since, change.tier.name) == (better.accepted_at, "1B")
    assert change.reason == "1B: 1000000000 accepted tokens, by c2"
