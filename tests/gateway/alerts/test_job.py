"""Budget alerts from the ledger to the receiver: each once, also in won, for keys and for prepaid balances; delivered at least once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import col, select

from billing.accounts import store as accounts
from billing.database import Sessions
from billing.fx import set_rate
from billing.ledger.tables import LedgerTotal
from gateway.alerts import store
from gateway.alerts.job import AlertJob
from gateway.alerts.tables import BudgetAlert
from gateway.alerts.webhook import WebhookSender
from gateway.clock import Clock
from gateway.keys.lifecycle import create_key
from tests.gateway.alerts.receiver import receiving

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MONTH = "2026-11"


@pytest.fixture
async def job(sessions: Sessions) -> AsyncIterator[AlertJob]:
    sender = WebhookSender(timeout_s=5, attempts=1, private_allowed=False)
    yield AlertJob(sessions, Clock.starting_at(NOW), sender, every_s=0.05, attempts_max=3)
    await sender.close()


async def new_account(sessions: Sessions, **fields: Any) -> str:
    async with sessions.begin() as session:
        return (await accounts.create(session, {"name": "one", **fields}, "test", NOW)).id


async def spend(sessions: Sessions, account_id: str, usd: str, *, month: str = MONTH, key_id: str = "key_1") -> None:
    """The ledger's running total now says so much."""
    async with sessions.begin() as session:
        row = await session.get(LedgerTotal, (account_id, month, key_id))
        if row is None:
            session.add(
                LedgerTotal(account_id=account_id, billing_month=month, key_id=key_id, entries=1, cost=Decimal(usd))
            )
        else:
            row.cost = Decimal(usd)


async def alerts(sessions: Sessions, account_id: str) -> list[tuple[str, str, int, str]]:
    async with sessions() as session:
        query = select(BudgetAlert).where(col(BudgetAlert.account_id) == account_id)
        rows = (
            await session.execute(query.order_by(col(BudgetAlert.at), col(BudgetAlert.threshold_percent)))
        ).scalars()
        return [(row.scope, row.period, row.threshold_percent, str(row.spent.normalize())) for row in rows]


async def test_each_threshold_is_told_once_however_often_it_is_looked_at(sessions: Sessions, job: AlertJob) -> None:
    account = await new_account(sessions, monthly_cap=Decimal(10))
    for usd, new in (("4.99", 0), ("5", 1), ("7.5", 0), ("10", 2), ("10", 0)):
        await spend(sessions, account, usd)
        assert await job.look() == new
    assert sum(await asyncio.gather(*[job.look() for _ in range(4)])) == 0
    assert await alerts(sessions, account) == [
        ("account", MONTH, 50, "5"),
        ("account", MONTH, 80, "1E+1"),
        ("account", MONTH, 100, "1E+1"),
    ]


async def test_two_jobs_that_look_at_once_store_an_alert_once(sessions: Sessions, job: AlertJob) -> None:
    account = await new_account(sessions, monthly_cap=Decimal(10))
    await spend(sessions, account, "9")
    assert sum(await asyncio.gather(*[job.look() for _ in range(8)])) == 2
    assert [percent for _, _, percent, _ in await alerts(sessions, account)] == [50, 80]


async def test_a_cap_in_won_is_measured_at_the_rate_of_the_months_first_day(sessions: Sessions, job: AlertJob) -> None:
    account = await new_account(sessions, currency="KRW", monthly_cap=Decimal(13500))
    await spend(sessions, account, "6")
    assert await job.look() == 0  # without a rate nothing can be said
    async with sessions.begin() as session:
        await set_rate(session, date(2026, 11, 1), "USD/KRW", Decimal(1350))
        await set_rate(session, date(2026, 11, 15), "USD/KRW", Decimal(9999))
    assert await job.look() == 1
    assert await alerts(sessions, account) == [("account", MONTH, 50, "8.1E+3")]


async def test_a_keys_cap_counts_its_own_calls_and_a_balance_those_of_all_months(
    sessions: Sessions, job: AlertJob
) -> None:
    account = await new_account(sessions, billing="prepaid", prepaid_balance=Decimal(100))
    async with sessions.begin() as session:
        key, _, _ = await create_key(session, account, {"name": "k", "monthly_cap": Decimal(1)}, "test", NOW)
    await spend(sessions, account, "30", month="2026-10")
    await spend(sessions, account, "25", key_id="another")
    assert await job.look() == 1
    await spend(sessions, account, "0.80", key_id=key.id)
    assert await job.look() == 2
    assert await alerts(sessions, account) == [
        ("prepaid", "100.00", 50, "55"),
        (f"key:{key.id}", MONTH, 50, "0.8"),
        (f"key:{key.id}", MONTH, 80, "0.8"),
    ]
    async with sessions.begin() as session:  # paid in more: half of the new balance is told of anew
        await accounts.change(session, account, {"prepaid_balance": Decimal(110)}, "test", NOW)
    assert await job.look() == 1
    assert (await alerts(sessions, account))[-1] == ("prepaid", "110.00", 50, "55.8")


