"""Credit notes on a real Postgres: numbers, races, and what they take from a later month's revenue."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from billing.accounts import store as accounts
from billing.close import EarlierMonthOpen
from billing.database import Sessions
from billing.invoice.credit import Asked, CreditExceeds, CreditRefused
from billing.invoice.issue import credit
from billing.invoice.read import (
    InvoiceNotFound,
    IssuedCredit,
    credited_in,
    get_credit,
    get_invoice,
    invoices_of,
    page_credits,
)
from billing.money import add
from billing.periods import Month
from tests.billing.months import (
    ACTOR,
    CLOSING,
    CLOSING_NOVEMBER,
    MID_NOVEMBER,
    NOVEMBER,
    account,
    book,
    call,
    close,
    krw_rate,
)
from tests.billing.test_close import rows_count


async def invoice_id(sessions: Sessions, **fields: str) -> str:
    """An issued invoice of October: 1.50 USD, or 2,100 won."""
    payer = await account(sessions, **fields)
    await book(sessions, call(payer, (1_000_000, 0, 1_000_000, 0, 0)))
    if fields.get("currency") == "KRW":
        await krw_rate(sessions, date(2026, 10, 31), "1400")
    named = (await close(sessions)).invoices[0].id
    assert named is not None
    return named


async def take(sessions: Sessions, invoice: str, *asked: tuple[int, str], reason: str = "an outage") -> IssuedCredit:
    async with sessions.begin() as session:
        wanted = [Asked(line, Decimal(amount)) for line, amount in asked]
        return await credit(session, invoice, reason, wanted, ACTOR, CLOSING)


async def test_a_credit_note_has_a_number_of_its_own_series_and_the_tax_of_its_invoice(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions, currency="KRW", tax_country="KR")
    first = (await take(sessions, invoice, (1, "1005"))).note
    second = (await take(sessions, invoice, (0, "420"), (1, "5"))).note
    assert [first.number, second.number] == ["CN-2026-000001", "CN-2026-000002"]
    assert (first.subtotal, first.tax, first.total) == tuple(map(Decimal, (1005, 100, 1105)))
    assert (second.subtotal, second.tax, second.total) == tuple(map(Decimal, (425, 43, 468)))
    assert first.tax_reason == "VAT 10 % (Korea)"
    async with sessions() as session:
        found = await get_invoice(session, invoice)
        assert (await get_credit(session, first.id)).note == first
        assert ([one.note.number for one in (await page_credits(session, invoice_id=invoice))[0]]) == [
            first.number,
            second.number,
        ]
    assert [note.number for note in found.credits] == [first.number, second.number]
    assert found.invoice.total == 2310


async def test_an_account_that_moved_abroad_is_credited_by_the_rule_of_its_invoice(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions, tax_country="KR")
    async with sessions.begin() as session:
        issued = (await get_invoice(session, invoice)).invoice
        moved = {"tax_country": "JP", "name": "Another name"}
        await accounts.change(session, issued.account_id, moved, ACTOR, CLOSING)
    assert (await take(sessions, invoice, (1, "1.00"))).note.tax == Decimal("0.10")
    async with sessions() as session:
        assert (await get_invoice(session, invoice)).invoice.payer_name == "An account"


async def test_twenty_that_race_for_the_same_money_never_pass_the_invoice_and_leave_no_gap(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions, tax_country="KR")
    ended = await asyncio.gather(*(take(sessions, invoice, (1, "0.11")) for _ in range(20)), return_exceptions=True)
    notes = [one.note for one in ended if isinstance(one, IssuedCredit)]
    assert [one for one in ended if not isinstance(one, IssuedCredit | CreditExceeds)] == []
    assert len(notes) == 10
    assert sorted(note.number for note in notes) == [f"CN-2026-{n:06d}" for n in range(1, 11)]
    assert add(note.subtotal for note in notes) == Decimal("1.10")
    assert add(note.tax for note in notes) == Decimal("0.11")


async def test_a_refused_note_writes_nothing(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions)
    before = await rows_count(sessions)
    for asked in (((0, "0.31"),), ((0, "0.10"), (9, "0.10")), ((0, "0.005"),)):
        with pytest.raises(CreditRefused):
            await take(sessions, invoice, *asked)
    for reason in ("", "  ", "x" * 1001):
        with pytest.raises(CreditRefused, match="reason"):
            await take(sessions, invoice, (0, "0.10"), reason=reason)
    with pytest.raises(InvoiceNotFound):
        await take(sessions, "inv_none", (0, "0.10"))
    assert await rows_count(sessions) == before


async def test_a_note_lessens_the_revenue_of_the_first_month_that_was_open(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions, currency="KRW")
    await take(sessions, invoice, (1, "840"))
    await take(sessions, invoice, (1, "840"))
    async with sessions() as session:
        assert await credited_in(session, "2026-10") == []
        taken = await credited_in(session, "2026-11")
    assert [(one.model, one.invoice_month) for one in taken] == [("solar-pro4", "2026-10")] * 2
    assert add(one.exact_usd for one in taken) == Decimal("1.2")


async def test_a_month_with_credits_is_not_passed_over(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions)
    await take(sessions, invoice, (0, "0.10"))
    december = Month(2026, 12)
    closing = CLOSING_NOVEMBER.replace(year=2027, month=1)
    with pytest.raises(EarlierMonthOpen) as refused:
        await close(sessions, december, closing)
    assert refused.value.earlier == "2026-11"
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    await close(sessions, december, closing)


async def test_a_note_that_races_with_a_close_is_booked_into_a_month_that_was_not_sealed(sessions: Sessions) -> None:
    invoice = await invoice_id(sessions)
    async with sessions() as session:
        payer = (await get_invoice(session, invoice)).invoice.account_id
    await book(sessions, call(payer, at=MID_NOVEMBER), at=MID_NOVEMBER)
    notes, closed = await asyncio.gather(
        asyncio.gather(*(take(sessions, invoice, (0, "0.01")) for _ in range(12))),
        close(sessions, NOVEMBER, CLOSING_NOVEMBER),
    )
    async with sessions() as session:
        in_time = await credited_in(session, "2026-11")
        late = await credited_in(session, "2026-12")
        assert len(await invoices_of(session, "2026-11")) == len(closed.invoices) == 1
    assert len(in_time) + len(late) == len(notes)
