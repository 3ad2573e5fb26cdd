"""What the journal writes as text is what a reader gets as a row: field by field, leaf by leaf, sum by sum; through a real COPY."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from billing.database import Sessions
from billing.ledger.entry import Settled, entry_of, exact_of, reversal_of
from billing.ledger.lines import COLUMNS, DAY_COLUMNS, SLOT_COLUMNS, Sums, leaf_of_entry, plain_units
from billing.ledger.proof import leaf_of, plain
from billing.ledger.tables import LedgerEntry
from billing.money import shift
from tests.billing.ledger.rows import row_of
from tests.billing.months import MID_OCTOBER, book, call

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["\\N", "\\", "a\tb", "c\nd\r", '"', "한\\t빛", ""]
)
instants = st.integers(0, 10**15).map(lambda us: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
prices = st.tuples(*[st.decimals(0, 1000, places=12).map(str)] * 5)
counts = st.tuples(*[st.integers(0, 10**7)] * 5)


@st.composite
def settlements(draw: st.DrawFn) -> Settled:
    """A call of any content."""
    zone = draw(st.sampled_from(["Asia/Seoul", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"]))
    used = draw(counts)
    item = call(draw(texts), used, at=draw(instants), zone=zone, model=draw(texts), prices=draw(prices))
    record = msgspec.structs.replace(
        item.record,
        accepted_ns=item.record.accepted_ns + draw(st.integers(0, 999_999)),
        discount=str(draw(st.decimals(0, 1, places=4))),
        key_id=draw(texts),
        discount_reason=draw(texts),
        model_answered=draw(st.none() | texts),
        estimated_reason=draw(st.none() | texts),
        absorbed_reason=draw(st.none() | texts),
        absorbed=draw(st.just((0,) * 5) | counts),
        buy_prices=draw(st.none() | prices),
        streamed=draw(st.booleans()),
        attempts=draw(st.integers(1, 9)),
        upstream_key=draw(st.none() | texts),
    )
    grants = (("gra_1", "output", draw(st.integers(0, used[2]))), ("gra_2", "input", draw(st.integers(0, used[0]))))
    return Settled(record, grants if draw(st.booleans()) else ())


@given(settlements(), st.sampled_from(["", "2027-05"]))
def test_the_writers_leaf_is_the_readers(item: Settled, open_from: str) -> None:
    row = row_of(item, open_from)
    assert leaf_of_entry(entry_of(item, open_from)) == leaf_of(row)
    exact = exact_of(entry_of(item, open_from))
    assert leaf_of_entry(exact) == leaf_of(row | {"entry_id": UUID(hex=exact.entry_id)})


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(settlements(), min_size=1, max_size=5))
async def test_what_was_written_as_text_is_read_as_it_was_settled(sessions: Sessions, items: list[Settled]) -> None:
    assert await book(sessions, *items) == len(items)
    ids = {item.record.uuid: item for item in items}
    async with sessions() as session:
        rows = (await session.execute(select(LedgerEntry).where(col(LedgerEntry.entry_id).in_(ids)))).scalars().all()
    read = {row.entry_id: row.model_dump(exclude={"place", "recorded_at"}) for row in rows}
    assert read == {entry_id: row_of(item) for entry_id, item in ids.items()}
    assert {row.recorded_at for row in rows} == {MID_OCTOBER}
    for row in rows:
        undone = reversal_of(row.model_dump(), "")
        assert leaf_of_entry(undone) == leaf_of(_undone(row.model_dump(), UUID(hex=undone.entry_id)))
        assert _sums([entry_of(ids[row.entry_id], ""), undone]) == {"entries": 2}


def _undone(row: dict[str, Any], entry_id: UUID) -> dict[str, Any]:
    negated = {name: -row[name] for name in row if name.endswith(("_tokens", "_pages"))}
    # copy_negate: a minus sign alone would round to 28 digits
    negated |= {name: row[name] and row[name].copy_negate() for name in row if name.endswith("cost")}
    return row | negated | {"entry_id": entry_id, "reverses": row["entry_id"], "kind": "reversal"}


def _sums(entries: list[Any]) -> dict[str, Fraction]:
    """What is left of the sums of entries over all days, where it is not nought; over all slots it is the same."""
    sums = Sums()
    sums.add(entries)
    by_day, by_slot = (
        _left(columns, lines) for columns, lines in zip((DAY_COLUMNS, SLOT_COLUMNS), sums.to_row_lines(), strict=True)
    )
    assert by_day == by_slot
    return by_day


def _left(columns: tuple[str, ...], lines: list[str]) -> dict[str, Fraction]:
    begin = columns.index("entries")
    left: dict[str, Fraction] = {}
    for line in lines:
        cells = line.rstrip("\n").split("\t")
        assert len(cells) == len(columns)
        for name, value in zip(columns[begin:], cells[begin:], strict=True):
            left[name] = left.get(name, Fraction(0)) + Fraction(value)
    return {name: value for name, value in left.items() if value}


@given(st.lists(settlements(), max_size=8))
def test_sums_of_a_batch_are_those_of_its_rows(items: list[Settled]) -> None:
    rows = [row_of(item) for item in items]
    names = SLOT_COLUMNS[6:]
    expected = {name: sum((Fraction(row[name] or 0) for row in rows), Fraction(0)) for name in names}
    expected |= {"entries": Fraction(len(rows)), "calls": Fraction(len(rows))}
    expected["estimated_calls"] = Fraction(sum(row["estimated_reason"] is not None for row in rows))
    expected["calls_without_buy_price"] = Fraction(sum(row["buy_cost"] is None for row in rows))
    assert _sums([entry_of(item, "") for item in items]) == {name: value for name, value in expected.items() if value}


@given(st.integers(-(10**40), 10**40), st.integers(0, 30))
def test_whole_units_are_written_as_the_proof_writes_numbers(units: int, places: int) -> None:
    assert plain_units(units, places) == plain(shift(units, -places))


def test_every_column_of_the_ledger_is_in_a_line_once() -> None:
    assert sorted(COLUMNS) == sorted(LedgerEntry.__table__.columns.keys())  # type: ignore[attr-defined]


async def test_what_postgres_cannot_store_stops_its_batch_and_leaves_nothing(sessions: Sessions) -> None:
    rng = random.Random(2)
    for spoiled in (
        call("acc_1", (2**31, 0, 0, 0, 0)),
        call("acc_\x00"),
        call("acc_1", model="\x00"),
    ):
        batch = [call("acc_1") for _ in range(3)]
        batch.insert(rng.randrange(4), spoiled)
        with pytest.raises(DBAPIError) as refused:
            await book(sessions, *batch)
        assert str(getattr(refused.value.orig, "sqlstate", "")).startswith("22")
    async with sessions() as session:
        assert (await session.execute(select(LedgerEntry))).first() is None
