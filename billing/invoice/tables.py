"""Tables of invoices. Rows of an issued invoice are never updated but for its status."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.database import INSTANT, MONEY


class Invoice(SQLModel, table=True):
    """An issued invoice. Money in its own currency."""

    __tablename__ = "invoice"
    __table_args__ = (UniqueConstraint("account_id", "month"), Index("invoice_by_month", "month", "number"))

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    account_id: str = Field(foreign_key="account.id")
    month: str
    status: str
    currency: str
    grants_used: int = Field(sa_type=BigInteger, description="tokens that grants paid for")
    subtotal: Decimal = Field(sa_type=MONEY)
    tax: Decimal = Field(sa_type=MONEY)
    tax_reason: str | None = None
    total: Decimal = Field(sa_type=MONEY)
    fx_rate: Decimal | None = Field(default=None, sa_type=MONEY)
    fx_day: date | None = None
    issued_at: datetime = Field(sa_type=INSTANT)


class InvoiceLine(SQLModel, table=True):
    """One line of it: exact, and rounded once. `quantity` × `unit_price` × (1 − `discount`) is `exact_usd`."""

    __tablename__ = "invoice_line"

    invoice_id: str = Field(primary_key=True, foreign_key="invoice.id")
    position: int = Field(primary_key=True)
    description: str
    model: str
    kind: str
    quantity: int = Field(sa_type=BigInteger)
    unit_price: Decimal = Field(sa_type=MONEY)
    discount: Decimal = Field(sa_type=MONEY)
    exact_amount: Decimal = Field(sa_type=MONEY)
    amount: Decimal = Field(sa_type=MONEY)
    exact_usd: Decimal = Field(sa_type=MONEY)
    card_id: str
    billing_month: str = Field(
        description="month of the calls: earlier than the invoice's if they came after its close"
    )
    granted: bool = Field(description="covered by granted tokens: a zero-money line")


class InvoiceCounter(SQLModel, table=True):
    """The last number given out in a year. Its row is the lock that makes numbers gapless."""

    __tablename__ = "invoice_counter"

    year: int = Field(primary_key=True)
    last_number: int
