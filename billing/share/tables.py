"""Tables of the revenue share. Plans and statements are only ever inserted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class SharePlan(SQLModel, table=True):
    """From a month on: the part of net revenue that is shared, by which rule, and the least that is paid out (USD).

    `payer_cap`: for the rule `capped_pro_rata`, the most that one paying owner group puts up a month (USD).
    """

    __tablename__ = "share_plan"

    id: str = Field(primary_key=True)
    effective_month: str = Field(index=True)
    pool_rate: Decimal = Field(sa_type=MONEY)
    rule: str
    minimum_payout: Decimal = Field(sa_type=MONEY)
    payer_cap: Decimal | None = Field(default=None, sa_type=MONEY)
    created_at: datetime = Field(sa_type=INSTANT)


class ShareMonth(SQLModel, table=True):
    """A month whose shares are computed (also where no plan was in force): the last row that a close writes.

    `pool` is what was shared out, `house` what stayed with the house, exact (cut to 18 places where a credit note left no
    decimal). `pools` names the payers and their invoices: for finance only.
    """

    __tablename__ = "share_month"

    month: str = Field(primary_key=True)
    plan_id: str | None = Field(default=None, foreign_key="share_plan.id")
    pool: Decimal = Field(sa_type=MONEY)
    house: Decimal = Field(sa_type=MONEY)
    pools: list[dict[str, Any]] = Field(sa_type=DOCUMENT)
    computed_at: datetime = Field(sa_type=INSTANT)


class Share(SQLModel, table=True):
    """A partner's statement of a month. `amount`s of a month sum to its `pool`; `payout` = `carried_in` + `amount` − `carried_over`."""

    __tablename__ = "share"
    __table_args__ = (Index("share_by_account", "account_id", "month"),)

    month: str = Field(primary_key=True)
    account_id: str = Field(primary_key=True, foreign_key="account.id")
    pool: Decimal = Field(sa_type=MONEY)
    weight: Decimal = Field(sa_type=MONEY)
    amount: Decimal = Field(sa_type=MONEY)
    carried_in: Decimal = Field(sa_type=MONEY)
    carried_over: Decimal = Field(sa_type=MONEY)
    payout: Decimal = Field(sa_type=MONEY)
    currency: str
    rule: str
    steps: list[dict[str, Any]] = Field(sa_type=DOCUMENT)
    terms: dict[str, Any] = Field(
        default_factory=dict, sa_type=DOCUMENT, sa_column_kwargs={"server_default": text("'{}'")}
    )
