"""Operators in Postgres: made, found by their token, revoked. Each change is in the audit log.

Errors: `OperatorNotFound`, `NameTaken`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import audit
from billing.ids import new_id
from gateway.errors import Conflict
from gateway.operators.tables import Operator
from gateway.operators.tokens import hash_of, new_token, prefix_of


class OperatorNotFound(LookupError):
    """No operator has this id."""

    def __init__(self, operator_id: str) -> None:
        super().__init__(f"no operator {operator_id!r}")


class NameTaken(Conflict):
    """Two living operators of one name could not be told apart in the audit log."""

    def __init__(self, name: str) -> None:
        super().__init__("operator_name_taken", f"There is an operator named {name!r} already: revoke it first.")


async def create(
    session: AsyncSession, name: str, role: str, expires_at: datetime | None, actor: str, now: datetime
) -> tuple[Operator, str]:
    """A new operator: (row, token). The token is in this answer only."""
    token = new_token()
    row = Operator(
        id=new_id("opr", now),
        name=name,
        role=role,
        prefix=prefix_of(token),
        secret_hash=str(hash_of(token)),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise NameTaken(name) from None
    audit(session, actor, "operator.create", row.id, {"name": name, "role": role}, now)
    return row, token


async def revoke(session: AsyncSession, operator_id: str, actor: str, now: datetime) -> Operator:
    """End a token at once. Safe to repeat."""
    row = await session.get(Operator, operator_id, with_for_update=True)
    if row is None:
        raise OperatorNotFound(operator_id)
    row.revoked_at = row.revoked_at or now
    audit(session, actor, "operator.revoke", row.id, {"name": row.name}, now)
    await session.flush()
    return row


async def all_operators(session: AsyncSession) -> Sequence[Operator]:
    """Living and dead, oldest first."""
    return (await session.execute(select(Operator).order_by(col(Operator.id)))).scalars().all()


async def living(session: AsyncSession, token: str, now: datetime) -> Operator | None:
    """Whose token this is, unless it is revoked or expired."""
    computed = hash_of(token)
    if computed is None:
        return None
    row = (await session.execute(select(Operator).where(col(Operator.secret_hash) == computed))).scalar_one_or_none()
    if row is None or not hmac.compare_digest(row.secret_hash, computed) or row.revoked_at is not None:
        return None
    return None if row.expires_at is not None and row.expires_at <= now else row
