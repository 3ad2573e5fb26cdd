"""Upstream's usage export, imported and compared with the ledger, over HTTP.

Errors: `InvalidRequest` (naming the line of a file that cannot be read), `Conflict` (ledger_behind, month_detached).
"""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from billing.database import Session
from billing.money import to_wire_decimal
from billing.periods import Month
from billing.rate_cards import all_cards
from billing.reconcile.compare import compare
from billing.reconcile.read import MonthDetached, absorbed_in, expected_of, newest_export
from billing.reconcile.report import to_wire_compared
from billing.reconcile.store import add_export
from billing.reconcile.tables import UpstreamExport
from billing.reconcile.usage_export import UsageExport, WrongExport, from_wire_export
from gateway.edge.desk import Desk
from gateway.edge.finance import month_of
from gateway.edge.period import checked_zone
from gateway.edge.wire import to_wire_instant
from gateway.errors import Conflict, InvalidRequest
from gateway.metrics import RECONCILIATIONS

_LATE_S = 900
"""Upstream dates a call by its end: no call runs longer than this (the longest of the deadlines that can be set is shorter)."""

_IMPORT_FIRST = "Import upstream's usage export of this month: `solar-gateway reconcile import FILE --month YYYY-MM`."


@post("/reconciliation", status_code=200, tags=["finance"])
async def import_export(request: Request[Any, Any, Any], desk: Desk, month: str, zone: str = "UTC") -> dict[str, Any]:
    """Keep upstream's usage export of a month (CSV, format in billing/reconcile/README.md). The newest one counts."""
    of, where = month_of(month), checked_zone(zone, "zone")
    try:
        csv = (await request.body()).decode("utf-8-sig")
        if "\x00" in csv:
            raise InvalidRequest("The file holds a NUL character, so it is no CSV.")
        async with desk.sessions.begin() as session:
            row = await add_export(session, of, where, csv, desk.actor, desk.now())
    except WrongExport as error:
        raise InvalidRequest(f"{error}.", param=f"line {error.line}") from None
    return {"month": str(of), "import": _to_wire_import(row)}


@get("/reconciliation", tags=["finance"])
async def reconciliation(desk: Desk, month: str) -> dict[str, Any]:
    """A month's ledger against what upstream asks for: each difference by its name, the residue with its bound, and what to do."""
    of = month_of(month)
    if not await desk.flushed():
        raise Conflict("ledger_behind", "The ledger does not hold every settled call yet; ask again in a moment.")
    try:
        async with desk.sessions() as session:
            return await _report(session, of, await newest_export(session, of))
    except MonthDetached as error:
        raise Conflict("month_detached", f"{error}.") from None


async def _report(session: Session, of: Month, row: UpstreamExport | None) -> dict[str, Any]:
    zone = "UTC" if row is None else row.zone
    expected = await expected_of(session, of, zone, _LATE_S)
    absorbed = await absorbed_in(session, of, zone)
    names = {alias: model for card in await all_cards(session) for alias, model in card.aliases.items()}
    head = {
        "month": str(of),
        "import": None if row is None else _to_wire_import(row),
        "estimated_calls": sum(each.estimated_calls for each in expected),
        "lost_attempts": sum(each.lost_attempts for each in expected),
        "absorbed": {"calls": absorbed.calls, "cost": to_wire_decimal(absorbed.usd)},
    }
    if row is None:
        ledger = to_wire_compared(compare(expected, UsageExport(())))
        return {
            **head,
            "currency": "USD",
            "upstream": None,
            "expected": ledger["expected"],
            "findings": [],
            "agrees": None,
        } | {"what_to_do": [_IMPORT_FIRST]}
    compared = to_wire_compared(compare(expected, from_wire_export(row.csv, of), names))
    RECONCILIATIONS.labels("yes" if compared["agrees"] else "no").inc()
    return head | compared


def _to_wire_import(row: UpstreamExport) -> dict[str, Any]:
    return {
        "id": row.id,
        "zone": row.zone,
        "rows": row.rows,
        "sha256": row.sha256,
        "imported_at": to_wire_instant(row.imported_at),
    }


RECONCILE: list[Any] = [import_export, reconciliation]
