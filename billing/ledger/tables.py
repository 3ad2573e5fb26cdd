"""Tables of the ledger. `ledger_entry` is partitioned by the UTC month of the entry's id (see deploy/migrations)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from billing.database import DOCUMENT, INSTANT, MONEY, MONEYS
from billing.money import ZERO

_ZERO = {"server_default": "0"}


class LedgerEntry(SQLModel, table=True):
    """One metered call, priced, or the reversal of one (negative counts and costs). Costs are exact USD; counts as in `billing.usage`."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        # An account's month in the order of its proof, for statements and exports; a rate card's gap (BRIN: entries come in time).
        Index("ledger_entry_by_booking", "account_id", "booked_month", "place"),
        Index("ledger_entry_by_instant", "accepted_at", postgresql_using="brin"),
        {"postgresql_partition_by": "LIST (partition_month)"},
    )

    partition_month: int = Field(primary_key=True, description="UTC month of the id, as 202611")
    entry_id: UUID = Field(primary_key=True)
    call_id: UUID
    kind: str = Field(description="call, or reversal of one")
    reverses: UUID | None = Field(
        default=None, description="the entry that a reversal undoes; it has the same partition"
    )
    account_id: str
    key_id: str
    accepted_at: datetime = Field(sa_type=INSTANT)
    day: date = Field(description="day of the call in the account's zone")
    zone: str = Field(description="the account's zone when the call was accepted")
    billing_month: str = Field(description="month of the call in the account's zone")
    booked_month: str = Field(description="month whose invoice carries it: later than billing_month if that was closed")
    endpoint: str
    model_asked: str
    model: str
    model_answered: str | None = None
    card_id: str
    input_price: Decimal = Field(sa_type=MONEY)
    cached_input_price: Decimal = Field(sa_type=MONEY)
    output_price: Decimal = Field(sa_type=MONEY)
    standard_price: Decimal = Field(sa_type=MONEY)
    enhanced_price: Decimal = Field(sa_type=MONEY)
    discount: Decimal = Field(sa_type=MONEY)
    discount_reason: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    standard_pages: int
    enhanced_pages: int
    granted_input_tokens: int
    granted_cached_input_tokens: int
    granted_output_tokens: int
    list_cost: Decimal = Field(sa_type=MONEY)
    cost: Decimal = Field(sa_type=MONEY)
    absorbed_input_tokens: int = Field(default=0, sa_column_kwargs=_ZERO)
    absorbed_cached_input_tokens: int = Field(default=0, sa_column_kwargs=_ZERO)
    absorbed_output_tokens: int = Field(default=0, sa_column_kwargs=_ZERO)
    absorbed_standard_pages: int = Field(default=0, sa_column_kwargs=_ZERO)
    absorbed_enhanced_pages: int = Field(default=0, sa_column_kwargs=_ZERO)
    absorbed_reason: str | None = Field(default=None, description="why upstream served more than was charged")
    buy_prices: list[Decimal] | None = Field(
        default=None,
        sa_type=MONEYS,
        description="upstream's own prices at that time, in the order of the five prices above; null: no card said them",
    )
    buy_cost: Decimal | None = Field(
        default=None,
        sa_type=MONEY,
        description="what upstream takes for the charged counts; null: the card does not say",
    )
    absorbed_buy_cost: Decimal | None = Field(
        default=None, sa_type=MONEY, description="what upstream takes for the absorbed counts"
    )
    estimated_reason: str | None = None
    streamed: bool
    attempts: int
    recorded_at: datetime = Field(sa_type=INSTANT)
    place: int = Field(
        default=0,
        sa_type=BigInteger,
        sa_column_kwargs=_ZERO,
        description="in the proof of its account's booked month, from 1",
    )


class LedgerProof(SQLModel, table=True):
    """How far the hash chain of an account's booked month has come. Its row is the lock of those who lengthen it."""

    __tablename__ = "ledger_proof"
    __table_args__ = ({"postgresql_with": {"fillfactor": 70}},)

    account_id: str = Field(primary_key=True)
    booked_month: str = Field(primary_key=True)
    entries: int = Field(sa_type=BigInteger)
    head: bytes


class DetachedMonth(SQLModel, table=True):
    """A UTC month whose entries are no longer in the ledger: only rollups and proofs are. Records of it are refused."""

    __tablename__ = "detached_month"

    partition_month: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    detached_at: datetime = Field(sa_type=INSTANT)
    refused: int = Field(default=0, sa_type=BigInteger, description="records that came too late")
    attached_at: datetime | None = Field(default=None, sa_type=INSTANT, description="it is back since then")
    entries: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_ZERO, description="that were detached")
    cost: Decimal = Field(default=ZERO, sa_type=MONEY, sa_column_kwargs=_ZERO, description="their exact sum, USD")
    booked: dict[str, int] = Field(
        default_factory=dict,
        sa_type=DOCUMENT,
        sa_column_kwargs={"server_default": "{}"},
        description="how many of them by the month whose invoices carry them",
    )


