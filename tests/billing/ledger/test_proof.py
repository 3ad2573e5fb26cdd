"""The proof of a month: what the journal chained is what the entries lead to, and any one change is found."""

from __future__ import annotations

import asyncio
import random
import re
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import col, select

from billing.database import Sessions
from billing.ledger.entry import Settled
from billing.ledger.proof import FIELDS, Chain, leaf_of, root_of, to_wire_entry
from billing.ledger.tables import LedgerEntry, LedgerProof
from tests.billing.ledger.rows import row_of
from tests.billing.ledger.second_verifier import root_from_spec
from tests.billing.months import book, call

ACCOUNT = "acc_1"


async def proved(
    sessions: Sessions, account_id: str = ACCOUNT, month: str = "2026-10"
) -> tuple[str, list[dict[str, Any]]]:
    """The root as the journal left it, and the entries by their places."""
    async with sessions() as session:
        chain = await session.get_one(LedgerProof, (account_id, month))
        query = select(LedgerEntry).where(
            col(LedgerEntry.account_id) == account_id, col(LedgerEntry.booked_month) == month
        )
        rows = (await session.execute(query.order_by(col(LedgerEntry.place)))).scalars().all()
    return Chain(chain.entries, chain.head).root(), [row.model_dump() for row in rows]


async def test_the_journal_and_the_entries_lead_to_the_same_root(sessions: Sessions) -> None:
    rng = random.Random(3)
    calls = [
        call(ACCOUNT if rng.random() < 0.8 else "acc_2", (rng.randrange(900), 0, 7, 0, 0), discount="0.10")
        for _ in range(80)
    ]
    for at in range(0, 80, 9):
        await book(sessions, *rng.sample(calls[: at + 9], min(at + 9, 20)), *calls[at : at + 9])
    for account_id in (ACCOUNT, "acc_2"):
        root, rows = await proved(sessions, account_id)
        assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))
        assert root_of(account_id, "2026-10", rows) == root
        assert root_from_spec(account_id, "2026-10", [as_exported(row) for row in rows]) == root


def as_exported(row: dict[str, Any]) -> dict[str, Any]:
    """As a caller gets it: through JSON."""
    exported: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(to_wire_entry(row)))
    return exported


async def test_writers_that_meet_lengthen_one_chain(sessions: Sessions) -> None:
    calls = [call(f"acc_{index % 3}") for index in range(120)]
    await asyncio.gather(*(book(sessions, *calls[at::4], *calls[:10]) for at in range(4)))
    for account_id in ("acc_0", "acc_1", "acc_2"):
        root, rows = await proved(sessions, account_id)
        assert len(rows) == 40
        assert root_of(account_id, "2026-10", rows) == root


async def test_a_replaced_estimate_stands_in_the_proof_once_with_its_reversal(sessions: Sessions) -> None:
    exact = call(ACCOUNT, (100, 0, 50, 0, 0))
    await book(sessions, Settled(msgspec.structs.replace(exact.record, estimated_reason="worker lost")))
    await book(sessions, exact)
    await book(sessions, exact)
    root, rows = await proved(sessions)
    assert [row["kind"] for row in rows] == ["call", "reversal", "call"]
    assert root_from_spec(ACCOUNT, "2026-10", [as_exported(row) for row in rows]) == root


async def test_an_entry_that_is_changed_in_the_database_no_longer_leads_to_the_root(sessions: Sessions) -> None:
    await book(sessions, *(call(ACCOUNT) for _ in range(5)))
    root, _ = await proved(sessions)
    changes = (
        "cost = 0",
        "output_tokens = output_tokens - 1",
        "model = 'solar-mini4'",
        "accepted_at = accepted_at + '1 us'",
    )
    for change in changes:
        async with sessions() as session:
            await session.execute(text(f"UPDATE ledger_entry SET {change} WHERE place = 3"))  # noqa: S608 - written above
            query = select(LedgerEntry).order_by(col(LedgerEntry.place))
            rows = [row.model_dump() for row in (await session.execute(query)).scalars()]
        assert len(rows) == 5
        assert root_of(ACCOUNT, "2026-10", rows) != root, change


texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
amounts = st.decimals("-10", "10", places=12, allow_nan=False, allow_infinity=False)


@st.composite
def entries(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A small month of entries of any content."""
    made = []
    for place in range(draw(st.integers(1, 6))):
        usage = tuple(draw(st.integers(0, 10**6)) for _ in range(5))
        settled = call(ACCOUNT, usage, model=draw(texts), discount=draw(st.sampled_from(["0", "0.1", "0.10"])))  # type: ignore[arg-type]
        row = row_of(settled)
        reason, answered = draw(st.none() | texts), draw(st.none() | texts)
        row |= {"place": place + 1, "cost": draw(amounts), "estimated_reason": reason, "model_answered": answered}
        made.append(row)
    return made


@given(entries(), st.randoms(use_true_random=False))
def test_any_one_entry_that_is_altered_dropped_added_or_moved_is_found(
    rows: list[dict[str, Any]], rng: random.Random
) -> None:
    root = root_of(ACCOUNT, "2026-10", rows)
    assert root_from_spec(ACCOUNT, "2026-10", [as_exported(row) for row in rows]) == root
    spoiled = [rows[:at] + rows[at + 1 :] for at in range(len(rows))]
    extra = row_of(call(ACCOUNT)) | {"place": 1}
    spoiled += [[*rows[:at], each, *rows[at:]] for at in range(len(rows) + 1) for each in (extra, rows[0])]
    for at, row in enumerate(rows):
        others = [i for i in range(len(rows)) if i != at]
        if others:
            moved = rows[:at] + rows[at + 1 :]
            moved.insert(rng.choice(others), row)
            spoiled.append(moved)
        for name in FIELDS:
            spoiled.append([*rows[:at], row | {name: another(row[name])}, *rows[at + 1 :]])
    assert all(root_of(ACCOUNT, "2026-10", each) != root for each in spoiled)
    assert all(root_from_spec(ACCOUNT, "2026-10", [as_exported(row) for row in each]) != root for each in spoiled[:12])
    assert root_of("acc_2", "2026-10", rows) != root
    assert root_of(ACCOUNT, "2026-11", rows) != root


def another(value: Any) -> Any:
    """A value of the same type that is not this one."""
    if isinstance(value, bool):
        return not value
    if value is None:
        return call(ACCOUNT).record.uuid if value is None else value
    if hasattr(value, "hex") and hasattr(value, "bytes"):
        return call(ACCOUNT).record.uuid
    if hasattr(value, "microsecond"):
        return value.replace(microsecond=(value.microsecond + 1) % 1_000_000)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(E-?[0-9]+)?", value):
        return str(Decimal(value) + Decimal("0.5"))
    return value + "x" if isinstance(value, str) else value + 1


def test_what_is_written_differently_but_is_the_same_number_is_the_same_entry() -> None:
    row = row_of(call(ACCOUNT))
    same = row | {"cost": f"{row['cost']}000", "discount": "0.000", "input_price": "0.3"}
    assert leaf_of(row) == leaf_of(same)
