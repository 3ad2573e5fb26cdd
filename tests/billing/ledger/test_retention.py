"""A month leaves the ledger and comes back: nothing is lost, nothing is billed twice, and what rests on it still holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import func, select

from billing.database import Sessions
from billing.keeping import retention
from billing.keeping.retention import attach, detach, kept_months, late_records
from billing.keeping.verify import count_accounts, verify
from billing.ledger.calls import page_calls
from billing.ledger.entry import Settled
from billing.ledger.journal import append
from billing.ledger.read import calls_since, proof_root
from billing.ledger.rollups import Differences, check_rollups
from billing.ledger.sources import MonthDetached
from billing.ledger.tables import LedgerEntry
from billing.ledger.usage import usage
from billing.periods import Month
from billing.share.read import finished_months
from tests.billing.months import CLOSING, CLOSING_NOVEMBER, MID_OCTOBER, NOVEMBER, OCTOBER, account, book, call, close

LATER = datetime(2027, 3, 1, tzinfo=UTC)
ZONE = "Asia/Seoul"
BORDER = datetime(2026, 10, 31, 20, 0, tzinfo=UTC)
"""In UTC still October, in Seoul November."""


async def detached(sessions: Sessions, month: Month = OCTOBER, **how: Any) -> None:
    async with sessions.begin() as session:
        await detach(session, month, LATER, finished_months, **how)


async def attached(sessions: Sessions, month: Month = OCTOBER) -> int:
    async with sessions.begin() as session:
        return await attach(session, month, LATER)


async def two_closed_months(sessions: Sessions) -> tuple[str, list[Settled]]:
    """An account's calls of October (UTC), of which one is of November where the account is; both months closed."""
    acc = await account(sessions)
    calls = [call(acc, (100 + at, 0, 7, 0, 0)) for at in range(20)] + [call(acc, at=BORDER)]
    await book(sessions, *calls)
    await close(sessions, OCTOBER, CLOSING)
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    return acc, calls


async def of_month(sessions: Sessions, account_id: str) -> tuple[int, Decimal]:
    async with sessions() as session:
        _, total = await usage(session, *OCTOBER.bounds(ZONE), account_id=account_id, zone=ZONE)
    return total.calls, total.cost


async def entries(sessions: Sessions) -> int:
    async with sessions() as session:
        return (await session.execute(select(func.count()).select_from(LedgerEntry))).scalar_one()


async def test_a_detached_month_keeps_its_usage_its_rollups_and_its_proof(sessions: Sessions) -> None:
    acc, calls = await two_closed_months(sessions)
    before = await of_month(sessions, acc)
    async with sessions() as session:
        root = await proof_root(session, acc, "2026-10")
    await detached(sessions)
    assert (await entries(sessions), await of_month(sessions, acc)) == (0, before)
    async with sessions() as session:
        [kept] = [each for each in await kept_months(session) if each.month == OCTOBER]
        [proof], cursor = await verify(session, "2026-10", None, "", 1000)
        assert await check_rollups(session, OCTOBER) == Differences(0, 0)
        assert await count_accounts(session, "2026-10") == 1
    assert (kept.month, kept.attached, kept.table_there, kept.entries) == (OCTOBER, False, True, len(calls))
    assert kept.booked == {"2026-10": 20, "2026-11": 1}
    assert (proof.holds, proof.root, proof.entries_found, cursor) == (True, root, 20, None)


async def test_what_would_show_a_part_for_the_whole_is_refused_while_the_month_is_detached(sessions: Sessions) -> None:
    acc, _ = await two_closed_months(sessions)
    await detached(sessions)
    async with sessions() as session:
        with pytest.raises(MonthDetached, match="2026-10"):
            await page_calls(session, "2026-11", acc, None, 10)
        with pytest.raises(MonthDetached):
            await usage(session, MID_OCTOBER, MID_OCTOBER + timedelta(minutes=7), account_id=acc)
        assert await calls_since(session, ["a-model-nobody-used"], MID_OCTOBER, None)
        assert not await calls_since(session, ["a-model-nobody-used"], LATER, None)
        await session.execute(text("DROP TABLE ledger_entry_202610"))
        with pytest.raises(MonthDetached):
            await verify(session, "2026-10", None, "", 1000)


async def test_a_month_comes_back_with_what_came_too_late_for_it(sessions: Sessions) -> None:
    acc, calls = await two_closed_months(sessions)
    before = await of_month(sessions, acc)
    await detached(sessions)
    late = call(acc, (5, 0, 5, 0, 0), grants=(("gra_1", "output", 2),))
    async with sessions.begin() as session:
        told = [await append(session, [late, calls[0]], LATER), await append(session, [late], LATER)]
    assert [(each.changed, each.refused) for each in told] == [(0, 2), (0, 0)]
    async with sessions() as session:
        kept = await late_records(session, 10)
        [month] = [each for each in await kept_months(session) if each.month == OCTOBER]
    assert {row.call_id for row in kept} == {late.record.uuid, calls[0].record.uuid}
    assert month.late == 2
    assert await attached(sessions) == 1  # the other one was in the ledger all the time
    assert await entries(sessions) == len(calls) + 1
    async with sessions() as session:
        assert await late_records(session, 10) == []
        assert await check_rollups(session, OCTOBER) == Differences(0, 0)
        rows, _ = await page_calls(session, "2026-12", acc, None, 10)
        _, total = await usage(session, *OCTOBER.bounds(ZONE), account_id=acc, zone=ZONE)
    assert [(row["call_id"], row["granted_output_tokens"]) for row in rows] == [(late.record.call_id, 2)]
    assert total.calls == before[0] + 1


