"""Tables of what goes to Stripe and what comes from it. Money in the account's own currency."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


class StripeTask(SQLModel, table=True):
    """One thing of ours that Stripe is to have, and how far that has come.

    `steps` says for each request its key's generation, when that was first used, what was decided then, and Stripe's name of the outcome.
    """

    __tablename__ = "stripe_task"
    __table_args__ = (
        Index("stripe_task_due", "next_attempt_at"),
        Index("stripe_task_by_account", "account_id", "kind"),
    )

    kind: str = Field(
        primary_key=True,
        description="customer, customer_change, invoice, credit_note, top_up, refund, meter, transfer or reversal",
    )
    subject_id: str = Field(primary_key=True, description="our id of it")
    account_id: str = Field(foreign_key="account.id")
    created_at: datetime = Field(sa_type=INSTANT)
    steps: dict[str, Any] = Field(default_factory=dict, sa_type=DOCUMENT, sa_column_kwargs={"server_default": "{}"})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    faults: int = Field(default=0, sa_column_kwargs={"server_default": "0"}, description="in a row")
    refusals: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    next_attempt_at: datetime | None = Field(default=None, sa_type=INSTANT)
    done_at: datetime | None = Field(default=None, sa_type=INSTANT)
    given_up_at: datetime | None = Field(default=None, sa_type=INSTANT)
    made_id: str | None = Field(default=None, index=True, description="Stripe's name of it")
    fault: str | None = Field(default=None, description="why it is not done yet, as Stripe said")


class TopUp(SQLModel, table=True):
    """Money that a customer was asked to pay in, and whether it came. The balance is raised in the transaction that says so, once."""

    __tablename__ = "stripe_top_up"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    amount: Decimal = Field(sa_type=MONEY)
    currency: str
    status: str = Field(description="pending, paid, expired or failed")
    payment: str | None = Field(default=None, index=True, description="Stripe's payment intent, once it is paid")
    created_at: datetime = Field(sa_type=INSTANT)
    paid_at: datetime | None = Field(default=None, sa_type=INSTANT)


class TopUpRefund(SQLModel, table=True):
    """A part of a top-up that is given back; the balance was lessened when it was asked for."""

    __tablename__ = "stripe_top_up_refund"

    id: str = Field(primary_key=True)
    top_up_id: str = Field(foreign_key="stripe_top_up.id", index=True)
    amount: Decimal = Field(sa_type=MONEY)
    reason: str
    created_at: datetime = Field(sa_type=INSTANT)


class MeterEvent(SQLModel, table=True):
    """Usage that Stripe bills, as it was told: whole nano-USD of a month, so that all events of a month sum to its cost (cut)."""

    __tablename__ = "stripe_meter_event"
    __table_args__ = (UniqueConstraint("account_id", "at", name="stripe_meter_event_minute"),)

    id: str = Field(primary_key=True, description="its identifier at Stripe")
    account_id: str = Field(foreign_key="account.id")
    month: str
    value: int = Field(sa_type=BigInteger, description="nano-USD")
    at: datetime = Field(sa_type=INSTANT, description="a whole minute; an account has one event in it")


class StripeEvent(SQLModel, table=True):
    """One delivery of Stripe's, proved to be its, as it came; and whether it is worked off."""

    __tablename__ = "stripe_event"
    __table_args__ = (Index("stripe_event_due", "next_attempt_at"),)

    id: str = Field(primary_key=True, description="Stripe's own: a repeated delivery is the same event")
    type: str
    created_at: datetime = Field(sa_type=INSTANT, description="when it happened, as Stripe says")
    received_at: datetime = Field(sa_type=INSTANT)
    body: dict[str, Any] = Field(sa_type=DOCUMENT)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    next_attempt_at: datetime | None = Field(default=None, sa_type=INSTANT)
    applied_at: datetime | None = Field(default=None, sa_type=INSTANT)
    outcome: str | None = Field(default=None, description="what it came to, or why it waits")


class InvoiceStanding(SQLModel, table=True):
    """What Stripe's events said of an invoice so far: it only ever grows, so that their order does not matter."""

    __tablename__ = "stripe_invoice_standing"

    invoice_id: str = Field(primary_key=True, foreign_key="invoice.id")
    account_id: str = Field(foreign_key="account.id", index=True)
    status: str = Field(description="open, uncollectible, paid or void")
    unpaid_since: datetime | None = Field(default=None, sa_type=INSTANT, description="first failure, or overdue")
    why: str | None = None
    payment: str | None = Field(default=None, index=True, description="Stripe's payment intent")


class Dispute(SQLModel, table=True):
    """A payment that a bank takes back, or tried to."""

    __tablename__ = "stripe_dispute"

    id: str = Field(primary_key=True)
    payment: str = Field(index=True)
    status: str = Field(description="open, won or lost")
    opened_at: datetime = Field(sa_type=INSTANT)


class AccountStanding(SQLModel, table=True):
    """Since when an account owes something that it should have paid, and whether that suspended it."""

    __tablename__ = "stripe_account_standing"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    owes_since: datetime | None = Field(default=None, sa_type=INSTANT)
    why: str | None = None
    suspended_at: datetime | None = Field(default=None, sa_type=INSTANT, description="when its grace was over")
    is_ours: bool = Field(default=False, description="was active then: what we suspended we restore")
