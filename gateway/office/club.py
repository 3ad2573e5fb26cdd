"""What partners gave, what was made of it later, and what became of the tokens that they were granted.

Errors: `NotFound`, `InvalidRequest`, `Conflict` (contribution_superseded, ledger_behind, tier_table_late).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from litestar import get, post
from msgspec import Struct, structs

from billing.accounts import store as accounts
from billing.club import store as club
from billing.club.store import ContributionUndone
from billing.club.tier_store import TierTableLate, add_tier_table, tier_tables
from billing.club.tiers import DEFAULT_TABLE, TierTable, to_wire_tiers
from gateway.edge.desk import Desk
from gateway.edge.shapes import Count, NewContribution, Text, to_wire_contribution, to_wire_grant
from gateway.edge.wire import from_wire_amount, from_wire_instant, to_wire_instant
from gateway.errors import Conflict, InvalidRequest


@post("/accounts/{account_id:str}/contributions", tags=["operator"])
async def contribute(account_id: str, data: NewContribution, desk: Desk) -> dict[str, Any]:
    """Book accepted text: it sets the tier, grants free tokens, and weighs in the revenue share.

    With `corrects` or `withdraws` it takes the place of an earlier one: from its own instant on in tier and share; the unspent part
    of the earlier one's grant ends.
    """
    values = {
        **structs.asdict(data),
        "quality": None if data.quality is None else from_wire_amount(data.quality, "quality"),
        "accepted_at": data.accepted_at and from_wire_instant(data.accepted_at, "accepted_at"),
    }
    if (data.corrects or data.withdraws) and not await desk.flushed():
        raise Conflict(
            "ledger_behind", "The ledger does not hold every settled call yet, so what is unspent is not known."
        )
    try:
        async with desk.sessions.begin() as session:
            await accounts.get(session, account_id)
            row, grant = await club.accept(session, account_id, values, desk.grant_months, desk.actor, desk.now())
    except ContributionUndone as error:
        raise Conflict("contribution_superseded", f"{error}.") from None
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None
    async with desk.sessions() as session:
        epoch = (await accounts.get(session, account_id)).epoch
    await desk.admission.outdate(account_id, epoch)
    return to_wire_contribution(row, grant)


@get("/accounts/{account_id:str}/contributions", tags=["operator"])
async def contributions(account_id: str, desk: Desk) -> dict[str, Any]:
    """All that a partner gave, with the entries that corrected or withdrew it, oldest first."""
    async with desk.sessions() as session:
        await accounts.get(session, account_id)
        rows = await club.contributions_of(session, account_id)
    return {"data": [to_wire_contribution(row) for row in rows], "next": None}


@get("/accounts/{account_id:str}/grants", tags=["operator"])
async def grants(account_id: str, desk: Desk) -> dict[str, Any]:
    """Free tokens: granted, used, expired, ended with their contribution, and left, for each grant; as the ledger knows it."""
    complete = await desk.flushed()
    async with desk.sessions() as session:
        await accounts.get(session, account_id)
        books = await club.grant_book(session, account_id, desk.now())
    return {"data": [to_wire_grant(book) for book in books], "next": None, "complete": complete}


class NewTier(Struct, forbid_unknown_fields=True):
    name: Text
    tokens_min: Count
    discount: Text


class NewTierTable(Struct, forbid_unknown_fields=True):
    """The club's steps from an instant on: all of them, lowest first."""

    effective_at: datetime
    tiers: list[NewTier]


@post("/tier-tables", tags=["operator"])
async def add_table(data: NewTierTable, desk: Desk) -> dict[str, Any]:
    """State the club's tiers from an instant to come on. What was given before keeps its discount."""
    effective_at = from_wire_instant(data.effective_at, "effective_at")
    tiers = [structs.asdict(tier) for tier in data.tiers]
    try:
        async with desk.sessions.begin() as session:
            table, epochs = await add_tier_table(session, effective_at, tiers, desk.actor, desk.now())
    except TierTableLate as error:
        raise Conflict("tier_table_late", f"{error}.") from None
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None
    for account_id, epoch in epochs.items():
        await desk.admission.outdate(account_id, epoch)
    return to_wire_table(table)


@get("/tier-tables", tags=["operator"])
async def tables(desk: Desk) -> dict[str, Any]:
    """Every table of tiers, oldest first; the first one is what holds where none was posted."""
    async with desk.sessions() as session:
        rows = await tier_tables(session)
    return {"data": [to_wire_table(table) for table in rows], "next": None}


def to_wire_table(table: TierTable) -> dict[str, Any]:
    since = None if table is DEFAULT_TABLE else to_wire_instant(table.effective_at)
    return {"id": table.id, "effective_at": since, "tiers": to_wire_tiers(table.tiers)}


CLUB: list[Any] = [contribute, contributions, grants, add_table, tables]
