"""Rollups are right in the transaction that writes the entries: against a second count in fractions, and against the full sum."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import text

from billing.database import Sessions
from billing.ledger.entry import Settled
from billing.ledger.rollups import Differences, booked_sums, check_rollups
from billing.ledger.usage import UsageSum, usage
from billing.periods import Month, zone_of
from tests.billing.months import CLOSING, OCTOBER, PRICES, account, book, call, close
from tests.billing.recount import PlainCall, bills

ZONES = ("Asia/Seoul", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "UTC")
MODELS = ("solar-pro4", "solar-mini4")
BUY = ("0.2", "0.05", "1", "0", "0")


def some_calls(rng: random.Random, count: int) -> list[Settled]:
    """Calls of accounts in many zones, around the borders of two months and between."""
    made = []
    for _ in range(count):
        index = rng.randrange(8)
        zone = ZONES[index % len(ZONES)]
        at = datetime(2026, 9, 30, 0, 0, tzinfo=UTC) + timedelta(seconds=rng.randrange(34 * 86_400), milliseconds=1)
        if rng.random() < 0.3:  # close to somebody's midnight
            at = at.replace(hour=rng.choice([3, 4, 13, 15, 18]), minute=rng.choice([0, 14, 15, 29, 30, 45]), second=0)
        used = (rng.randrange(1, 3000), rng.randrange(500), rng.randrange(1, 900), rng.choice([0, 0, 3]), 0)
        settled = call(
            f"acc_{index}", used, at=at, zone=zone, model=rng.choice(MODELS), discount=rng.choice(["0", "0.1"])
        )
        record = msgspec.structs.replace(
            settled.record,
            key_id=f"key_{rng.randrange(2)}",
            buy_prices=BUY if rng.random() < 0.7 else None,
            estimated_reason=rng.choice([None, None, "client hung up", "worker lost"]),
        )
        made.append(Settled(record, (("gra_1", "output", 1),) if rng.random() < 0.2 else ()))
        if record.is_orphan and rng.random() < 0.5:
            made.append(Settled(msgspec.structs.replace(record, usage=(9, 9, 9, 0, 0), estimated_reason=None)))
    rng.shuffle(made)
    return made


async def book_in_batches(sessions: Sessions, rng: random.Random, calls: list[Settled]) -> list[Settled]:
    """Book them, a part of them twice; gives what stands in the end."""
    for at in range(0, len(calls), 40):
        await book(sessions, *calls[at : at + 40], *rng.sample(calls[: at + 1], min(at + 1, 5)))
    standing: dict[str, Settled] = {}
    for item in calls:
        if item.record.call_id not in standing or not item.record.is_orphan:
            standing[item.record.call_id] = item
    return list(standing.values())


def local_day(item: Settled, zone: str) -> str:
    return item.record.accepted_at.astimezone(ZoneInfo(zone)).date().isoformat()


def fractions_of(
    items: Iterable[Settled], group: Callable[[Settled], str]
) -> dict[str, tuple[int, int, int, Fraction]]:
    """Calls, estimated ones, pages and cost by group, reckoned without the ledger."""
    found: dict[str, list[Settled]] = defaultdict(list)
    for item in items:
        found[group(item)].append(item)
    sums = {}
    for name, of_group in found.items():
        plain = [
            PlainCall(name, "", item.record.usage, tuple_of(item), item.record.prices, item.record.discount)
            for item in of_group
        ]
        estimated = sum(item.record.estimated_reason is not None for item in of_group)
        cost = sum(bills(plain)[name].by_model.values(), Fraction(0))
        sums[name] = (len(of_group), estimated, sum(item.record.usage[3] for item in of_group), cost)
    return sums


def tuple_of(item: Settled) -> tuple[int, int, int]:
    return item.granted.input_tokens, item.granted.cached_input_tokens, item.granted.output_tokens


def shown(groups: list[UsageSum]) -> dict[str, tuple[int, int, int, Fraction]]:
    return {str(g.group): (g.calls, g.estimated_calls, g.pages, Fraction(g.cost)) for g in groups}


@pytest.mark.parametrize("seed", range(3))
async def test_usage_of_every_zone_and_group_equals_a_count_in_fractions(sessions: Sessions, seed: int) -> None:
    rng = random.Random(seed)
    standing = await book_in_batches(sessions, rng, some_calls(rng, 250))
    by: dict[str, Callable[[Settled], str]] = {
        "model": lambda item: item.record.model,
        "key": lambda item: item.record.key_id,
        "account": lambda item: item.record.account_id,
    }
    for zone in ZONES:
        by["day"] = partial(local_day, zone=zone)
        start, end = datetime(2026, 10, 1, tzinfo=zone_of(zone)), datetime(2026, 10, 31, tzinfo=zone_of(zone))
        inside = [item for item in standing if start <= item.record.accepted_at < end]
        for account_id in (None, "acc_0", "acc_2"):
            own = [item for item in inside if account_id in (None, item.record.account_id)]
            for group_by, group in by.items():
                async with sessions() as session:
                    groups, total = await usage(
                        session, start, end, account_id=account_id, group_by=group_by, zone=zone
                    )
                assert shown(groups) == fractions_of(own, group), (zone, account_id, group_by)
                assert (total.calls, Fraction(total.cost)) == (len(own), sum(Fraction(g.cost) for g in groups))


async def test_an_interval_that_is_not_one_of_days_is_summed_from_the_entries(sessions: Sessions) -> None:
    rng = random.Random(5)
    standing = await book_in_batches(sessions, rng, some_calls(rng, 120))
    start, end = datetime(2026, 10, 3, 4, 7, 1, tzinfo=UTC), datetime(2026, 10, 20, 0, 0, 5, tzinfo=UTC)
    inside = [item for item in standing if start <= item.record.accepted_at < end]
    async with sessions() as session:
        groups, _ = await usage(session, start, end, group_by="model", zone="Asia/Seoul")
        own, _ = await usage(session, start, end, account_id="acc_1", group_by="model", zone="Asia/Seoul")
    assert shown(groups) == fractions_of(inside, lambda item: item.record.model)
    of_one = [item for item in inside if item.record.account_id == "acc_1"]
    assert shown(own) == fractions_of(of_one, lambda item: item.record.model)


async def test_rollups_agree_with_the_full_sum_and_a_difference_is_found(sessions: Sessions) -> None:
    rng = random.Random(7)
    await book_in_batches(sessions, rng, some_calls(rng, 300))
    months = [Month(2026, 9), OCTOBER, Month(2026, 11)]
    async with sessions() as session:
        assert [await check_rollups(session, month) for month in months] == [Differences(0, 0)] * 3
    spoils = {
        "UPDATE ledger_day SET cost = cost + 0.000000001 WHERE day = '2026-10-10'": (True, False),
        "DELETE FROM ledger_slot WHERE slot = (SELECT max(slot) FROM ledger_slot WHERE slot < '2026-10-20Z')": (
            False,
            True,
        ),
        "DELETE FROM ledger_entry WHERE day = '2026-10-12'": (True, True),
        'INSERT INTO ledger_slot SELECT (jsonb_populate_record(s, \'{"model":"no"}\')).* FROM ledger_slot s '
        "WHERE slot = (SELECT max(slot) FROM ledger_slot WHERE slot < '2026-10-20Z')": (False, True),
    }
    for spoil, expected in spoils.items():
        async with sessions() as session:
            await session.execute(text(spoil))
            found = await check_rollups(session, OCTOBER)
            assert (found.days > 0, found.slots > 0) == expected, spoil


async def test_what_is_booked_into_a_month_stands_by_price_and_month_of_the_call(sessions: Sessions) -> None:
    acc = await account(sessions)
    dear = ("0.60", "0.06", "1.20", "0.01", "0.03")
    calls = [call(acc, (100, 10, 5, 2, 0)), call(acc, (1, 0, 0, 0, 1)), call(acc, (7, 0, 0, 0, 0), prices=dear)]
    calls.append(Settled(call(acc, (50, 0, 40, 0, 0), discount="0.1").record, (("gra_1", "output", 40),)))
    await book(sessions, *calls)
    await close(sessions, OCTOBER, CLOSING)
    await book(sessions, call(acc, (3, 0, 0, 0, 0)), at=CLOSING)
    async with sessions() as session:
        october = await booked_sums(session, "2026-10")
        assert await booked_sums(session, "2026-10", acc) == october
        assert await booked_sums(session, "2026-10", "acc_none") == []
        late = await booked_sums(session, "2026-11")
    assert {(str(row.discount), str(row.prices.input), row.used, row.granted, row.calls) for row in october} == {
        ("0", PRICES[0], (101, 10, 5, 2, 1), (0, 0, 0, 0, 0), 2),
        ("0", "0.60", (7, 0, 0, 0, 0), (0, 0, 0, 0, 0), 1),
        ("0.1", PRICES[0], (50, 0, 40, 0, 0), (0, 0, 40, 0, 0), 1),
    }
    assert [(row.booked_month, row.billing_month, row.used[0]) for row in late] == [("2026-11", "2026-10", 3)]


async def test_days_are_those_of_the_account_and_its_zone(sessions: Sessions) -> None:
    at = datetime(2026, 10, 10, 18, 20, tzinfo=UTC)
    await book(sessions, call("acc_np", at=at, zone="Asia/Kathmandu"), call("acc_us", at=at, zone="America/New_York"))
    async with sessions() as session:
        rows = await session.execute(text("SELECT account_id, day FROM ledger_day"))
        days = {row.account_id: row.day for row in rows}
    assert days == {"acc_np": date(2026, 10, 11), "acc_us": date(2026, 10, 10)}
