"""Tables of budget alerts and of the secrets that sign them. Money in the account's own currency."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.database import INSTANT, MONEY


class AlertSecret(SQLModel, table=True):
    """What signs an account's alerts. Kept as it is, because a signature cannot be made from a hash; shown once."""

    __tablename__ = "alert_secret"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    secret: str = Field(repr=False)
    created_at: datetime = Field(sa_type=INSTANT)


class BudgetAlert(SQLModel, table=True):
    """One threshold of one budget was reached; and, in the same row, how far its delivery has come."""

    __tablename__ = "budget_alert"
    __table_args__ = (
        UniqueConstraint("account_id", "scope", "period", "threshold_percent", name="budget_alert_once"),
        Index("budget_alert_due", "next_attempt_at"),
    )

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id")
    scope: str = Field(description="account, key:<id> (monthly caps) or prepaid")
    period: str = Field(description="the month of a cap, or the balance that a prepaid account had paid in")
    threshold_percent: int
    reason: str = Field(description="spent, or refused: what was left did not cover a call")
    currency: str
    budget: Decimal = Field(sa_type=MONEY)
    spent: Decimal = Field(sa_type=MONEY)
    at: datetime = Field(sa_type=INSTANT)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=INSTANT)
    delivered_at: datetime | None = Field(default=None, sa_type=INSTANT)
    given_up_at: datetime | None = Field(default=None, sa_type=INSTANT)
