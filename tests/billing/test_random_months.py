"""Random months: whatever order, delay and duplication the same settlements come in, the bills come to the same net."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlmodel import SQLModel

from billing.database import Sessions
from billing.invoice.read import invoices_of
from billing.ledger.entry import Settled
from billing.money import minor_unit
from tests.billing.months import CLOSING, CLOSING_NOVEMBER, NOVEMBER, account, book, call, close, krw_rate

BEGIN = datetime(2026, 10, 10, tzinfo=UTC)
Line = tuple[str, str, str, Decimal, bool]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[tuple[int, Settled]], list[list[int]], list[list[int]]]:
    """Calls of two accounts (by number); batches of them before October's close, and after it: each call is in one at least."""
    calls = []
    for number in range(draw(st.integers(1, 6))):
        counts = (
            draw(st.integers(0, 10**7)),
            draw(st.integers(0, 10**6)),
            draw(st.integers(0, 10**7)),
            0,
            draw(st.integers(0, 3)),
        )
        granted = draw(st.integers(0, counts[2]))
        made = call(
            "",
            counts,
            at=BEGIN + timedelta(hours=number),
            discount=draw(st.sampled_from(["0", "0.1", "0.123456"])),
            model=draw(st.sampled_from(["solar-pro4", "solar-mini"])),
            grants=(("gra_1", "output", granted),) if granted else (),
        )
        calls.append((draw(st.integers(0, 1)), made))
    places = st.lists(st.lists(st.integers(0, len(calls) - 1), max_size=4), max_size=3)
    early, late = draw(places), draw(places)
    late.append(draw(st.permutations(range(len(calls)))))
    return calls, early, late


async def net(sessions: Sessions, payers: Sequence[str]) -> dict[Line, Fraction]:
    """Exact dollars by line over both months; each line's amount is within half a unit of what it says exactly, and they sum up."""
    sums: dict[Line, Fraction] = defaultdict(Fraction)
    async with sessions() as session:
        for month in ("2026-10", "2026-11"):
            for each in await invoices_of(session, month):
                unit = Fraction(minor_unit(each.invoice.currency))
                for line in each.lines:
                    who = str(payers.index(each.invoice.account_id))
                    sums[who, line.model, line.kind, line.discount, line.granted] += Fraction(line.exact_usd)
                    assert abs(Fraction(line.amount) - Fraction(line.exact_amount)) <= unit / 2
                assert sum((line.amount for line in each.lines), Decimal(0)) == each.invoice.subtotal
                assert each.invoice.subtotal + each.invoice.tax == each.invoice.total
    return {line: usd for line, usd in sums.items() if usd}


async def emptied(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            await session.execute(table.delete())


async def bills(
    sessions: Sessions,
    calls: Sequence[tuple[int, Settled]],
    early: Sequence[Sequence[int]],
    late: Sequence[Sequence[int]],
) -> dict[Line, Fraction]:
    await emptied(sessions)
    payers = [await account(sessions), await account(sessions, currency="KRW", tax_country="KR")]
    await krw_rate(sessions, datetime(2026, 10, 31, tzinfo=UTC).date(), "1385.5")
    await krw_rate(sessions, datetime(2026, 11, 30, tzinfo=UTC).date(), "1399.75")
    settled = [Settled(replace(made.record, account_id=payers[who]), made.grants) for who, made in calls]
    for batch in early:
        await book(sessions, *(settled[place] for place in batch), at=CLOSING - timedelta(hours=1))
    await close(sessions)
    for batch in late:
        await book(sessions, *(settled[place] for place in batch), at=CLOSING)
    await close(sessions, NOVEMBER, CLOSING_NOVEMBER)
    return await net(sessions, payers)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries())
async def test_any_order_delay_or_duplication_of_the_same_calls_gives_the_same_net(
    sessions: Sessions, drawn: tuple[list[tuple[int, Settled]], list[list[int]], list[list[int]]]
) -> None:
    calls, early, late = drawn
    in_order = await bills(sessions, calls, [list(range(len(calls)))], [])
    assert await bills(sessions, calls, early, late) == in_order
    assert sum(in_order.values(), Fraction(0)) == sum((_usd(made) for _, made in calls), Fraction(0))


def _usd(made: Settled) -> Fraction:
    """A call's cost, straight from its record."""
    record = made.record
    granted = sum(tokens for _, _, tokens in made.grants)
    counts = (record.usage[0], record.usage[1], record.usage[2] - granted, *record.usage[3:])
    scales = (10**6, 10**6, 10**6, 1, 1)
    list_price = sum((n * Fraction(p) / s for n, p, s in zip(counts, record.prices, scales, strict=True)), Fraction(0))
    return list_price * (1 - Fraction(record.discount))
