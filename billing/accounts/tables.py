"""Tables of accounts and of the audit log."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class Account(SQLModel, table=True):
    """Who pays. Money in the account's own currency."""

    __tablename__ = "account"

    id: str = Field(primary_key=True)
    name: str
    kind: str = "standard"
    currency: str = "USD"
    timezone: str = "Asia/Seoul"
    status: str = "active"
    billing: str = "invoice"
    monthly_cap: Decimal | None = Field(default=None, sa_type=MONEY)
    prepaid_balance: Decimal = Field(default=Decimal(0), sa_type=MONEY)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    model_limits: dict[str, Any] = Field(
        default_factory=dict, sa_type=DOCUMENT, sa_column_kwargs={"server_default": "{}"}
    )
    alert_webhook_url: str | None = None
    tax_country: str | None = None
    tax_registration_number: str | None = None
    tax_details: dict[str, Any] | None = Field(
        default=None, sa_type=DOCUMENT, description="representative, address, …: what a tax invoice has to name"
    )
    owner_group: str
    epoch: int = 1
    created_at: datetime = Field(sa_type=INSTANT)


class AuditEntry(SQLModel, table=True):
    """Who changed what, when. Only ever inserted."""

    __tablename__ = "audit_entry"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_type=INSTANT)
    actor: str
    action: str
    subject: str = Field(index=True)
    change: dict[str, Any] = Field(sa_type=DOCUMENT)
