"""Accounts in Postgres: make, change, list. Each change is in the audit log and raises the account's epoch.

Errors: `AccountNotFound`, `AccountOpen`; before anything is written `WrongRegistrationNumber`, `UnknownCountry`, and `WrongAccount`
for what no account can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.accounts.countries import from_wire_country
from billing.accounts.registration import check_number
from billing.accounts.tables import Account, AuditEntry
from billing.ids import new_id

ERASED = "erased"
"""What stands in the place of a name that was taken away."""
PERSONAL = ("name", "tax_registration_number", "tax_details", "alert_webhook_url")
"""Of these the audit log says that they changed, never to what: it is kept for good, and cannot be edited."""


class AccountOpen(ValueError):
    """Only a closed account's personal data can be taken away."""

    def __init__(self, account_id: str) -> None:
        super().__init__(f"account {account_id} is not closed; close it first")


class WrongAccount(ValueError):
    """A field that no account can have; the text begins with its name."""


class AccountNotFound(LookupError):
    """No account has this id."""

    def __init__(self, account_id: str) -> None:
        super().__init__(f"no account {account_id!r}; list them with `solar-gateway accounts list`")
        self.account_id = account_id


async def create(session: AsyncSession, values: Mapping[str, Any], actor: str, now: datetime) -> Account:
    """A new account from the fields given; the rest takes the contract's defaults (design.md section 3)."""
    values = _checked(values)
    account_id = new_id("acc", now)
    account = Account(
        id=account_id, owner_group=values.get("owner_group") or account_id, created_at=now, **_without(values)
    )
    session.add(account)
    await session.flush()
    audit(session, actor, "account.create", account_id, {"kind": account.kind}, now)
    return account


async def change(
    session: AsyncSession, account_id: str, values: Mapping[str, Any], actor: str, now: datetime
) -> Account:
    """Change the fields given and raise the epoch."""
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        raise AccountNotFound(account_id)
    values = _checked(values, account.tax_country)
    for name, value in values.items():
        setattr(account, name, value)
    account.epoch += 1
    told = {name: "changed" if name in PERSONAL else str(value) for name, value in values.items()}
    audit(session, actor, "account.change", account_id, told, now)
    await session.flush()
    return account


async def erase(session: AsyncSession, account_id: str, actor: str, now: datetime) -> Account:
    """Take the personal data of a closed account away. Safe to repeat."""
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        raise AccountNotFound(account_id)
    if account.status != "closed":
        raise AccountOpen(account_id)
    account.name = ERASED
    account.tax_registration_number = account.tax_details = account.alert_webhook_url = None
    account.epoch += 1
    audit(session, actor, "account.erase", account_id, {}, now)
    await session.flush()
    return account


async def get(session: AsyncSession, account_id: str) -> Account:
    account = await session.get(Account, account_id)
    if account is None:
        raise AccountNotFound(account_id)
    return account


async def page(session: AsyncSession, after: str | None, count_max: int) -> Sequence[Account]:
    """Accounts by id, after a cursor."""
    query = select(Account).order_by(col(Account.id)).limit(count_max)
    if after is not None:
        query = query.where(col(Account.id) > after)
    return (await session.execute(query)).scalars().all()


async def zones(session: AsyncSession) -> set[str]:
    """The time zones that accounts live in."""
    return set((await session.execute(select(Account.timezone).distinct())).scalars())


async def raise_epoch(session: AsyncSession, account_id: str) -> int:
    """Mark that something about this account changed (a key, a grant); returns the new epoch."""
    statement = (
        update(Account)
        .where(col(Account.id) == account_id)
        .values(epoch=Account.epoch + 1)
        .returning(col(Account.epoch))
    )
    epoch = (await session.execute(statement)).scalar_one_or_none()
    if epoch is None:
        raise AccountNotFound(account_id)
    return epoch


def audit(
    session: AsyncSession, actor: str, action: str, subject: str, change: Mapping[str, Any], now: datetime
) -> None:
    """Append to the audit log within the caller's transaction."""
    session.add(AuditEntry(at=now, actor=actor, action=action, subject=subject, change=dict(change)))


async def audit_page(
    session: AsyncSession, *, subject: str | None, actor: str | None, before: int | None, count_max: int
) -> Sequence[AuditEntry]:
    """Audit entries, newest first, before a cursor; of one subject or one actor."""
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(count_max)
    if subject is not None:
        query = query.where(col(AuditEntry.subject) == subject)
    if actor is not None:
        query = query.where(col(AuditEntry.actor) == actor)
    if before is not None:
        query = query.where(col(AuditEntry.id) < before)
    return (await session.execute(query)).scalars().all()


def _checked(values: Mapping[str, Any], country: str | None = None) -> dict[str, Any]:
    """The fields given, a country as its two letters; `country` is where the account was taxed before."""
    checked = dict(values)
    if "name" in checked and not checked["name"].strip():
        raise WrongAccount("name: say what people call it")
    if checked.get("tax_country") is not None:
        checked["tax_country"] = from_wire_country(checked["tax_country"])
    country = checked.get("tax_country", country)
    if country is None and checked.get("tax_registration_number"):
        raise WrongAccount("tax.country: is needed beside a registration number")
    check_number(country, checked.get("tax_registration_number"))
    return checked


def _without(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "owner_group"}
