"""A key's life: created, changed, rotated with overlap, expired, revoked. Each step raises the account's epoch and is in the audit log.

Errors: `KeyNotFound`; `Conflict` (`key_revoked`) where a revoked key is to be changed or rotated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.store import ERASED, audit, raise_epoch
from billing.accounts.tables import Account
from billing.ids import new_id
from gateway.errors import Conflict
from gateway.keys.secret import hash_of, new_secret, prefix_of, same_hash
from gateway.keys.tables import ApiKey


class KeyNotFound(LookupError):
    """No key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no key {key_id!r}")


async def create_key(
    session: AsyncSession, account_id: str, values: Mapping[str, Any], actor: str, now: datetime
) -> tuple[ApiKey, str, int]:
    """A new key: (row, secret, the account's new epoch). The secret is in this answer only."""
    secret = new_secret()
    key = ApiKey(
        id=new_id("key", now),
        account_id=account_id,
        prefix=prefix_of(secret),
        secret_hash=str(hash_of(secret)),
        created_at=now,
        **values,
    )
    epoch = await raise_epoch(session, account_id)
    session.add(key)
    audit(session, actor, "key.create", key.id, {"account": account_id}, now)
    await session.flush()
    return key, secret, epoch


async def rotate_key(
    session: AsyncSession, key_id: str, overlap_s: int, actor: str, now: datetime
) -> tuple[ApiKey, str, int]:
    """A successor with the same terms; the old key lives on for `overlap_s` seconds."""
    old = await _living(session, key_id)
    limits = ("requests_per_minute", "tokens_per_minute", "concurrency", "model_limits")
    same = ("name", *limits, "monthly_cap", "scopes", "expires_at")
    values = {name: getattr(old, name) for name in same} | {"rotated_from": old.id}
    end = now + timedelta(seconds=overlap_s)
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
    audit(session, actor, "key.rotate", old.id, {"until": end.isoformat()}, now)
    return await create_key(session, old.account_id, values, actor, now)


async def change_key(
    session: AsyncSession, key_id: str, values: Mapping[str, Any], actor: str, now: datetime
) -> tuple[ApiKey, int]:
    """Change the terms given (its expiry too); returns (row, the account's new epoch)."""
    key = await _living(session, key_id)
    for name, value in values.items():
        setattr(key, name, value)
    epoch = await raise_epoch(session, key.account_id)
    told = {name: "changed" if name == "name" else str(value) for name, value in values.items()}
    audit(session, actor, "key.change", key.id, told, now)
    await session.flush()
    return key, epoch


async def get_key(session: AsyncSession, key_id: str) -> ApiKey:
    key = await session.get(ApiKey, key_id)
    if key is None:
        raise KeyNotFound(key_id)
    return key


async def revoke_key(session: AsyncSession, key_id: str, actor: str, now: datetime) -> tuple[ApiKey, int]:
    """End a key at once; returns (row, the account's new epoch). Safe to repeat."""
    key = await _locked(session, key_id)
    key.revoked_at = key.revoked_at or now
    epoch = await raise_epoch(session, key.account_id)
    audit(session, actor, "key.revoke", key.id, {"account": key.account_id}, now)
    await session.flush()
    return key, epoch


async def erase_keys(session: AsyncSession, account_id: str, now: datetime) -> int:
    """End all keys of an account and take their names and addresses away; returns how many."""
    keys = await keys_of(session, account_id)
    for key in keys:
        key.revoked_at = key.revoked_at or now
        key.name, key.scopes = ERASED, {}
    await session.flush()
    return len(keys)


async def keys_of(session: AsyncSession, account_id: str) -> Sequence[ApiKey]:
    """All keys of an account, oldest first, dead ones too."""
    query = select(ApiKey).where(col(ApiKey.account_id) == account_id).order_by(col(ApiKey.id))
    return (await session.execute(query)).scalars().all()


async def find_by_hash(session: AsyncSession, secret_hash: str) -> tuple[ApiKey, Account] | None:
    """The key of a hash, living or dead, with its account as of the same instant: a key that was alive is never paired with an epoch
    from after its end."""
    query = (
        select(ApiKey, Account)
        .join(Account, col(Account.id) == col(ApiKey.account_id))
        .where(col(ApiKey.secret_hash) == secret_hash)
    )
    row = (await session.execute(query)).one_or_none()
    return (row[0], row[1]) if row is not None and same_hash(row[0].secret_hash, secret_hash) else None


async def _living(session: AsyncSession, key_id: str) -> ApiKey:
    key = await _locked(session, key_id)
    if key.revoked_at is not None:
        raise Conflict("key_revoked", f"The key {key_id} is revoked; create a new one instead.")
    return key


async def _locked(session: AsyncSession, key_id: str) -> ApiKey:
    key = await session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        raise KeyNotFound(key_id)
    return key
