"""Closing a month, on a real Postgres."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, func, select

from billing.close import EarlierMonthOpen, LaterMonthClosed, MonthNotOver, close_month
from billing.database import Sessions
from billing.exports.statement import invoice_json
from billing.fx import RateMissing
from billing.invoice.read import IssuedInvoice, get_invoice, invoices_of
from billing.money import UnknownCurrency
from billing.periods import Month
from billing.share.check import PlanUnsafe
from billing.share.read import share_month, shares_of
from tests.billing.months import (
    ACTOR,
    CLOSING,
    CLOSING_NOVEMBER,
    GRACE_S,
    MID_NOVEMBER,
    MID_OCTOBER,
    NOVEMBER,
    OCTOBER,
    account,
    book,
    call,
    close,
    contribute,
    krw_rate,
    plan,
)


async def rows_count(sessions: Sessions) -> dict[str, int]:
    """How many rows each table has."""
    async with sessions() as session:
        return {name: await _count(session, name) for name in SQLModel.metadata.tables}


async def _count(session: AsyncSession, table: str) -> int:
    return (await session.execute(select(func.count()).select_from(SQLModel.metadata.tables[table]))).scalar_one()


async def only_invoice(sessions: Sessions, month: Month = OCTOBER) -> IssuedInvoice:
    async with sessions() as session:
        (issued,) = await invoices_of(session, str(month))
        return issued


async def test_a_closed_month_has_an_invoice_for_each_account_with_usage_and_none_for_others(
    sessions: Sessions,
) -> None:
    first, second, _idle = [await account(sessions) for _ in range(3)]
    await book(sessions, call(first, (1_000_000, 0, 1_000_000, 0, 0)), call(second, (0, 500_000, 0, 0, 3)))
    closed = await close(sessions)
    assert [(i.account_id, i.total, i.status) for i in closed.invoices] == sorted(
        [(first, Decimal("1.50"), "issued"), (second, Decimal("0.12"), "issued")]
    )
    assert sorted(str(i.number) for i in closed.invoices) == ["2026-000001", "2026-000002"]


async def test_repeating_a_finished_close_changes_nothing_and_returns_the_same(sessions: Sessions) -> None:
    payer, partner = await account(sessions), await account(sessions, kind="club")
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, (1_000_000, 0, 1_000_000, 0, 0)))
    closed = await close(sessions)
    before = await rows_count(sessions)
    again = await close(sessions, now=CLOSING + timedelta(days=3))
    assert again == closed
    assert await rows_count(sessions) == before
    assert [share.amount for share in closed.shares] == [Decimal("0.30")]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
async def test_a_close_that_was_stopped_anywhere_ends_the_same_when_repeated(
    sessions: Sessions, stop_after: int
) -> None:
    partner = await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    payers = [await account(sessions) for _ in range(3)]
    await book(sessions, *(call(payer, (1_000_000, 0, 1_000_000, 0, 0)) for payer in payers))

    def stop(done: int, _of: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await close_month(
            sessions, OCTOBER, CLOSING, draft=False, grace_s=GRACE_S, actor=ACTOR, progress=stop, together=1
        )
    closed = await close(sessions)
    numbers = [invoice.number for invoice in closed.invoices]
    assert numbers == ["2026-000001", "2026-000002", "2026-000003"]
    assert [invoice.account_id for invoice in closed.invoices] == sorted(payers)
    assert [share.amount for share in closed.shares] == [Decimal("0.90")]
    assert (await rows_count(sessions))["closed_month"] == 1


async def test_calls_that_reach_the_ledger_after_the_close_become_prior_period_lines(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer, (1_000_000, 0, 0, 0, 0)))
    october = await close(sessions)
    await book(sessions, call(payer, (2_000_000, 0, 0, 0, 0), at=MID_OCTOBER), at=CLOSING)
    await book(sessions, call(payer, (1_000_000, 0, 0, 0, 0), at=MID_NOVEMBER), at=MID_NOVEMBER)
    again = await close(sessions)
    assert again == october
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    lines = (await only_invoice(sessions, NOVEMBER)).lines
    assert [(line.billing_month, line.quantity, line.amount) for line in lines] == [
        ("2026-11", 1_000_000, Decimal("0.30")),
        ("2026-10", 2_000_000, Decimal("0.60")),
    ]
    assert "calls of 2026-10" in lines[1].description


async def test_a_won_invoice_is_converted_at_the_rate_of_the_last_day_and_prints_it(sessions: Sessions) -> None:
    payer = await account(sessions, currency="KRW", tax_country="KR")
    await krw_rate(sessions, date(2026, 10, 31), "1385.5")
    await book(sessions, call(payer, (1_234_567, 0, 1_000, 0, 0)))
    await close(sessions)
    issued = await only_invoice(sessions)
    exact = [Decimal("0.3703701") * Decimal("1385.5"), Decimal("0.0012") * Decimal("1385.5")]
    assert [line.exact_amount for line in issued.lines] == exact
    assert [line.amount for line in issued.lines] == [Decimal(513), Decimal(2)]
    assert (issued.invoice.subtotal, issued.invoice.tax, issued.invoice.total) == tuple(map(Decimal, (515, 51, 566)))
    assert (issued.invoice.fx_rate, issued.invoice.fx_day) == (Decimal("1385.5"), date(2026, 10, 31))
    assert invoice_json(issued.invoice, issued.lines)["fx_rate"] == "1385.50"


async def test_a_missing_rate_is_said_before_anything_is_written(sessions: Sessions) -> None:
    dollars, won = await account(sessions), await account(sessions, currency="KRW")
    await krw_rate(sessions, date(2026, 10, 30), "1385.5")
    await book(sessions, call(dollars), call(won))
    before = await rows_count(sessions)
    with pytest.raises(RateMissing, match="no USD/KRW rate for 2026-10-31"):
        await close(sessions)
    assert await rows_count(sessions) == before


async def test_a_currency_that_is_not_billed_is_said_before_anything_is_written(sessions: Sessions) -> None:
    payer = await account(sessions, currency="EUR")
    await book(sessions, call(payer))
    before = await rows_count(sessions)
    with pytest.raises(UnknownCurrency, match="EUR"):
        await close(sessions)
    assert await rows_count(sessions) == before


async def test_an_idle_won_account_needs_no_rate(sessions: Sessions) -> None:
    await account(sessions, currency="KRW")
    payer = await account(sessions)
    await book(sessions, call(payer))
    assert len((await close(sessions)).invoices) == 1


async def test_a_draft_computes_the_same_as_the_close_and_writes_nothing(sessions: Sessions) -> None:
    payer, partner = await account(sessions), await account(sessions)
    won = await account(sessions, currency="KRW")
    await krw_rate(sessions, date(2026, 10, 31), "1400")
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, (7_000_000, 0, 1_000_000, 0, 0)), call(won, (1_000_000, 0, 0, 0, 0)))
    before = await rows_count(sessions)
    draft = await close(sessions, draft=True, now=MID_OCTOBER)
    assert await rows_count(sessions) == before
    assert [(i.id, i.number, i.status) for i in draft.invoices] == [(None, None, "draft")] * 2
    closed = await close(sessions)
    assert [(i.account_id, i.currency, i.total) for i in draft.invoices] == [
        (i.account_id, i.currency, i.total) for i in closed.invoices
    ]
    assert draft.shares == closed.shares
    printed = [invoice_json(each, each.lines) for each in draft.drafts]
    async with sessions() as session:
        issued = [invoice_json(each.invoice, each.lines) for each in await invoices_of(session, "2026-10")]
    kept = ("lines", "subtotal", "tax", "total", "grants_used", "fx_rate", "fx_day")
    assert [{name: one[name] for name in kept} for one in printed] == [
        {name: one[name] for name in kept} for one in issued
    ]


async def test_a_draft_of_a_running_month_uses_the_newest_rate_known(sessions: Sessions) -> None:
    won = await account(sessions, currency="KRW")
    await krw_rate(sessions, date(2026, 10, 1), "1300")
    await krw_rate(sessions, date(2026, 10, 14), "1400")
    await book(sessions, call(won, (1_000_000, 0, 0, 0, 0)))
    (draft,) = (await close(sessions, draft=True, now=MID_OCTOBER)).drafts
    assert (draft.total, draft.fx_rate, draft.fx_day) == (Decimal(420), Decimal(1400), date(2026, 10, 14))


async def test_a_draft_of_a_closed_month_shows_what_was_issued(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer))
    closed = await close(sessions)
    draft = await close(sessions, draft=True)
    assert (draft.invoices, draft.shares, draft.drafts) == (closed.invoices, closed.shares, [])


async def test_a_month_is_not_closed_before_it_is_over_in_every_zone_with_the_grace(sessions: Sessions) -> None:
    await account(sessions)
    await account(sessions, timezone="America/Los_Angeles")
    over = datetime.fromisoformat("2026-11-01T00:00:00-07:00") + timedelta(seconds=GRACE_S)
    with pytest.raises(MonthNotOver) as refused:
        await close(sessions, now=over - timedelta(microseconds=1))
    assert refused.value.possible_from == over
    assert (await rows_count(sessions))["closed_month"] == 0
    assert (await close(sessions, now=over)).invoices == []


async def test_months_are_closed_in_their_order(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer), call(payer, at=MID_NOVEMBER))
    with pytest.raises(EarlierMonthOpen) as refused:
        await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    assert refused.value.earlier == "2026-10"
    await close(sessions, OCTOBER, CLOSING_NOVEMBER)
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    with pytest.raises(LaterMonthClosed):
        await close(sessions, Month(2026, 9), CLOSING_NOVEMBER)


async def test_a_month_waits_until_the_close_before_it_is_finished(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer), call(payer, at=MID_NOVEMBER))

    def stop(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await close_month(
            sessions, OCTOBER, CLOSING, draft=False, grace_s=GRACE_S, actor=ACTOR, progress=stop, together=1
        )
    with pytest.raises(EarlierMonthOpen):
        await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    await close(sessions)
    assert len((await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).invoices) == 1


async def test_an_invoice_that_grants_cover_wholly_is_issued_over_nothing(sessions: Sessions) -> None:
    payer = await account(sessions)
    covered = (("gra_1", "output", 200), ("gra_1", "input", 1000))
    await book(sessions, call(payer, (1000, 0, 200, 0, 0), grants=covered))
    (name,) = (await close(sessions)).invoices
    assert name.id is not None
    async with sessions() as session:
        issued = await get_invoice(session, name.id)
    assert (issued.invoice.total, issued.invoice.grants_used) == (Decimal(0), 1200)
    assert [(line.kind, line.quantity, line.granted) for line in issued.lines] == [
        ("input", 1000, True),
        ("output", 200, True),
    ]


async def test_an_unsafe_plan_is_refused_before_anything_is_written(sessions: Sessions) -> None:
    partner, payer = await account(sessions), await account(sessions)
    await contribute(sessions, partner, 100_000_000_000)
    await plan(sessions, "0.61")
    await book(sessions, call(payer))
    before = await rows_count(sessions)
    with pytest.raises(PlanUnsafe):
        await close(sessions)
    with pytest.raises(PlanUnsafe):
        await close(sessions, draft=True)
    assert await rows_count(sessions) == before
    await plan(sessions, "0.60", at=CLOSING)
    assert len((await close(sessions)).shares) == 1


async def test_without_a_plan_in_force_a_month_has_no_shares(sessions: Sessions) -> None:
    partner, payer = await account(sessions), await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20", effective_month="2026-11")
    await book(sessions, call(payer))
    assert (await close(sessions)).shares == []
    async with sessions() as session:
        assert await shares_of(session, "2026-10") == []
        finished = await share_month(session, "2026-10")
    assert finished is not None
    assert finished.plan_id is None
