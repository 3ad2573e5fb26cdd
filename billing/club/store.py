"""Contributions, grants and manifests in Postgres.

A contribution of n accepted tokens grants n free tokens for `grant_months` (design.md section 5.4).
What is still in flight when a contribution is undone (accepted before, settled after) may yet take from its old grant: by the instant
of the call it was entitled to. What it takes comes off the correction's grant (`standing.taken_in_flight`), and shows as ended there.
Errors: `ContributionNotFound`, `ContributionUndone`, `ValueError` for counts that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import audit, raise_epoch
from billing.club.standing import taken_in_flight
from billing.club.tables import Contribution, TokenGrant, TrainingManifest
from billing.ids import new_id
from billing.ledger.read import grant_use

QUALITY_MAX = 100
"""A factor is near 1; what is far from it is a slip, and would take the others' shares away."""


@dataclass(frozen=True, slots=True)
class GrantBook:
    """A grant and what became of its tokens: spent, lapsed by time, ended (with its contribution, or
    because a call in flight at a correction took it of the grant before), or still there."""

    grant: TokenGrant
    used: int
    expired: int
    ended: int
    left: int


class ContributionNotFound(LookupError):
    """This account has no contribution of this id."""

    def __init__(self, contribution_id: str) -> None:
        super().__init__(
            f"no contribution {contribution_id!r} of this account; list them with `solar-gateway club contributions`"
        )
        self.contribution_id = contribution_id


class ContributionUndone(ValueError):
    """It was corrected or withdrawn already: what stands now is another entry."""

    def __init__(self, contribution_id: str, by: str) -> None:
        super().__init__(f"contribution {contribution_id} was undone by {by} already; correct or withdraw that one")
        self.contribution_id, self.by = contribution_id, by


async def accept(
    session: AsyncSession, account_id: str, values: Mapping[str, Any], grant_months: int, actor: str, now: datetime
) -> tuple[Contribution, TokenGrant | None]:
    """Book an accepted contribution and the grant it earns; or one that `corrects` or `withdraws` an earlier one.

    What it undoes keeps its row and its past: from the instant of the new entry on the tier counts the new one in its place. The
    grant that it had earned ends then (never before now); a correction grants what its own tokens exceed those spent already,
    until the day on which the first would have expired.
    """
    await raise_epoch(session, account_id)  # locks the account: its contributions are booked one after another
    undone = await _undone(session, account_id, values)
    # What is to be accepted later (or was booked so by a slip) is undone from its own instant on.
    accepted_at = values.get("accepted_at") or (now if undone is None else max(now, undone.accepted_at))
    if undone is not None and accepted_at < undone.accepted_at:
        raise ValueError(f"accepted_at: {undone.id} was accepted later, at {undone.accepted_at.isoformat()}")
    dataset, quality = _of(values, "dataset", undone), Decimal(_of(values, "quality", undone, "1.0"))
    if not dataset.strip():
        raise ValueError("dataset: say which, by the name that training manifests use")
    if not 0 <= quality <= QUALITY_MAX:
        raise ValueError(f"quality: a factor from 0 to {QUALITY_MAX}, such as 1.0")
    contribution = Contribution(
        id=new_id("con", now),
        account_id=account_id,
        dataset=dataset,
        words=_count(values, "words", undone),
        tokens=_count(values, "tokens", undone),
        quality=quality,
        accepted_at=accepted_at,
        note=values.get("note"),
        withdraws=values.get("withdraws"),
        corrects=values.get("corrects"),
        created_at=now,
    )
    session.add(contribution)
    await session.flush()
    grant: TokenGrant | None
    if undone is None:
        grant = _grant(contribution, contribution.tokens, accepted_at, months_later(accepted_at, grant_months), now)
    else:
        grant = await _regrant(session, contribution, undone, max(accepted_at, now), now)
    if grant is not None:
        session.add(grant)
    change = {"dataset": contribution.dataset, "tokens": contribution.tokens, "grant": grant and grant.id}
    if undone is not None:
        change["undoes"] = undone.id
    action = "withdraw" if contribution.withdraws else "correct" if contribution.corrects else "accept"
    audit(session, actor, f"contribution.{action}", account_id, change, now)
    await session.flush()
    return contribution, grant


async def _undone(session: AsyncSession, account_id: str, values: Mapping[str, Any]) -> Contribution | None:
    """The contribution whose place the new one takes, if any."""
    if values.get("corrects") and values.get("withdraws"):
        raise ValueError("withdraws: an entry either corrects or withdraws")
    wanted = values.get("corrects") or values.get("withdraws")
    if wanted is None:
        return None
    rows = {row.id: row for row in await contributions_of(session, account_id)}
    if wanted not in rows:
        raise ContributionNotFound(wanted)
    by = next((row.id for row in rows.values() if row.undoes == wanted), None)
    if by is not None:
        raise ContributionUndone(wanted, by)
    if rows[wanted].withdraws is not None:
        raise ValueError(f"{'corrects' if values.get('corrects') else 'withdraws'}: {wanted} is a withdrawal itself")
    return rows[wanted]


