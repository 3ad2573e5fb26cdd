"""The table of API keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class ApiKey(SQLModel, table=True):
    """A key of an account. The secret itself is nowhere."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    prefix: str
    secret_hash: str = Field(unique=True)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    model_limits: dict[str, Any] = Field(
        default_factory=dict, sa_type=DOCUMENT, sa_column_kwargs={"server_default": "{}"}
    )
    monthly_cap: Decimal | None = Field(default=None, sa_type=MONEY)
    scopes: dict[str, Any] = Field(default_factory=dict, sa_type=DOCUMENT)
    rotated_from: str | None = None
    created_at: datetime = Field(sa_type=INSTANT)
    expires_at: datetime | None = Field(default=None, sa_type=INSTANT)
    revoked_at: datetime | None = Field(default=None, sa_type=INSTANT)