@pytest.mark.parametrize("empty_table", [False, True])
async def test_a_month_that_something_rests_on_is_not_detached(sessions: Sessions, empty_table: bool) -> None:
    """The tables of months stay where other tests have been: one without entries is as good as none."""
    acc = await account(sessions)
    async with sessions.begin() as session:
        made = "SELECT ledger_partition(202609)" if empty_table else "DROP TABLE IF EXISTS ledger_entry_202609"
        await session.execute(text(made))
    await book(sessions, call(acc), call(acc, at=BORDER))
    refusals: dict[str, dict[str, Any]] = {
        "is not closed": {},
        "months from 2025-10 on stay": {"keep_months": 18},
        "holds no entries of 2026-09": {"month": Month(2026, 9)},
    }
    for says, how in refusals.items():
        with pytest.raises(retention.RetentionRefused, match=says):
            await detached(sessions, **how)
    await close(sessions, OCTOBER, CLOSING)
    with pytest.raises(retention.MonthInUse, match="booked into 2026-11, which is not closed"):
        await detached(sessions)
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    async with sessions() as reader:
        await reader.execute(select(LedgerEntry))
        with pytest.raises(retention.MonthInUse, match="being read"):
            await detached(sessions, lock_wait_s=1)
    await detached(sessions)
    with pytest.raises(retention.NotInLedger):
        await detached(sessions)


async def test_a_table_that_is_not_what_was_detached_is_not_attached(sessions: Sessions) -> None:
    acc, _ = await two_closed_months(sessions)
    with pytest.raises(retention.NotDetached):
        await attached(sessions)
    await detached(sessions)
    for spoil in ("UPDATE ledger_entry_202610 SET cost = 0 WHERE place = 3 AND booked_month = '2026-10'", "DROP TABLE"):
        async with sessions.begin() as session:
            await session.execute(text("DROP TABLE ledger_entry_202610" if spoil == "DROP TABLE" else spoil))
        with pytest.raises(retention.TableGone if spoil == "DROP TABLE" else retention.EntriesDiffer):
            await attached(sessions)
    async with sessions() as session:
        [kept] = [each for each in await kept_months(session) if each.month == OCTOBER]
    assert (kept.table_there, kept.entries, acc != "") == (False, 21, True)


async def test_appending_while_a_month_is_detached_loses_and_doubles_nothing(sessions: Sessions) -> None:
    acc, calls = await two_closed_months(sessions)
    more = [call(acc, at=MID_OCTOBER + timedelta(seconds=at)) for at in range(30)]

    async def appending(item: Settled) -> int:
        async with sessions.begin() as session:
            return (await append(session, [item], LATER)).changed

    results = await asyncio.gather(
        *map(appending, more[:15]), detached(sessions), *map(appending, more[15:]), return_exceptions=True
    )
    faults = [each for each in results if isinstance(each, BaseException)]
    assert all(isinstance(fault, retention.MonthInUse) for fault in faults)  # booked into the open month meanwhile
    async with sessions() as session:
        kept = {row.call_id for row in await late_records(session, 100)}
        stands = set((await session.execute(text(f"SELECT call_id FROM {ENTRIES if faults else TABLE}"))).scalars())  # noqa: S608 - below
    assert kept | stands == {item.record.uuid for item in [*calls, *more]}
    assert not kept & stands


ENTRIES, TABLE = "ledger_entry", "ledger_entry_202610"


async def test_a_proof_that_its_entries_do_not_lead_to_is_named(sessions: Sessions) -> None:
    for name in ("acc_a", "acc_b", "acc_c"):
        await book(sessions, *(call(name) for _ in range(4)))
    async with sessions.begin() as session:
        await session.execute(
            text("UPDATE ledger_entry SET output_tokens = 1 WHERE account_id = 'acc_b' AND place = 2")
        )
        await session.execute(text("DELETE FROM ledger_entry WHERE account_id = 'acc_c' AND place = 4"))
    found, after = [], ""
    async with sessions() as session:
        while True:
            part, cursor = await verify(session, "2026-10", None, after, 1)
            found += part
            if cursor is None:
                break
            after = cursor
    assert [(each.account_id, each.holds, each.entries_found) for each in found] == [
        ("acc_a", True, 4),
        ("acc_b", False, 4),
        ("acc_c", False, 3),
    ]