def _of(values: Mapping[str, Any], field: str, undone: Contribution | None, default: Any = None) -> Any:
    """What was said, else what the undone entry says, else the default."""
    value = values.get(field)
    if value is None:
        value = getattr(undone, field) if undone is not None else default
    if value is None:
        raise ValueError(f"{field}: is needed")
    return value


def _count(values: Mapping[str, Any], field: str, undone: Contribution | None) -> int:
    if values.get("withdraws") is None:
        count = int(_of(values, field, undone))
    else:
        count = int(values.get(field) or 0)
        if count:
            raise ValueError(f"{field}: a withdrawal has none of its own; to change a count, correct")
    if count < 0:
        raise ValueError(f"{field}: cannot be negative")
    return count


async def _regrant(
    session: AsyncSession, entry: Contribution, undone: Contribution, at: datetime, now: datetime
) -> TokenGrant | None:
    """End what is left of the undone entry's grant at an instant; the grant that a correction earns instead, if any is left."""
    rows = {row.id: row for row in await contributions_of(session, entry.account_id)}
    chain, link = [undone.id], undone.undoes
    while link is not None:
        chain.append(link)
        link = rows[link].undoes
    of_chain = select(TokenGrant).where(col(TokenGrant.contribution_id).in_(chain)).with_for_update()
    grants = (await session.execute(of_chain)).scalars().all()
    for grant in grants:
        if grant.ended_at is None and grant.contribution_id == undone.id:
            grant.ended_at = at
    used = sum((await grant_use(session, [grant.id for grant in grants])).values())
    until = max((grant.until_at for grant in grants), default=at)
    if entry.tokens <= used or until <= at:
        return None
    return _grant(entry, entry.tokens - used, at, until, now)


def _grant(entry: Contribution, tokens: int, from_at: datetime, until_at: datetime, now: datetime) -> TokenGrant:
    return TokenGrant(
        id=new_id("gra", now),
        account_id=entry.account_id,
        contribution_id=entry.id,
        tokens=tokens,
        from_at=from_at,
        until_at=until_at,
    )


async def contributions_of(session: AsyncSession, account_id: str | None = None) -> Sequence[Contribution]:
    """All contributions, oldest first; of one account or of all."""
    query = select(Contribution).order_by(col(Contribution.accepted_at), col(Contribution.id))
    if account_id is not None:
        query = query.where(col(Contribution.account_id) == account_id)
    return (await session.execute(query)).scalars().all()


async def grants_of(session: AsyncSession, account_id: str) -> Sequence[TokenGrant]:
    """Grants of an account in the order in which they are spent: those that end first."""
    query = select(TokenGrant).where(col(TokenGrant.account_id) == account_id)
    return sorted((await session.execute(query)).scalars(), key=lambda grant: (grant.ends_at, grant.id))


async def grant_book(session: AsyncSession, account_id: str, now: datetime) -> list[GrantBook]:
    """The account's grants and what became of their tokens, as the ledger knows it: granted = used + expired + ended + left."""
    grants = await grants_of(session, account_id)
    used = await grant_use(session, [grant.id for grant in grants])
    in_flight = taken_in_flight(grants, await contributions_of(session, account_id), used)
    return [book_of(grant, used.get(grant.id, 0), now, in_flight.get(grant.id, 0)) for grant in grants]


async def grants_left(session: AsyncSession, account_id: str) -> list[tuple[TokenGrant, int]]:
    """The account's grants in the order in which they are spent, and what is left of each, whatever the time."""
    grants = await grants_of(session, account_id)
    used = await grant_use(session, [grant.id for grant in grants])
    in_flight = taken_in_flight(grants, await contributions_of(session, account_id), used)
    return [(g, max(0, g.tokens - used.get(g.id, 0) - in_flight.get(g.id, 0))) for g in grants]


def book_of(grant: TokenGrant, used: int, now: datetime, in_flight: int = 0) -> GrantBook:
    """Pure: where a grant stands at an instant."""
    unspent = grant.tokens - used - in_flight
    if now < grant.ends_at:
        return GrantBook(grant, used, 0, in_flight, unspent)
    if grant.ended_at is not None and grant.ended_at < grant.until_at:
        return GrantBook(grant, used, 0, in_flight + unspent, 0)
    return GrantBook(grant, used, unspent, in_flight, 0)


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


async def erase_notes(session: AsyncSession, account_id: str) -> None:
    """Take away what was noted beside an account's contributions; their counts stay."""
    await session.execute(
        update(Contribution)
        .where(col(Contribution.account_id) == account_id, col(Contribution.note).is_not(None))
        .values(note=None)
    )
