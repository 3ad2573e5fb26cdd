"""Tables of tiers in Postgres: they hold from an instant to come on, and what a call is given says why."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts import store as accounts
from billing.club.tier_store import TierTableLate, add_tier_table, tier_tables
from billing.database import Sessions
from billing.terms import load_terms
from tests.billing.months import ACTOR, MID_OCTOBER, account, contribute

STEPS = [{"name": "A", "tokens_min": 1_000, "discount": "0.05"}, {"name": "B", "tokens_min": 5_000, "discount": "0.5"}]


async def add(sessions: Sessions, at: datetime) -> dict[str, int]:
    async with sessions.begin() as session:
        return (await add_tier_table(session, at, STEPS, ACTOR, MID_OCTOBER))[1]


async def test_a_table_takes_effect_at_its_instant_and_the_reason_names_it(sessions: Sessions) -> None:
    partner, other = await account(sessions), await account(sessions)
    gift = await contribute(sessions, partner, 200_000_000, accepted_at=MID_OCTOBER - timedelta(days=1))
    async with sessions() as session:
        before = (await accounts.get(session, partner)).epoch
    tomorrow = MID_OCTOBER + timedelta(days=1)
    assert await add(sessions, tomorrow) == {partner: before + 1}
    async with sessions() as session:
        terms = await load_terms(session, await accounts.get(session, partner), MID_OCTOBER)
        none = await load_terms(session, await accounts.get(session, other), MID_OCTOBER)
        table = (await tier_tables(session))[-1]
    assert none.tiers == ()
    first, second = terms.tiers
    assert (first.tier.discount, first.reason) == (Decimal("0.10"), f"100M: 200000000 accepted tokens, by {gift}")
    assert (second.since, second.tier.discount) == (tomorrow, Decimal("0.5"))
    assert second.reason == f"B: 200000000 accepted tokens, by {table.id}"


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_table_of_the_past_or_of_an_instant_that_has_one_is_refused(sessions: Sessions, days: int) -> None:
    await add(sessions, MID_OCTOBER + timedelta(days=1))
    with pytest.raises(TierTableLate):
        await add(sessions, MID_OCTOBER + timedelta(days=days))
    async with sessions() as session:
        assert len(await tier_tables(session)) == 2
