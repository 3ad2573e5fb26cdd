"""Payment runs, holds and reversals, on a real Postgres."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import select

from billing.accounts.tables import AuditEntry
from billing.database import Sessions
from billing.payouts.read import HoldNotFound, PayoutNotFound, holds, page_payouts, payees_named
from billing.payouts.store import (
    AlreadyReversed,
    LeftOut,
    pay_until,
    place_hold,
    release_hold,
    reverse,
    set_payee,
)
from billing.payouts.tables import Payout
from tests.billing.months import (
    ACTOR,
    CLOSING,
    CLOSING_NOVEMBER,
    MID_NOVEMBER,
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

ONE_DOLLAR_FIFTY = (1_000_000, 0, 1_000_000, 0, 0)
COMPANY = {
    "kind": "business",
    "country": "KR",
    "legal_name": "한빛북스",
    "registration_number": "120-81-47521",
    "currency": "KRW",
    "destination": {"kind": "bank", "bank": "088", "account": "110-000-000000"},
}
PERSON = {
    "kind": "individual",
    "country": "kr",
    "legal_name": "홍길동",
    "currency": "KRW",
    "destination": {"kind": "stripe", "account": "acct_1"},
}


async def partner_with_a_share(sessions: Sessions, payee: dict[str, Any] | None = None) -> str:
    """Whose statement of October says 0.30 USD, as does November's."""
    payer, partner = await account(sessions), await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, ONE_DOLLAR_FIFTY), call(payer, ONE_DOLLAR_FIFTY, at=MID_NOVEMBER))
    await close(sessions)
    await krw_rate(sessions, date(2026, 11, 1), "1400")
    if payee is not None:
        async with sessions.begin() as session:
            await set_payee(session, partner, payee, ACTOR, CLOSING)
    return partner


async def run(sessions: Sessions, month: Any = OCTOBER) -> tuple[list[Payout], list[LeftOut]]:
    async with sessions.begin() as session:
        return await pay_until(session, month, ACTOR, CLOSING)


async def test_a_statement_is_paid_once_at_the_printed_rate_however_often_and_by_however_many_it_is_run(
    sessions: Sessions,
) -> None:
    partner = await partner_with_a_share(sessions, COMPANY)
    runs = await asyncio.gather(*(run(sessions) for _ in range(4)))
    (payout,) = [each for made, _ in runs for each in made]
    assert (payout.account_id, payout.month, payout.usd) == (partner, "2026-10", Decimal("0.30"))
    assert (payout.amount, payout.vat, payout.payable) == (Decimal(420), Decimal(42), Decimal(462))
    assert (payout.fx_rate, payout.fx_day, payout.tax_paper) == (Decimal(1400), date(2026, 11, 1), "tax_invoice")
    assert await run(sessions) == ([], [])


async def test_an_individual_is_paid_less_what_is_withheld(sessions: Sessions) -> None:
    await partner_with_a_share(sessions, PERSON)
    (payout,), _ = await run(sessions)
    assert (payout.amount, payout.withheld, payout.payable) == (Decimal(420), Decimal(10), Decimal(410))
    assert payout.withholding == [
        {"name": "income_tax", "ratio": "0.03", "amount": "10.00"},
        {"name": "local_income_tax", "ratio": "0.10", "amount": "0.00"},
    ]


async def test_a_hold_stops_payouts_until_it_is_released_and_loses_nothing(sessions: Sessions) -> None:
    partner = await partner_with_a_share(sessions, COMPANY)
    async with sessions.begin() as session:
        hold = await place_hold(session, partner, "fed by one payer", ACTOR, CLOSING)
    made, (left,) = await run(sessions)
    assert (made, left.why, left.detail, left.usd) == ([], "held", "fed by one payer", Decimal("0.30"))
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    async with sessions.begin() as session:
        assert [each.id for each in await holds(session, standing=True)] == [hold.id]
        await release_hold(session, hold.id, "looked into", ACTOR, CLOSING_NOVEMBER)
        with pytest.raises(HoldNotFound):
            await release_hold(session, hold.id, "again", ACTOR, CLOSING_NOVEMBER)
    made, _ = await run(sessions, NOVEMBER)
    assert [(each.month, each.usd) for each in made] == [("2026-10", Decimal("0.30")), ("2026-11", Decimal("0.30"))]


async def test_a_payout_that_came_back_is_undone_by_a_linked_one_and_due_again(sessions: Sessions) -> None:
    await partner_with_a_share(sessions, PERSON)
    (first,), _ = await run(sessions)
    async with sessions.begin() as session:
        undone = await reverse(session, first.id, "account closed", ACTOR, CLOSING + timedelta(days=2))
        for payout_id in (first.id, undone.id):
            with pytest.raises(AlreadyReversed):
                await reverse(session, payout_id, "again", ACTOR, CLOSING)
        with pytest.raises(PayoutNotFound):
            await reverse(session, "pay_none", "why", ACTOR, CLOSING)
    assert (undone.reverses, undone.usd, undone.payable) == (first.id, Decimal("-0.30"), Decimal(-410))
    (again,), _ = await run(sessions)
    assert (again.usd, again.reverses) == (Decimal("0.30"), None)
    async with sessions() as session:
        pages: list[Payout] = []
        after = None
        while True:
            page, after = await page_payouts(session, month="2026-10", after=after, count_max=2)
            pages += page
            if after is None:
                break
        named = await payees_named(session, {row.payee_id for row in pages})
    assert sum(row.usd for row in pages) == Decimal("0.30")
    assert len(pages) == 3
    assert {row.legal_name for row in named.values()} == {"홍길동"}


async def test_who_cannot_be_paid_is_named_and_the_others_are_paid(sessions: Sessions) -> None:
    nobody = await partner_with_a_share(sessions)
    (left,) = (await run(sessions))[1]
    assert (left.account_id, left.why) == (nobody, "no_payee")
    async with sessions.begin() as session:
        await set_payee(session, nobody, {**PERSON, "country": "DE"}, ACTOR, CLOSING)
    assert [each.why for each in (await run(sessions))[1]] == ["no_paper_rule"]
    async with sessions.begin() as session:
        await set_payee(session, nobody, COMPANY, ACTOR, CLOSING + timedelta(seconds=1))
        made, left_out = await pay_until(session, OCTOBER, ACTOR, CLOSING - timedelta(days=7))
    assert (made, [each.why for each in left_out]) == ([], ["no_fx_rate"])
    assert len((await run(sessions))[0]) == 1


async def test_a_payee_that_cannot_be_is_refused_by_its_field_and_the_log_tells_no_destination(
    sessions: Sessions,
) -> None:
    partner = await account(sessions)
    wrong: dict[str, Any] = {
        "kind": "robot",
        "currency": "EUR",
        "country": "Korea",
        "registration_number": None,
        "destination": {"kind": "cash"},
    }
    async with sessions.begin() as session:
        for name, value in wrong.items():
            with pytest.raises(ValueError, match=name):
                await set_payee(session, partner, {**COMPANY, name: value}, ACTOR, CLOSING)
        with pytest.raises(ValueError, match="destination: at most"):
            await set_payee(
                session, partner, {**COMPANY, "destination": {"kind": "bank", "a": "x" * 101}}, ACTOR, CLOSING
            )
        with pytest.raises(ValueError, match="reason"):
            await place_hold(session, partner, " ", ACTOR, CLOSING)
        await set_payee(session, partner, COMPANY, ACTOR, CLOSING)
        changes = [str(row.change) for row in (await session.execute(select(AuditEntry))).scalars()]
    assert any("payee" in change for change in changes)
    assert all("110-000" not in change for change in changes)