class LateRecord(SQLModel, table=True):
    """A settlement that came for a month that is detached: kept until the month is attached again, and in no bill until then."""

    __tablename__ = "late_record"

    partition_month: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    call_id: UUID = Field(primary_key=True)
    account_id: str
    record: str = Field(description="as it travelled (record.py)")
    grants: list[list[Any]] = Field(sa_type=DOCUMENT, description="how grants were spent on it")
    refused_at: datetime = Field(sa_type=INSTANT)
    appended_at: datetime | None = Field(default=None, sa_type=INSTANT, description="null while it is in no bill")


class LedgerGrantUse(SQLModel, table=True):
    """How many tokens an entry took from one grant (a reversal: gives back, negative). Decided once, at settlement."""

    __tablename__ = "ledger_grant_use"

    grant_id: str = Field(primary_key=True)
    entry_id: UUID = Field(primary_key=True)
    tokens: int


class LedgerTotal(SQLModel, table=True):
    """Running totals of a key in a month: what caps are rebased on. `entries` only rises, and orders two readings of a total."""

    __tablename__ = "ledger_total"

    account_id: str = Field(primary_key=True)
    billing_month: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    entries: int = Field(sa_type=BigInteger)
    cost: Decimal = Field(sa_type=MONEY)


class _Measures(SQLModel):
    """What a rollup holds of a group of entries: `statements.MEASURES`."""

    calls: int = Field(sa_type=BigInteger)
    estimated_calls: int = Field(sa_type=BigInteger)
    calls_without_buy_price: int = Field(sa_type=BigInteger)
    input_tokens: int = Field(sa_type=BigInteger)
    cached_input_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    standard_pages: int = Field(sa_type=BigInteger)
    enhanced_pages: int = Field(sa_type=BigInteger)
    granted_input_tokens: int = Field(sa_type=BigInteger)
    granted_cached_input_tokens: int = Field(sa_type=BigInteger)
    granted_output_tokens: int = Field(sa_type=BigInteger)
    absorbed_input_tokens: int = Field(sa_type=BigInteger)
    absorbed_cached_input_tokens: int = Field(sa_type=BigInteger)
    absorbed_output_tokens: int = Field(sa_type=BigInteger)
    absorbed_standard_pages: int = Field(sa_type=BigInteger)
    absorbed_enhanced_pages: int = Field(sa_type=BigInteger)
    list_cost: Decimal = Field(sa_type=MONEY)
    cost: Decimal = Field(sa_type=MONEY)
    buy_cost: Decimal = Field(sa_type=MONEY)
    absorbed_buy_cost: Decimal = Field(sa_type=MONEY)


class LedgerDay(_Measures, table=True):
    """The daily rollup: an account's days in its own zone, by key, model, price and discount. Bills and usage are read from it."""

    __tablename__ = "ledger_day"
    __table_args__ = (
        Index("ledger_day_by_booking", "booked_month", "account_id"),
        Index("ledger_day_by_day", "day"),
        {"postgresql_with": {"fillfactor": 70}},  # room on the page for the next version of a row that grows all day
    )

    account_id: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    booked_month: str = Field(primary_key=True)
    billing_month: str = Field(primary_key=True)
    zone: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    card_id: str = Field(primary_key=True)
    discount: Decimal = Field(primary_key=True, sa_type=MONEY)
    input_price: Decimal = Field(primary_key=True, sa_type=MONEY)
    cached_input_price: Decimal = Field(primary_key=True, sa_type=MONEY)
    output_price: Decimal = Field(primary_key=True, sa_type=MONEY)
    standard_price: Decimal = Field(primary_key=True, sa_type=MONEY)
    enhanced_price: Decimal = Field(primary_key=True, sa_type=MONEY)


class LedgerSlot(_Measures, table=True):
    """The rollup of the whole house by the quarter of an hour and model, from which the days of every zone can be put together."""

    __tablename__ = "ledger_slot"
    __table_args__ = ({"postgresql_with": {"fillfactor": 70}},)

    slot: datetime = Field(primary_key=True, sa_type=INSTANT, description="begin of the quarter of an hour")
    model: str = Field(primary_key=True)


class ClosedMonth(SQLModel, table=True):
    """A month whose invoices are being or have been issued: nothing is booked into it any more."""

    __tablename__ = "closed_month"

    month: str = Field(primary_key=True)
    closed_at: datetime = Field(sa_type=INSTANT)
