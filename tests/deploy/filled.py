"""A database with a lived month in it, and what must be the same about it wherever it is carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from billing.database import Sessions
from billing.ledger.proof import Chain, root_of
from tests.billing.months import MID_NOVEMBER, account, book, call, close, contribute, plan

_SUMS = (
    "SELECT count(*), sum(cost), sum(list_cost), sum(output_tokens), max(place) FROM ledger_entry",
    "SELECT count(*), sum(cost), sum(calls) FROM ledger_day",
    "SELECT count(*), sum(cost), sum(entries) FROM ledger_total",
    "SELECT count(*), sum(total), string_agg(number, ',' ORDER BY number) FROM invoice",
    "SELECT count(*), sum(amount), sum(exact_usd) FROM invoice_line",
    "SELECT count(*), sum(entries) FROM ledger_proof",
    "SELECT count(*), string_agg(name, ',' ORDER BY id) FROM account",
)
_PROVED = "SELECT account_id, booked_month, entries, head FROM ledger_proof ORDER BY account_id, booked_month"
_ROWS = "SELECT * FROM ledger_entry WHERE account_id = $1 AND booked_month = $2 ORDER BY place"


async def fill(sessions: Sessions) -> None:
    """Two accounts, calls of two months, a contribution, a share plan; October is closed."""
    payer, partner = await account(sessions, name="한빛"), await account(sessions, kind="club", monthly_cap=50)
    await contribute(sessions, partner, 150_000_000)
    await plan(sessions, "0.10")
    calls = [call(payer, (1000 + at, at, 100, 0, 0), discount="0.1") for at in range(30)]
    await book(sessions, *calls, *(call(partner, (0, 0, 0, 3, 1), model="document-parse") for _ in range(5)))
    await close(sessions)
    await book(sessions, *(call(payer, at=MID_NOVEMBER) for _ in range(7)), at=MID_NOVEMBER)


@dataclass(frozen=True)
class Facts:
    """What the money says."""

    sums: list[tuple[Any, ...]]
    roots: list[tuple[str, str, str]]


async def facts_of(url: str) -> Facts:
    """Read with plain SQL, so that no version of ours comes between."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return Facts([tuple((await connection.fetch(query))[0]) for query in _SUMS], await _proved(connection))
    finally:
        await connection.close()


async def _proved(connection: asyncpg.Connection) -> list[tuple[str, str, str]]:
    """The root of each account's month, reckoned anew from its entries; each must be what the chain's row says."""
    found = []
    for proof in await connection.fetch(_PROVED):
        rows = [dict(row) for row in await connection.fetch(_ROWS, proof["account_id"], proof["booked_month"])]
        root = root_of(proof["account_id"], proof["booked_month"], rows)
        assert root == Chain(proof["entries"], proof["head"]).root()
        found.append((proof["account_id"], proof["booked_month"], root))
    return found
