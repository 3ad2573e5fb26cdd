"""The ledger's keeping over HTTP: its months in and out, what came too late, whether rollups and proofs still are what they were.

Errors: `InvalidRequest`, `Conflict` (month_in_use, month_not_attached, month_not_detached, month_table_gone, month_entries_differ,
month_detached).
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post

from billing.accounts.store import audit
from billing.keeping.retention import Kept, RetentionRefused, attach, detach, kept_months, late_records
from billing.keeping.verify import Verified, count_accounts, verify
from billing.ledger.rollups import Difference, check_rollups
from billing.ledger.sources import named
from billing.ledger.tables import LateRecord
from billing.money import to_wire_decimal
from billing.share.read import finished_months
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import month_of
from gateway.edge.wire import to_wire_instant
from gateway.errors import Conflict

_DIFFERENCES_MAX = 200
_VERIFIED_AT_ONCE_MAX = 5_000
_LATE_CODE = "detached_month"


@get("/ledger/months", tags=["operator"])
async def ledger_months(desk: Desk) -> dict[str, Any]:
    """The UTC months of the ledger's entries, attached or not."""
    async with desk.sessions() as session:
        return {"data": [_to_wire_kept(each) for each in await kept_months(session)], "next": None}


@post("/ledger/months/{month:str}/detach", status_code=200, tags=["operator"])
async def detach_month(month: str, desk: Desk) -> dict[str, Any]:
    """Take a UTC month's entries out of the ledger: a table of its own that can be moved away. Bills, rollups, proofs stay."""
    of = month_of(month)
    try:
        async with desk.sessions.begin() as session:
            row = await detach(session, of, desk.now(), finished_months, keep_months=desk.ledger_keep_months)
            audit(session, desk.actor, "ledger.detach", str(of), {"entries": row.entries}, desk.now())
    except RetentionRefused as error:
        raise Conflict(error.code, f"{error}.") from None
    return await _one(desk, str(of))


@post("/ledger/months/{month:str}/attach", status_code=200, tags=["operator"])
async def attach_month(month: str, desk: Desk) -> dict[str, Any]:
    """Put a month's entries back; what came for it meanwhile is appended, and billed with the next invoices."""
    of = month_of(month)
    try:
        async with desk.sessions.begin() as session:
            appended = await attach(session, of, desk.now())
            audit(session, desk.actor, "ledger.attach", str(of), {"late": appended}, desk.now())
    except RetentionRefused as error:
        raise Conflict(error.code, f"{error}.") from None
    return await _one(desk, str(of)) | {"appended": appended}


@get("/ledger/late", tags=["operator"])
async def late(desk: Desk, limit: int = 100) -> dict[str, Any]:
    """Calls that came for a detached month: in no bill until the month is attached again."""
    async with desk.sessions() as session:
        rows = await late_records(session, max(1, min(limit, LIST_MAX)))
    return {"data": [_to_wire_late(row) for row in rows], "next": None}


@get("/ledger/months/{month:str}/rollups", tags=["operator"])
async def rollups(month: str, desk: Desk) -> dict[str, Any]:
    """The month's rollups against the full sum of its entries; each line that differs."""
    of = month_of(month)
    async with desk.sessions() as session:
        found = await check_rollups(session, of, _DIFFERENCES_MAX)
    lines = [_to_wire_difference(line) for line in found.lines]
    agree = not (found.days or found.slots)
    return {"month": str(of), "agree": agree, "days": found.days, "slots": found.slots, "data": lines, "next": None}


@get("/ledger/months/{month:str}/proofs", tags=["operator"])
async def proofs(month: str, desk: Desk, account: str | None = None, after: str = "") -> dict[str, Any]:
    """The proofs of what is booked into a month, worked out again; a part of the accounts at a time."""
    of = str(month_of(month))
    async with desk.sessions() as session:
        accounts = await count_accounts(session, of)
        done, cursor = await verify(session, of, account, after, _VERIFIED_AT_ONCE_MAX)
    return {"month": of, "accounts": accounts, "data": [_to_wire_verified(each) for each in done], "next": cursor}


async def _one(desk: Desk, month: str) -> dict[str, Any]:
    async with desk.sessions() as session:
        [found] = [each for each in await kept_months(session) if str(each.month) == month]
    return _to_wire_kept(found)


def _to_wire_kept(kept: Kept) -> dict[str, Any]:
    return {
        "month": str(kept.month),
        "state": "attached" if kept.attached else "detached" if kept.table_there else "moved away",
        "entries": kept.entries,
        "cost": None if kept.cost is None else to_wire_decimal(kept.cost),
        "currency": "USD",
        "booked": kept.booked,
        "bytes": kept.bytes,
        "detached_at": to_wire_instant(kept.detached_at),
        "late": kept.late,
    }


def _to_wire_late(row: LateRecord) -> dict[str, Any]:
    return {
        "call_id": row.call_id.hex,
        "account_id": row.account_id,
        "month": named(row.partition_month),
        "code": _LATE_CODE,
        "refused_at": to_wire_instant(row.refused_at),
        "record": msgspec.Raw(row.record.encode()),
    }


def _to_wire_difference(line: Difference) -> dict[str, Any]:
    return {
        "table": line.table,
        "key": line.key,
        "differ": {name: {"rollup": rolled, "entries": summed} for name, (rolled, summed) in line.differ.items()},
    }


def _to_wire_verified(each: Verified) -> dict[str, Any]:
    return {
        "account_id": each.account_id,
        "holds": each.holds,
        "entries": each.entries,
        "entries_found": each.entries_found,
        "root": each.root,
        "root_found": each.root_found,
    }


LEDGER: list[Any] = [ledger_months, detach_month, attach_month, late, rollups, proofs]
