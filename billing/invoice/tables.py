"""Tables of invoices and credit notes. Rows of an issued invoice are never updated but for its status; those of a credit note never."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY


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
    proof_root: str | None = Field(default=None, description="of the entries that it bills: billing/ledger/PROOF.md")
    payer_name: str | None = Field(default=None, description="who it was for, as called when it was issued")
    tax_country: str | None = None
    tax_registration_number: str | None = None
    payer_details: dict[str, Any] | None = Field(default=None, sa_type=DOCUMENT)
    seller: dict[str, Any] | None = Field(default=None, sa_type=DOCUMENT, description="who issued it, as stated then")


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


class CreditNote(SQLModel, table=True):
    """What was taken back from an issued invoice. Money in the invoice's currency; amounts are what the customer gets back."""

    __tablename__ = "credit_note"
    __table_args__ = (Index("credit_note_by_month", "booked_month", "number"),)

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    invoice_id: str = Field(foreign_key="invoice.id", index=True)
    account_id: str = Field(foreign_key="account.id")
    booked_month: str = Field(description="month whose revenue it lessens: the first that was open when it was issued")
    reason: str
    currency: str
    subtotal: Decimal = Field(sa_type=MONEY)
    tax: Decimal = Field(sa_type=MONEY)
    tax_reason: str | None = None
    total: Decimal = Field(sa_type=MONEY)
    issued_at: datetime = Field(sa_type=INSTANT)


class CreditNoteLine(SQLModel, table=True):
    """How much of one line of the invoice was taken back, and what of its exact USD that is."""

    __tablename__ = "credit_note_line"

    credit_note_id: str = Field(primary_key=True, foreign_key="credit_note.id")
    line: int = Field(primary_key=True, description="position of the invoice's line")
    model: str
    amount: Decimal = Field(sa_type=MONEY)
    exact_usd: Decimal = Field(sa_type=MONEY)


class CreditNoteCounter(SQLModel, table=True):
    """The last number of a credit note in a year; its row is the lock that makes the series gapless."""

    __tablename__ = "credit_note_counter"

    year: int = Field(primary_key=True)
    last_number: int
