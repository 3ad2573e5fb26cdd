"""Shares over months, on a real Postgres."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing.database import Sessions
from billing.periods import Month
from billing.share.read import page_shares, share_month
from billing.share.store import add_plan, all_plans
from tests.billing.months import (
    ACTOR,
    CLOSING_NOVEMBER,
    MID_NOVEMBER,
    MID_OCTOBER,
    NOVEMBER,
    account,
    book,
    call,
    close,
    contribute,
    krw_rate,
    plan,
)

ONE_DOLLAR_FIFTY = (1_000_000, 0, 1_000_000, 0, 0)
MID_DECEMBER = MID_NOVEMBER + timedelta(days=30)


async def test_an_amount_below_the_minimum_carries_over_until_it_is_reached(sessions: Sessions) -> None:
    payer, partner = await account(sessions), await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20", minimum_payout="0.50")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY), call(payer, ONE_DOLLAR_FIFTY, at=MID_NOVEMBER))
    (october,) = (await close(sessions)).shares
    assert (october.amount, october.payout, october.carried_over) == (Decimal("0.30"), Decimal(0), Decimal("0.30"))
    (november,) = (await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).shares
    assert (november.amount, november.carried_in) == (Decimal("0.30"), Decimal("0.30"))
    assert (november.payout, november.carried_over) == (Decimal("0.60"), Decimal(0))
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY, at=MID_DECEMBER))
    (december,) = (await close(sessions, Month(2026, 12), MID_DECEMBER + timedelta(days=30))).shares
    assert (december.amount, december.carried_in, december.payout) == (Decimal("0.30"), Decimal(0), Decimal(0))


async def test_own_traffic_pays_no_share_and_its_pool_stays_with_the_house(sessions: Sessions) -> None:
    partner = await account(sessions, owner_group="news group")
    sister = await account(sessions, owner_group="news group")
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(partner, ONE_DOLLAR_FIFTY), call(sister, ONE_DOLLAR_FIFTY))
    (share,) = (await close(sessions)).shares
    assert (share.amount, share.pool, share.steps) == (Decimal(0), Decimal(0), [])
    async with sessions() as session:
        month = await share_month(session, "2026-10")
    assert month is not None
    assert (month.house, [pool["with_house"] for pool in month.pools]) == (Decimal("0.60"), [True, True])


async def test_tax_and_grants_put_up_no_pool_and_a_won_payer_counts_in_exact_dollars(sessions: Sessions) -> None:
    partner = await account(sessions)
    won = await account(sessions, currency="KRW", tax_country="KR")
    granted = await account(sessions)
    await krw_rate(sessions, date(2026, 10, 31), "1387.65")
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    covered = (("gra_1", "output", 1_000_000), ("gra_1", "input", 1_000_000))
    await book(sessions, call(won, ONE_DOLLAR_FIFTY), call(granted, ONE_DOLLAR_FIFTY, grants=covered))
    (share,) = (await close(sessions)).shares
    assert (share.amount, share.pool) == (Decimal("0.30"), Decimal("0.30"))


async def test_pages_of_shares_hold_each_once(sessions: Sessions) -> None:
    payer = await account(sessions)
    partners = sorted([await account(sessions) for _ in range(5)])
    for partner in partners:
        await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY))
    closed = await close(sessions)
    seen, after = [], None
    async with sessions() as session:
        while True:
            page, after = await page_shares(session, month="2026-10", after=after, count_max=2)
            seen += page
            if after is None:
                break
        own, _ = await page_shares(session, account_id=partners[3])
        with pytest.raises(ValueError, match="no cursor"):
            await page_shares(session, after="2026-10")
    assert seen == closed.shares
    assert [share.account_id for share in seen] == partners
    assert own == [closed.shares[3]]


async def test_a_plan_that_cannot_be_is_refused_by_the_name_of_its_field(sessions: Sessions) -> None:
    good = {"effective_month": "2026-10", "pool_rate": "0.20"}
    wrong = {"effective_month": "2026-13", "pool_rate": "1.01", "rule": "lottery", "minimum_payout": "NaN"}
    async with sessions.begin() as session:
        for field, value in wrong.items():
            with pytest.raises(ValueError, match=f"{field}|is not a month"):
                await add_plan(session, {**good, field: value}, ACTOR, MID_OCTOBER)
        posted = await add_plan(session, good, ACTOR, MID_OCTOBER)
        assert [each.id for each in await all_plans(session)] == [posted.id]
    assert (posted.rule, posted.minimum_payout) == ("pro_rata", Decimal("0.00"))
