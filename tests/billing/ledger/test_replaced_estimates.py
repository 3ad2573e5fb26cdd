"""A late settlement replaces an orphan's estimate: one call in every count, whatever the order and however often it is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel, col, func, select

from billing.database import Sessions
from billing.ledger.entry import Settled, exact_id, reversal_id
from billing.ledger.read import grant_use, totals_of
from billing.ledger.record import UsageRecord, from_wire_record, to_wire_record
from billing.ledger.tables import LedgerEntry, LedgerGrantUse
from billing.ledger.usage import usage
from tests.billing.months import (
    CLOSING,
    MID_NOVEMBER,
    MID_OCTOBER,
    NOVEMBER,
    OCTOBER,
    PRICES,
    account,
    book,
    call,
    close,
)

KINDS = ("output", "input")
counts = st.integers(9, 5000)  # a grant never pays for more than was used


def estimate_of(settled: Settled, usage: tuple[int, int, int, int, int], grants: Any = ()) -> Settled:
    """What the sweep would have booked for this call."""
    record = msgspec.structs.replace(settled.record, usage=usage, estimated_reason="worker lost")
    return Settled(record, grants)


@st.composite
def calls_with_estimates(draw: st.DrawFn) -> tuple[list[Settled], list[list[Settled]]]:
    """Calls, each known by its settlement, its estimate or both, and batches in which they are delivered."""
    deliveries: list[Settled] = []
    for _ in range(draw(st.integers(1, 4))):
        used = (draw(counts), draw(counts), draw(counts), 0, 0)
        given = tuple((f"gra_{kind}", kind, draw(st.integers(1, 9))) for kind in KINDS if draw(st.booleans()))
        exact = call("acc_1", used, discount=draw(st.sampled_from(["0", "0.1"])), grants=given)
        took = ((("gra_input", "input", draw(st.integers(1, 9))),)) if draw(st.booleans()) else ()
        estimate = estimate_of(exact, (draw(counts), 0, draw(counts), 0, 0), took)
        known = draw(st.sampled_from([[exact], [estimate], [exact, estimate]]))
        deliveries += [each for each in known for _ in range(draw(st.integers(1, 3)))]
    order = draw(st.permutations(deliveries))
    size = draw(st.integers(1, 4))
    return deliveries, [order[at : at + size] for at in range(0, len(order), size)]


def truth(deliveries: Sequence[Settled]) -> dict[str, Any]:
    """What the ledger must come to, reckoned from the settlements (or estimates, where there is no settlement) in fractions."""
    best: dict[str, Settled] = {}
    for item in deliveries:
        if item.record.call_id not in best or not item.record.is_orphan:
            best[item.record.call_id] = item
    cost, grants = Fraction(0), dict[str, int]()
    for item in best.values():
        paid = dict(zip(("input", "cached_input", "output"), item.record.usage[:3], strict=True))
        for grant, kind, tokens in item.grants:
            paid[kind] -= tokens
            grants[grant] = grants.get(grant, 0) + tokens
        prices = dict(zip(("input", "cached_input", "output"), PRICES[:3], strict=True))
        list_cost = sum(paid[kind] * Fraction(prices[kind]) / 1_000_000 for kind in paid)
        cost += list_cost * (1 - Fraction(item.record.discount))
    return {
        "calls": len(best),
        "estimated": sum(item.record.is_orphan for item in best.values()),
        "output": sum(item.record.usage[2] for item in best.values()),
        "cost": cost,
        "grants": {grant: tokens for grant, tokens in grants.items() if tokens},
    }


async def ledger(sessions: Sessions) -> dict[str, Any]:
    async with sessions() as session:
        groups, total = await usage(session, *OCTOBER.bounds("UTC"), account_id="acc_1", group_by="model")
        used = await grant_use(session, [f"gra_{kind}" for kind in KINDS])
        totals = await totals_of(session, "acc_1")
    assert sum(group.calls for group in groups) == total.calls
    assert sum(Fraction(each.cost) for each in totals.values()) == Fraction(total.cost)
    return {
        "calls": total.calls,
        "estimated": total.estimated_calls,
        "output": total.output_tokens,
        "cost": Fraction(total.cost),
        "grants": {grant: tokens for grant, tokens in used.items() if tokens},
    }


async def emptied(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        for name in ("ledger_entry", "ledger_grant_use", "ledger_total", "ledger_day", "ledger_slot"):
            await session.execute(SQLModel.metadata.tables[name].delete())


async def entries(sessions: Sessions) -> list[LedgerEntry]:
    async with sessions() as session:
        return list((await session.execute(select(LedgerEntry).order_by(col(LedgerEntry.entry_id)))).scalars())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls_with_estimates())
async def test_whatever_the_order_and_the_repeats_the_ledger_comes_to_the_same(
    sessions: Sessions, drawn: tuple[list[Settled], list[list[Settled]]]
) -> None:
    await emptied(sessions)
    deliveries, batches = drawn
    for batch in batches:
        await book(sessions, *batch)
    assert await ledger(sessions) == truth(deliveries)
    known = [(entry.entry_id, entry.cost) for entry in await entries(sessions)]
    assert [await book(sessions, *batch) for batch in batches] == [0] * len(batches)
    assert [(entry.entry_id, entry.cost) for entry in await entries(sessions)] == known


async def test_a_settlement_after_the_estimate_stands_beside_it_and_its_reversal(sessions: Sessions) -> None:
    exact = call("acc_1", (100, 0, 50, 0, 0), grants=(("gra_1", "output", 50),))
    estimate = estimate_of(exact, (80, 0, 20, 0, 0), (("gra_1", "output", 20), ("gra_2", "input", 80)))
    assert [await book(sessions, estimate), await book(sessions, exact)] == [1, 1]
    by_id = {entry.entry_id: entry for entry in await entries(sessions)}
    call_id = exact.record.uuid
    assert set(by_id) == {call_id, reversal_id(call_id), exact_id(call_id)}
    first, reversal, last = by_id[call_id], by_id[reversal_id(call_id)], by_id[exact_id(call_id)]
    assert {entry.partition_month for entry in by_id.values()} == {202610}
    assert (reversal.kind, reversal.reverses, reversal.cost) == ("reversal", call_id, -first.cost)
    assert (reversal.input_tokens, reversal.granted_output_tokens) == (-80, -20)
    assert (last.kind, last.reverses, last.estimated_reason, last.output_tokens) == ("call", None, None, 50)
    async with sessions() as session:
        assert await grant_use(session, ["gra_1", "gra_2"]) == {"gra_1": 50, "gra_2": 0}
        uses = (await session.execute(select(func.count(col(LedgerGrantUse.entry_id))))).scalar_one()
    assert uses == 5


async def test_an_estimate_after_the_settlement_changes_nothing(sessions: Sessions) -> None:
    exact = call("acc_1", (100, 0, 50, 0, 0))
    assert [await book(sessions, exact), await book(sessions, estimate_of(exact, (80, 0, 0, 0, 0)))] == [1, 0]
    (entry,) = await entries(sessions)
    assert (entry.estimated_reason, entry.input_tokens) == (None, 100)


async def test_a_settlement_after_the_close_leaves_the_closed_month_as_it_is(sessions: Sessions) -> None:
    acc = await account(sessions)
    exact = call(acc, (1000, 0, 500, 0, 0))
    await book(sessions, estimate_of(exact, (1000, 0, 0, 0, 0)))
    await close(sessions, OCTOBER, CLOSING)
    await book(sessions, exact, at=MID_NOVEMBER)
    async with sessions() as session:
        october = await sum_booked(session, str(OCTOBER))
        november = await sum_booked(session, str(NOVEMBER))
    assert (october, november) == (Fraction("0.0003"), Fraction("0.0006"))


async def sum_booked(session: Any, month: str) -> Fraction:
    query = select(func.sum(LedgerEntry.cost)).where(col(LedgerEntry.booked_month) == month)
    return Fraction((await session.execute(query)).scalar_one())


async def test_drains_that_meet_replace_an_estimate_once(sessions: Sessions) -> None:
    exact = [call("acc_1", (100, 0, 50, 0, 0)) for _ in range(20)]
    await book(sessions, *(estimate_of(each, (80, 0, 0, 0, 0)) for each in exact))
    assert sum(await asyncio.gather(*(book(sessions, *exact[at:], *exact[:at]) for at in (0, 7, 13)))) == 20
    assert (await ledger(sessions))["calls"] == 20
    assert len(await entries(sessions)) == 60


async def test_what_upstream_served_beyond_the_charge_is_never_charged(sessions: Sessions) -> None:
    settled = call("acc_1", (100, 0, 50, 0, 0))
    record = msgspec.structs.replace(
        settled.record,
        absorbed=(0, 0, 1000, 0, 0),
        absorbed_reason="cap reached",
        buy_prices=("0.20", "0.05", "1.00", "0", "0"),
    )
    await book(sessions, Settled(record))
    (entry,) = await entries(sessions)
    assert (entry.absorbed_output_tokens, entry.absorbed_reason) == (1000, "cap reached")
    assert (Fraction(entry.cost), Fraction(entry.list_cost)) == (Fraction("0.00009"), Fraction("0.00009"))
    assert (entry.buy_cost, entry.absorbed_buy_cost) == (Decimal("0.00007"), Decimal("0.001"))


def test_a_record_of_before_these_fields_still_decodes() -> None:
    record = call("acc_1", zone="UTC").record
    older: list[Any] = msgspec.json.decode(to_wire_record(record))[:17]
    assert from_wire_record(msgspec.json.encode(older)) == record
    assert isinstance(record, UsageRecord)
    assert (record.absorbed, record.absorbed_reason, record.buy_prices) == ((0, 0, 0, 0, 0), None, None)


def test_derived_ids_keep_the_month_of_their_call_and_differ_from_it() -> None:
    for _ in range(50):
        call_id = call("acc_1", at=MID_OCTOBER).record.uuid
        ids = {call_id, reversal_id(call_id), exact_id(call_id)}
        assert len(ids) == 3
        assert {each.version for each in ids} == {7}
        assert {each.int >> 80 for each in ids} == {call_id.int >> 80}
