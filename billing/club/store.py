"""Contributions, grants and manifests in Postgres.

A contribution of n accepted tokens grants n free tokens for `grant_months` (design.md section 5.4).
Errors: `ValueError` for counts that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import audit, raise_epoch
from billing.club.tables import Contribution, TokenGrant, TrainingManifest
from billing.ids import new_id


async def accept(
    session: AsyncSession, account_id: str, values: Mapping[str, Any], grant_months: int, actor: str, now: datetime
) -> tuple[Contribution, TokenGrant]:
    """Book an accepted contribution and the grant it earns."""
    accepted_at = values.get("accepted_at") or now
    contribution = Contribution(
        id=new_id("con", now),
        account_id=account_id,
        dataset=values["dataset"],
        words=values["words"],
        tokens=values["tokens"],
        quality=Decimal(values.get("quality", "1.0")),
        accepted_at=accepted_at,
        note=values.get("note"),
        created_at=now,
    )
    session.add(contribution)
    await session.flush()
    grant = TokenGrant(
        id=new_id("gra", now),
        account_id=account_id,
        contribution_id=contribution.id,
        tokens=contribution.tokens,
        from_at=accepted_at,
        until_at=months_later(accepted_at, grant_months),
    )
    session.add(grant)
    await raise_epoch(session, account_id)
    subject = {"dataset": contribution.dataset, "tokens": contribution.tokens, "grant": grant.id}
    audit(session, actor, "contribution.accept", account_id, subject, now)
    await session.flush()
    return contribution, grant


async def contributions_of(session: AsyncSession, account_id: str | None = None) -> Sequence[Contribution]:
    """All contributions, oldest first; of one account or of all."""
    query = select(Contribution).order_by(col(Contribution.accepted_at), col(Contribution.id))
    if account_id is not None:
        query = query.where(col(Contribution.account_id) == account_id)
    return (await session.execute(query)).scalars().all()


async def grants_of(session: AsyncSession, account_id: str) -> Sequence[TokenGrant]:
    """Grants of an account in the order in which they are spent: oldest expiry first."""
    query = select(TokenGrant).where(col(TokenGrant.account_id) == account_id)
    return (await session.execute(query.order_by(col(TokenGrant.until_at), col(TokenGrant.id)))).scalars().all()


async def set_manifest(
    session: AsyncSession, model: str, datasets: Sequence[str], actor: str, now: datetime
) -> TrainingManifest:
    """State which datasets trained a model; the newest statement counts."""
    manifest = TrainingManifest(id=new_id("man", now), model=model, datasets=list(datasets), created_at=now)
    session.add(manifest)
    audit(session, actor, "manifest.set", model, {"datasets": list(datasets)}, now)
    await session.flush()
    return manifest


async def manifests(session: AsyncSession) -> dict[str, frozenset[str]]:
    """The manifest in force of each model that has one."""
    rows = (await session.execute(select(TrainingManifest).order_by(col(TrainingManifest.created_at)))).scalars().all()
    return {row.model: frozenset(row.datasets) for row in rows}


def months_later(instant: datetime, months: int) -> datetime:
    """The same day and time so many months on; the month's last day where that day does not exist."""
    index = instant.year * 12 + instant.month - 1 + months
    year, month = divmod(index, 12)
    for day in range(instant.day, 27, -1):
        try:
            return instant.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return instant.replace(year=year, month=month + 1)
