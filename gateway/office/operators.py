"""Operators and what they did: named tokens with roles, and the audit log.

Errors: `InvalidRequest`, `NotFound`, `Conflict` (operator_name_taken).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from litestar import delete, get, post
from msgspec import Struct

from billing.accounts.store import audit_page
from billing.accounts.tables import AuditEntry
from gateway.edge.desk import ACTOR, LIST_MAX, Desk
from gateway.edge.operator import one_of
from gateway.edge.shapes import Text
from gateway.edge.wire import from_wire_instant, to_wire_instant
from gateway.errors import InvalidRequest, NotFound
from gateway.operators import store
from gateway.operators.roles import ROLES
from gateway.operators.tables import Operator

_NAME_MAX = 100


class NewOperator(Struct, forbid_unknown_fields=True):
    """A person or a program, and what it may do."""

    name: Text
    role: Text
    expires_at: datetime | None = None


@post("/operators", tags=["operator"])
async def add_operator(data: NewOperator, desk: Desk) -> dict[str, Any]:
    """A named operator's token, which is in this answer only."""
    name = data.name.strip()
    if not 1 <= len(name) <= _NAME_MAX or not name.isprintable() or name == ACTOR:
        raise InvalidRequest(f"name: must be a printable name of at most {_NAME_MAX} letters, other than '{ACTOR}'.")
    role = one_of(data.role, ROLES, "role")
    expires_at = None if data.expires_at is None else from_wire_instant(data.expires_at, "expires_at")
    async with desk.sessions.begin() as session:
        row, token = await store.create(session, name, role, expires_at, desk.actor, desk.now())
    return to_wire_operator(row) | {"secret": token}


@get("/operators", tags=["operator"])
async def operators(desk: Desk) -> dict[str, Any]:
    """All of them, without their tokens."""
    async with desk.sessions() as session:
        return {"data": [to_wire_operator(row) for row in await store.all_operators(session)], "next": None}


@delete("/operators/{operator_id:str}", status_code=200, tags=["operator"])
async def revoke_operator(operator_id: str, desk: Desk) -> dict[str, Any]:
    """End a token: it opens nothing from the next request on."""
    try:
        async with desk.sessions.begin() as session:
            return to_wire_operator(await store.revoke(session, operator_id, desk.actor, desk.now()))
    except store.OperatorNotFound as error:
        raise NotFound(f"{error}.") from None


@get("/audit", tags=["operator"])
async def audit_log(
    desk: Desk, subject: str | None = None, actor: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """Who changed what, newest first; of one subject (an id) or one operator."""
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise InvalidRequest("after: is not a cursor of this list.", param="after")
    limit = max(1, min(limit, LIST_MAX))
    before = None if after is None else int(after)
    async with desk.sessions() as session:
        rows = await audit_page(session, subject=subject, actor=actor, before=before, count_max=limit + 1)
    shown = rows[:limit]
    cursor = str(shown[-1].id) if len(rows) > limit else None
    return {"data": [to_wire_audit(row) for row in shown], "next": cursor}


def to_wire_operator(row: Operator) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "prefix": row.prefix,
        "created_at": to_wire_instant(row.created_at),
        "expires_at": to_wire_instant(row.expires_at),
        "revoked_at": to_wire_instant(row.revoked_at),
    }


def to_wire_audit(row: AuditEntry) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "at": to_wire_instant(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "change": row.change,
    }


OPERATORS: list[Any] = [add_operator, operators, revoke_operator, audit_log]
