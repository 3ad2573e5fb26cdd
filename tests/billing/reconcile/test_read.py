"""What the ledger expects upstream to ask for, read from a real Postgres and summed a second time from the calls."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest

from billing.database import Sessions
from billing.ledger.entry import Settled
from billing.ledger.record import ORPHANED
from billing.ledger.tables import DetachedMonth
from billing.periods import Month, zone_of
from billing.reconcile.compare import compare
from billing.reconcile.read import MonthDetached, absorbed_in, expected_of, newest_export
from billing.reconcile.sides import Expected
from billing.reconcile.store import add_export
from billing.reconcile.usage_export import from_wire_export
from tests.billing.months import ACTOR, MID_OCTOBER, book, call
from tests.billing.reconcile.worlds import FIRST, Call, export_of, text_of

BUY = ("0.30", "0.06", "1.20", "0", "0")
OCTOBER = Month(2026, 10)
LATE_S = 900


def settled(rng: random.Random, account: str = "acc_1") -> Settled:
    """A call somewhere around October: some were estimated, some cut off, some took several attempts."""
    at = datetime(2026, 9, 30, tzinfo=UTC) + timedelta(minutes=rng.randrange(33 * 24 * 60))
    made = call(account, (rng.randrange(1000), rng.randrange(1000), rng.randrange(1000), 0, 0), at=at)
    record = msgspec.structs.replace(
        made.record,
        estimated_reason=rng.choice([None, None, "client hung up"]),
        attempts=rng.choice([1, 1, 1, 3]),
        absorbed=(0, 0, rng.choice([0, 0, 77]), 0, 0),
        absorbed_reason="beyond the cap",
        buy_prices=rng.choice([BUY, ("0.30", "0.06", "2.40", "0", "0")]),
    )
    return Settled(record)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul"])
async def test_it_is_the_sum_of_the_calls_of_each_day_of_a_zone(sessions: Sessions, zone: str) -> None:
    rng = random.Random(7)
    calls = [settled(rng) for _ in range(400)]
    await book(sessions, *calls)
    async with sessions() as session:
        found = {each.day: each for each in await expected_of(session, OCTOBER, zone, LATE_S)}
        absorbed = await absorbed_in(session, OCTOBER, zone)
    days: dict[date, list[Settled]] = defaultdict(list)
    for each in calls:
        days[each.record.accepted_at.astimezone(zone_of(zone)).date()].append(each)
    inside = {day: of for day, of in days.items() if (day.year, day.month) == (2026, 10)}
    assert found.keys() == inside.keys()
    for day, of in inside.items():
        assert _plain(found[day]) == _recounted(of)
        assert found[day].worth == sum((_worth(each) for each in of), Fraction(0))
    assert absorbed.calls == sum(len(of) for of in inside.values())
    assert Fraction(absorbed.usd) == sum(
        n.record.absorbed[2] * Fraction((n.record.buy_prices or BUY)[2]) / 10**6 for of in inside.values() for n in of
    )


def _plain(each: Expected) -> tuple[int, ...]:
    return (each.calls, each.estimated_calls, each.lost_attempts, *each.counts, *each.estimated_counts)


def _recounted(of: list[Settled]) -> tuple[int, ...]:
    exact = [each.record for each in of if each.record.estimated_reason is None]
    guessed = [each.record for each in of if each.record.estimated_reason is not None]
    sums = [[sum(r.usage[k] + r.absorbed[k] for r in group) for k in range(5)] for group in (exact, guessed)]
    return (len(exact), len(guessed), sum(each.record.attempts - 1 for each in of), *sums[0], *sums[1])


def _worth(each: Settled) -> Fraction:
    record = each.record
    served = [used + more for used, more in zip(record.usage, record.absorbed, strict=True)]
    return sum((n * Fraction(p) / 10**6 for n, p in zip(served, record.buy_prices or BUY, strict=True)), Fraction(0))


async def test_a_replaced_estimate_is_one_exact_call(sessions: Sessions) -> None:
    made = call("acc_1", (1000, 0, 100, 0, 0))
    exact = msgspec.structs.replace(made.record, buy_prices=BUY)
    estimate = msgspec.structs.replace(exact, estimated_reason=ORPHANED, usage=(900, 0, 0, 0, 0))
    await book(sessions, Settled(estimate))
    await book(sessions, Settled(exact))
    async with sessions() as session:
        (found,) = await expected_of(session, OCTOBER, "UTC", LATE_S)
    assert (found.calls, found.counts, found.estimated_calls) == (1, (1000, 0, 100, 0, 0), 0)
    assert found.estimated_counts == (0, 0, 0, 0, 0)


async def test_calls_of_the_last_quarter_of_an_hour_of_a_day_may_be_the_next_days(sessions: Sessions) -> None:
    at = datetime(2026, 10, 5, 15, 0, tzinfo=UTC)  # midnight in Seoul
    for seconds in (-901, -900, -1, 0):
        await book(sessions, call("acc_1", (1, 0, 0, 0, 0), at=at + timedelta(seconds=seconds)))
    async with sessions() as session:
        found = await expected_of(session, OCTOBER, "Asia/Seoul", LATE_S)
    assert [(each.day.day, each.calls, each.late_calls, each.late_counts[0]) for each in found] == [
        (5, 3, 2, 2),
        (6, 1, 0, 0),
    ]
    assert found[0].prices is None


async def test_a_month_whose_entries_have_left_the_ledger_is_not_compared(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        session.add(DetachedMonth(partition_month=202610, detached_at=MID_OCTOBER))
    async with sessions() as session:
        with pytest.raises(MonthDetached, match="202610"):
            await expected_of(session, OCTOBER, "UTC", LATE_S)


async def test_of_two_exports_of_a_month_the_newer_counts_and_both_are_kept(sessions: Sessions) -> None:
    calls = [Call(FIRST, "", "solar-pro4", (1000, 10, 100, 0, 0))]
    texts = [text_of(export_of(calls, places)) for places in (2, 9)]
    for number, csv in enumerate(texts):
        async with sessions.begin() as session:
            await add_export(session, OCTOBER, "UTC", csv, ACTOR, MID_OCTOBER + timedelta(seconds=number))
    async with sessions() as session:
        row = await newest_export(session, OCTOBER)
        assert await newest_export(session, OCTOBER.next()) is None
    assert row is not None
    assert (row.csv, row.rows) == (texts[1], 1)
    known = Expected(FIRST, "", "solar-pro4", 1, (1000, 10, 100, 0, 0), prices=tuple(Fraction(p) for p in BUY))
    assert compare([replace(known)], from_wire_export(row.csv, OCTOBER)).findings == ()
