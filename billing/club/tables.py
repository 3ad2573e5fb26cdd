"""Tables of the club."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class Contribution(SQLModel, table=True):
    """Text that a partner gave, as accepted: words, tokens, and a quality factor for the revenue share."""

    __tablename__ = "contribution"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    dataset: str
    words: int = Field(sa_type=BigInteger)
    tokens: int = Field(sa_type=BigInteger)
    quality: Decimal = Field(sa_type=MONEY)
    accepted_at: datetime = Field(sa_type=INSTANT)
    note: str | None = None
    withdraws: str | None = Field(default=None, foreign_key="contribution.id", unique=True)
    corrects: str | None = Field(default=None, foreign_key="contribution.id", unique=True)
    created_at: datetime = Field(sa_type=INSTANT)

    @property
    def undoes(self) -> str | None:
        """The contribution in whose place this entry stands: with its own counts (a correction), or with none (a withdrawal)."""
        return self.corrects or self.withdraws


class TokenGrant(SQLModel, table=True):
    """Free API tokens: one for each accepted token, usable in [from_at, until_at), or until it was ended."""

    __tablename__ = "token_grant"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    contribution_id: str = Field(foreign_key="contribution.id")
    tokens: int = Field(sa_type=BigInteger)
    from_at: datetime = Field(sa_type=INSTANT)
    until_at: datetime = Field(sa_type=INSTANT)
    ended_at: datetime | None = Field(default=None, sa_type=INSTANT, description="its contribution was undone then")

    @property
    def ends_at(self) -> datetime:
        """The end of its use: its expiry, or earlier."""
        return self.until_at if self.ended_at is None else min(self.until_at, self.ended_at)


class TierTableRow(SQLModel, table=True):
    """The steps of the club that hold from an instant on. Only ever inserted."""

    __tablename__ = "tier_table"

    id: str = Field(primary_key=True)
    effective_at: datetime = Field(sa_type=INSTANT)
    tiers: list[dict[str, Any]] = Field(sa_type=DOCUMENT)
    created_at: datetime = Field(sa_type=INSTANT)


class TrainingManifest(SQLModel, table=True):
    """Which datasets trained a model: its revenue goes only to those who gave them."""

    __tablename__ = "training_manifest"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    datasets: list[str] = Field(sa_type=DOCUMENT)
    created_at: datetime = Field(sa_type=INSTANT)
