"""Upstream as operators see it: our keys' health and quotas, and the attempts that may be billed though nobody saw an answer.

Errors: `InvalidRequest`.
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any

from litestar import get
from litestar.params import Parameter

from billing.lost.store import lost_between
from billing.lost.tables import LostAttempt
from billing.money import to_wire_decimal
from gateway.edge.desk import Desk
from gateway.edge.period import interval_of
from gateway.edge.wire import to_wire_instant

_ROWS_MAX = 10_000


@get("/upstream-keys", tags=["operator"])
async def upstream_keys(desk: Desk) -> dict[str, Any]:
    """Each key by its public name, as the worker that answers knows it; what all workers see together is in the metrics."""
    return {"data": desk.fleet(), "next": None}


@get("/lost-attempts", tags=["finance"])
async def lost_attempts(
    desk: Desk,
    start: Annotated[str | None, Parameter(query="from")] = None,
    end: Annotated[str | None, Parameter(query="to")] = None,
) -> dict[str, Any]:
    """Of calls accepted on these days (UTC; without them the running month): pending until upstream's bill decides. The first 10,000."""
    since, until = interval_of(start, end, "UTC", desk.now())
    async with desk.sessions() as session:
        rows = await lost_between(session, since.astimezone(UTC), until.astimezone(UTC), rows_max=_ROWS_MAX)
    return {"data": [to_wire_lost(row) for row in rows], "next": None}


def to_wire_lost(row: LostAttempt) -> dict[str, Any]:
    return {
        **row.model_dump(exclude={"cost", "cost_max", "accepted_at", "recorded_at", "call_id"}),
        "call_id": str(row.call_id),
        "accepted_at": to_wire_instant(row.accepted_at),
        "cost": to_wire_decimal(row.cost),
        "cost_max": to_wire_decimal(row.cost_max),
        "currency": "USD",
    }


UPSTREAM = [upstream_keys, lost_attempts]
