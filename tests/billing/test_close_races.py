"""Closers and writers that meet, on a real Postgres."""

from __future__ import annotations

import asyncio

from billing.close import close_month
from billing.database import Sessions
from billing.invoice.read import invoices_of
from billing.money import add
from billing.rating.read import booked
from tests.billing.months import (
    ACTOR,
    CLOSING,
    CLOSING_NOVEMBER,
    GRACE_S,
    NOVEMBER,
    OCTOBER,
    account,
    book,
    call,
    close,
    contribute,
    plan,
)

CLOSERS = 20


async def test_twenty_racing_closers_issue_each_invoice_once_with_gapless_numbers(sessions: Sessions) -> None:
    payers = sorted([await account(sessions) for _ in range(8)])
    partner = await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, *(call(payer, (1_000_000, 0, 0, 0, 0)) for payer in payers))
    closed = await asyncio.gather(*(close(sessions) for _ in range(CLOSERS)))
    assert all(each == closed[0] for each in closed)
    assert [invoice.account_id for invoice in closed[0].invoices] == payers
    assert [invoice.number for invoice in closed[0].invoices] == [f"2026-{n:06d}" for n in range(1, 9)]
    async with sessions() as session:
        assert len(await invoices_of(session, "2026-10")) == len(payers)


async def test_a_killed_closer_among_racing_ones_leaves_no_gap(sessions: Sessions) -> None:
    payers = [await account(sessions) for _ in range(6)]
    await book(sessions, *(call(payer) for payer in payers))

    async def stopped(after: int) -> None:
        def stop(done: int, _of: int) -> None:
            if done == after:
                raise asyncio.CancelledError

        await close_month(
            sessions, OCTOBER, CLOSING, draft=False, grace_s=GRACE_S, actor=ACTOR, progress=stop, together=1
        )

    ended = await asyncio.gather(*(stopped(n % 6 + 1) for n in range(10)), return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    numbers = [invoice.number for invoice in (await close(sessions)).invoices]
    assert numbers == [f"2026-{n:06d}" for n in range(1, 7)]


async def test_each_call_that_races_with_the_close_is_on_exactly_one_invoice(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer, (1, 0, 0, 0, 0)))

    async def writer() -> None:
        for _ in range(15):
            await book(sessions, call(payer, (1, 0, 0, 0, 0)))

    await asyncio.gather(*(writer() for _ in range(6)), *(close(sessions) for _ in range(3)))
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    async with sessions() as session:
        lines = [
            line
            for month in ("2026-10", "2026-11")
            for each in await invoices_of(session, month)
            for line in each.lines
        ]
        costs = [(await booked(session, payer, month))[1] for month in ("2026-10", "2026-11")]
    assert sum(line.quantity for line in lines) == 91
    assert add(line.exact_usd for line in lines) == add(costs)
