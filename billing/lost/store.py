"""Lost attempts in Postgres. Errors: what SQLAlchemy raises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from billing.database import Session
from billing.lost.tables import LostAttempt


async def book(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Add them; those that are there already stay as they are."""
    if rows:
        await session.execute(insert(LostAttempt).values(list(rows)).on_conflict_do_nothing())


async def lost_between(
    session: Session, since: datetime, until: datetime, *, rows_max: int = 1_000_000
) -> list[LostAttempt]:
    """Those of calls accepted in this half-open stretch of time, in order."""
    wanted = select(LostAttempt).where(col(LostAttempt.accepted_at) >= since, col(LostAttempt.accepted_at) < until)
    order = (col(LostAttempt.accepted_at), col(LostAttempt.call_id), col(LostAttempt.attempt))
    found = await session.scalars(wanted.order_by(*order).limit(rows_max))
    return list(found)
