"""The ledger down to the call, a page at a time, in the order of the proof: by account, then place in its booked month.

A page is read by its key, so page 10,000 costs what the first did, and nobody holds a month in memory.
Errors: `ValueError` for a cursor that is none of ours; `sources.MonthDetached` where entries of the month are not in the ledger any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.database import Sessions
from billing.ledger.entry import PRICES
from billing.ledger.proof import FIELDS, plain, to_wire_entry
from billing.ledger.sources import must_hold
from billing.ledger.tables import LedgerEntry, LedgerProof
from billing.money import ZERO, subtract

_HOUSE = (
    "absorbed_input_tokens",
    "absorbed_cached_input_tokens",
    "absorbed_output_tokens",
    "absorbed_standard_pages",
    "absorbed_enhanced_pages",
    "absorbed_reason",
)
"""What of an entry is the house's own, beside upstream's price."""

_BUY_PRICES = tuple(f"buy_{name}" for name in PRICES)
OWN_COLUMNS = ("place", *FIELDS)
HOUSE_COLUMNS = (*OWN_COLUMNS, *_HOUSE, *_BUY_PRICES, "buy_cost", "absorbed_buy_cost", "margin")
"""The names of what a row holds, for callers and for the house."""


async def page_calls(
    session: AsyncSession, month: str, account_id: str | None, after: str | None, count_max: int, *, house: bool = False
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the entries booked into a month, of one account or of all, and the cursor of the next page, or None.

    With `house`, what only the house may see stands beside the rest.
    """
    account, place = _from_wire_cursor(after)
    await must_hold(session, month)
    rows: list[LedgerEntry] = []
    for of_account in await _accounts(session, month, account_id, account):
        begin = place if of_account == account else 0
        query = select(LedgerEntry).where(
            col(LedgerEntry.account_id) == of_account,
            col(LedgerEntry.booked_month) == month,
            col(LedgerEntry.place) > begin,
        )
        query = query.order_by(col(LedgerEntry.place)).limit(count_max + 1 - len(rows))
        rows += (await session.execute(query)).scalars().all()
        if len(rows) > count_max:
            break
    shown = rows[:count_max]
    cursor = f"{shown[-1].account_id}:{shown[-1].place}" if len(rows) > count_max else None
    return [_to_wire_row(row, house=house) for row in shown], cursor


async def stream_calls(
    sessions: Sessions, month: str, account_id: str | None, page_max: int, *, house: bool = False
) -> AsyncIterator[list[dict[str, Any]]]:
    """All pages, one after the other; between two of them nothing is held, no transaction either."""
    after: str | None = None
    while True:
        async with sessions() as session:
            rows, after = await page_calls(session, month, account_id, after, page_max, house=house)
        yield rows
        if after is None:
            return


async def _accounts(session: AsyncSession, month: str, account_id: str | None, since: str) -> list[str]:
    if account_id is not None:
        return [account_id]
    query = select(LedgerProof.account_id).where(
        col(LedgerProof.booked_month) == month, col(LedgerProof.account_id) >= since
    )
    return list((await session.execute(query.order_by(col(LedgerProof.account_id)))).scalars())


def _from_wire_cursor(cursor: str | None) -> tuple[str, int]:
    if cursor is None:
        return "", 0
    account, colon, place = cursor.rpartition(":")
    if not colon or not (place.isascii() and place.isdigit()) or len(place) > 18:
        raise ValueError(f"{cursor[:80]!r} is not a cursor")
    return account, int(place)


def _to_wire_row(row: LedgerEntry, *, house: bool) -> dict[str, Any]:
    values = row.model_dump()
    shape = to_wire_entry(values)
    if house:
        shape |= {name: values[name] for name in _HOUSE}
        amounts = dict(zip(_BUY_PRICES, row.buy_prices or (None,) * len(_BUY_PRICES), strict=True))
        amounts |= {"buy_cost": row.buy_cost, "absorbed_buy_cost": row.absorbed_buy_cost, "margin": _margin(row)}
        shape |= {name: None if amount is None else plain(amount) for name, amount in amounts.items()}
    return shape


def _margin(row: LedgerEntry) -> Decimal | None:
    """What is left of an entry's cost when upstream has been paid; None where no card said what it takes."""
    if row.buy_cost is None:
        return None
    return subtract(subtract(row.cost, row.buy_cost), row.absorbed_buy_cost or ZERO)
