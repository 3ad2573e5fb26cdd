"""Shares over months, on a real Postgres."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing.club.store import accept
from billing.database import Sessions
from billing.invoice.credit import Asked
from billing.invoice.issue import credit
from billing.invoice.read import invoices_of
from billing.periods import Month
from billing.share.read import page_shares, share_month, shares_of
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
        for odd in ({"payer_cap": "5.00"}, {"rule": "capped_pro_rata"}):
            with pytest.raises(ValueError, match="payer_cap"):
                await add_plan(session, {**good, **odd}, ACTOR, MID_OCTOBER)
    assert (posted.rule, posted.minimum_payout) == ("pro_rata", Decimal("0.00"))


async def test_the_rule_of_the_plan_decides_and_stands_on_the_statement(sessions: Sessions) -> None:
    payer, partner = await account(sessions), await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20", rule="capped_pro_rata", payer_cap="0.10")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY))
    (share,) = (await close(sessions)).shares
    assert (share.amount, share.pool, share.rule) == (Decimal("0.10"), Decimal("0.10"), "capped_pro_rata")
    assert (share.terms["payer_cap"], share.terms["pool_rate"]) == ("0.10", "0.20")
    assert "at most the payer cap" in share.terms["rule_words"]
    (step,) = share.steps
    assert (step["net_revenue"], step["pool"], step["exact_amount"]) == ("1.50", "0.10", "0.10")
    async with sessions() as session:
        month = await share_month(session, "2026-10")
    assert month is not None
    assert (month.house, month.pools[0]["invoice"]) == (Decimal("0.20"), "2026-000001")


async def test_a_withdrawn_dataset_weighs_in_no_later_month_and_earlier_statements_stand(sessions: Sessions) -> None:
    payer, stays, leaves = await account(sessions), await account(sessions), await account(sessions)
    await contribute(sessions, stays, 1_000)
    gift = await contribute(sessions, leaves, 2_000, dataset="law")
    await plan(sessions, "0.20")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY), call(payer, ONE_DOLLAR_FIFTY, at=MID_NOVEMBER))
    october = (await close(sessions)).shares
    assert {share.account_id: share.amount for share in october} == {stays: Decimal("0.10"), leaves: Decimal("0.20")}
    async with sessions.begin() as session:
        await accept(session, leaves, {"withdraws": gift, "accepted_at": MID_NOVEMBER}, 12, ACTOR, MID_NOVEMBER)
    november = (await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).shares
    assert {share.account_id: share.amount for share in november} == {stays: Decimal("0.30")}
    async with sessions() as session:
        assert await shares_of(session, "2026-10") == october


async def test_a_corrected_contribution_weighs_by_its_new_counts_from_its_own_month_on(sessions: Sessions) -> None:
    payer, one, other = await account(sessions), await account(sessions), await account(sessions)
    await contribute(sessions, one, 1_000)
    gift = await contribute(sessions, other, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY), call(payer, ONE_DOLLAR_FIFTY, at=MID_NOVEMBER))
    assert [share.amount for share in (await close(sessions)).shares] == [Decimal("0.15")] * 2
    async with sessions.begin() as session:
        values = {"corrects": gift, "tokens": 4_000, "quality": "0.5", "accepted_at": MID_NOVEMBER}
        await accept(session, other, values, 12, ACTOR, MID_NOVEMBER)
    november = (await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).shares
    assert {share.account_id: share.amount for share in november} == {one: Decimal("0.10"), other: Decimal("0.20")}


@pytest.mark.parametrize("planned", [True, False])
async def test_a_credit_note_takes_back_next_month_what_its_invoice_had_put_up_and_only_once(
    sessions: Sessions, planned: bool
) -> None:
    payer, first, late = await account(sessions), await account(sessions), await account(sessions)
    gift = await contribute(sessions, first, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, *(call(payer, ONE_DOLLAR_FIFTY, at=at) for at in (MID_OCTOBER, MID_NOVEMBER, MID_DECEMBER)))
    october = (await close(sessions)).shares
    assert {share.account_id: share.amount for share in october} == {first: Decimal("0.30")}
    async with sessions.begin() as session:
        # The partner leaves, another comes, and the payer gets a third of its money back.
        await accept(session, first, {"withdraws": gift, "accepted_at": MID_NOVEMBER}, 12, ACTOR, MID_NOVEMBER)
        (issued,) = await invoices_of(session, "2026-10")
        asked = [Asked(line.position, Decimal("0.50")) for line in issued.lines if line.kind == "output"]
        await credit(session, issued.invoice.id, "a complaint", asked, ACTOR, MID_NOVEMBER)
    await contribute(sessions, late, 9_000, accepted_at=MID_NOVEMBER)
    await plan(sessions, "0.20" if planned else "0", effective_month="2026-11", at=MID_NOVEMBER)
    november = {share.account_id: share for share in (await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).shares}
    assert november[first].amount == november[first].carried_over == Decimal("-0.10")
    assert november[first].steps == [
        {
            "kind": "correction",
            "month": "2026-10",
            "payer": 1,
            "model": "solar-pro4",
            "exact_amount": "-0.10",
            "exact_fraction": "-1/10",
        }
    ]
    assert november[late].amount == (Decimal("0.30") if planned else Decimal(0))
    december = (await close(sessions, Month(2026, 12), MID_DECEMBER + timedelta(days=30))).shares
    assert {s.account_id: (s.amount, s.carried_in) for s in december if s.account_id == first} == {
        first: (Decimal(0), Decimal("-0.10"))
    }
    async with sessions() as session:
        assert await shares_of(session, "2026-10") == october
