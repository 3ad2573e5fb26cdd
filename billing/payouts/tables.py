"""Tables of payouts. Rows are only ever inserted; a hold ends by its own release, written beside it once."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class Payee(SQLModel, table=True):
    """Whom a partner's share is paid to, and what the tax office needs; the newest of an account counts.

    `destination` says where the money goes (a bank account or a Stripe account), as finance was told; it is never used to pay here.
    """

    __tablename__ = "payee"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    kind: str = Field(description="business or individual")
    country: str
    legal_name: str
    registration_number: str | None = None
    currency: str
    destination: dict[str, Any] = Field(sa_type=DOCUMENT)
    created_at: datetime = Field(sa_type=INSTANT)


class PayoutHold(SQLModel, table=True):
    """An operator's stop to a partner's payouts. It stands until it is released."""

    __tablename__ = "payout_hold"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    reason: str
    placed_at: datetime = Field(sa_type=INSTANT)
    released_at: datetime | None = Field(default=None, sa_type=INSTANT)
    release_reason: str | None = None


class Payout(SQLModel, table=True):
    """One statement's due, to be paid; or (`reverses`) the same with the other sign, because it came back.

    `usd` is what the statement says; `amount` the same in the payee's currency, at `fx_rate`; `payable` = `amount` + `vat` − `withheld`.
    """

    __tablename__ = "payout"
    __table_args__ = (Index("payout_by_statement", "month", "account_id"),)

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    month: str
    payee_id: str = Field(foreign_key="payee.id")
    usd: Decimal = Field(sa_type=MONEY)
    currency: str
    fx_rate: Decimal | None = Field(default=None, sa_type=MONEY)
    fx_day: date | None = None
    amount: Decimal = Field(sa_type=MONEY)
    vat: Decimal = Field(sa_type=MONEY)
    withheld: Decimal = Field(sa_type=MONEY)
    payable: Decimal = Field(sa_type=MONEY)
    tax_paper: str
    withholding: list[dict[str, Any]] = Field(sa_type=DOCUMENT)
    reverses: str | None = Field(default=None, foreign_key="payout.id", unique=True)
    reason: str | None = None
    made_at: datetime = Field(sa_type=INSTANT)