async def test_a_refusal_tells_that_a_budget_is_used_up_before_its_last_digit_is_spent(sessions: Sessions) -> None:
    account = await new_account(sessions, monthly_cap=Decimal(1))
    for usd, new in (("0.70", 1), ("0.97", 2)):
        await spend(sessions, account, usd)
        async with sessions.begin() as session:
            budgets = await store.budgets_of(session, account, NOW)
            assert await store.raise_alerts(session, budgets, NOW, refused={(account, store.ACCOUNT)}) == new
    async with sessions() as session:
        rows = await store.alerts_of(session, account, [MONTH])
    assert [(row.threshold_percent, row.reason) for row in reversed(rows)] == [
        (50, "spent"),
        (80, "spent"),
        (100, "refused"),
    ]


async def webhook(sessions: Sessions, account: str, url: str | None) -> str:
    async with sessions.begin() as session:
        await accounts.change(session, account, {"alert_webhook_url": url}, "test", NOW)
        return await store.new_secret(session, account, NOW)


async def test_alerts_arrive_signed_once_each_and_an_account_without_a_url_is_left_in_peace(
    sessions: Sessions, job: AlertJob
) -> None:
    account, quiet = [await new_account(sessions, monthly_cap=Decimal(10)) for _ in range(2)]
    await spend(sessions, account, "8.5")
    await spend(sessions, quiet, "8.5")
    async with receiving() as receiver:
        secret = await webhook(sessions, account, receiver.url)
        assert await job.look() == 4
        assert await job.deliver() == 2
        assert await job.deliver() == 0
    assert {event.json["data"]["threshold"] for event in receiver.events} == {50, 80}
    for event in receiver.events:
        assert event.is_signed_by(secret)
        assert event.json["id"] == event.headers["x-solar-event-id"]
        assert event.json["type"] == "budget.threshold_reached"
        data = event.json["data"]
        assert (data["account_id"], data["scope"], data["month"], data["budget"], data["spent"], data["currency"]) == (
            *(account, "account", MONTH, "10.00", "8.50", "USD"),
        )


async def test_a_receiver_that_is_down_gets_its_alert_later_and_is_given_up_in_the_end(
    sessions: Sessions, job: AlertJob
) -> None:
    account = await new_account(sessions, monthly_cap=Decimal(10))
    await spend(sessions, account, "5")
    down = b"HTTP/1.1 500 Down\r\ncontent-length: 0\r\n\r\n"
    async with receiving() as receiver:
        await webhook(sessions, account, receiver.url)
        await job.look()
        receiver.answers = [down] * 3
        waits = []
        for _ in range(3):
            assert await job.deliver() == 0
            assert await job.deliver() == 0  # not due yet
            (row,) = await rows_of(sessions, account)
            waits.append(row.next_attempt_at)
            job._clock = Clock(job._clock.offset_ns + 3601 * 10**9)
    assert len(receiver.events) == 3
    assert len({event.body for event in receiver.events}) == 1
    assert [waits[0] is not None, waits[1] is not None, waits[2]] == [True, True, None]
    assert row.given_up_at is not None
    assert row.delivered_at is None


async def test_an_alert_whose_sender_died_is_sent_again_under_the_same_id(sessions: Sessions, job: AlertJob) -> None:
    account = await new_account(sessions, monthly_cap=Decimal(10))
    await spend(sessions, account, "5")
    async with receiving() as receiver:
        await webhook(sessions, account, receiver.url)
        await job.look()
        async with sessions.begin() as session:  # claimed, and then nothing
            ((claimed, _, _),) = await store.claim_due(session, job._clock.now(), 120, 10)
        assert await job.deliver() == 0
        job._clock = Clock(job._clock.offset_ns + int(timedelta(seconds=121).total_seconds()) * 10**9)
        assert await job.deliver() == 1
    assert [event.json["id"] for event in receiver.events] == [claimed.id]


async def rows_of(sessions: Sessions, account: str) -> list[BudgetAlert]:
    async with sessions() as session:
        query = select(BudgetAlert).where(col(BudgetAlert.account_id) == account)
        return list((await session.execute(query)).scalars())
