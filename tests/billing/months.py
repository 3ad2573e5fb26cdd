"""What the tests of a month are built from: accounts, settled calls, contributions, and a close.

Entries reach the ledger through `journal.append` alone, as in production.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from billing.accounts import store as accounts
from billing.close import MonthClosed, close_month
from billing.club import store as club
from billing.database import Sessions
from billing.fx import set_rate
from billing.ids import uuid7
from billing.ledger.entry import Settled
from billing.ledger.journal import append
from billing.ledger.record import UsageRecord
from billing.periods import Month
from billing.share.store import add_plan

OCTOBER = Month(2026, 10)
NOVEMBER = Month(2026, 11)
MID_OCTOBER = datetime(2026, 10, 15, 3, 0, tzinfo=UTC)
MID_NOVEMBER = datetime(2026, 11, 15, 3, 0, tzinfo=UTC)
CLOSING = datetime(2026, 11, 2, 0, 0, tzinfo=UTC)
CLOSING_NOVEMBER = datetime(2026, 12, 2, 0, 0, tzinfo=UTC)
GRACE_S = 7200
PRICES = ("0.30", "0.06", "1.20", "0.01", "0.03")
ACTOR = "test"


def call(
    account_id: str,
    usage: tuple[int, int, int, int, int] = (1000, 0, 100, 0, 0),
    *,
    at: datetime = MID_OCTOBER,
    model: str = "solar-pro4",
    discount: str = "0",
    prices: tuple[str, str, str, str, str] = PRICES,
    card_id: str = "card_1",
    grants: tuple[tuple[str, str, int], ...] = (),
    zone: str = "Asia/Seoul",
) -> Settled:
    """One settled call."""
    now_ms = int(at.timestamp() * 1000)
    record = UsageRecord(
        call_id=uuid7(now_ms).hex,
        account_id=account_id,
        key_id="key_1",
        accepted_ns=now_ms * 1_000_000,
        billing_month=str(Month.of(at, zone)),
        endpoint="/v1/chat/completions",
        model_asked=model,
        model=model,
        model_answered=None,
        card_id=card_id,
        prices=prices,
        discount=discount,
        discount_reason="",
        usage=usage,
        estimated_reason=None,
        streamed=False,
        attempts=1,
        zone=zone,
    )
    return Settled(record, grants)


async def account(sessions: Sessions, **values: Any) -> str:
    """A new account's id."""
    async with sessions.begin() as session:
        return (await accounts.create(session, {"name": "An account", **values}, ACTOR, MID_OCTOBER)).id


async def book(sessions: Sessions, *calls: Settled, at: datetime = MID_OCTOBER) -> int:
    async with sessions.begin() as session:
        return (await append(session, calls, at)).changed


async def contribute(
    sessions: Sessions,
    account_id: str,
    tokens: int,
    *,
    quality: str = "1.0",
    dataset: str = "news",
    accepted_at: datetime = MID_OCTOBER,
) -> str:
    """An accepted contribution's id."""
    values = {"dataset": dataset, "words": tokens, "tokens": tokens, "quality": quality, "accepted_at": accepted_at}
    async with sessions.begin() as session:
        contribution, _ = await club.accept(session, account_id, values, 12, ACTOR, MID_OCTOBER)
        return contribution.id


async def plan(
    sessions: Sessions,
    pool_rate: str,
    minimum_payout: str = "0.00",
    effective_month: str = "2026-10",
    at: datetime = MID_OCTOBER,
    **more: Any,
) -> str:
    values = {"effective_month": effective_month, "pool_rate": pool_rate, "minimum_payout": minimum_payout, **more}
    async with sessions.begin() as session:
        return (await add_plan(session, values, ACTOR, at)).id


async def krw_rate(sessions: Sessions, day: date, rate: str) -> None:
    async with sessions.begin() as session:
        assert await set_rate(session, day, "USD/KRW", Decimal(rate))


async def close(
    sessions: Sessions, month: Month = OCTOBER, now: datetime = CLOSING, *, draft: bool = False
) -> MonthClosed:
    steps: list[tuple[int, int]] = []
    closed = await close_month(
        sessions,
        month,
        now,
        draft=draft,
        grace_s=GRACE_S,
        actor=ACTOR,
        progress=lambda done, of: steps.append((done, of)),
        together=3,
    )
    assert_progress(steps)
    return closed


def assert_progress(steps: Sequence[tuple[int, int]]) -> None:
    """Progress counts up by one to its end."""
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert all(of == len(steps) for _, of in steps)
