"""The table of lost attempts. Costs are exact USD at upstream's own price where the rate card says it, else at the list price."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from billing.database import INSTANT, MONEY


class LostAttempt(SQLModel, table=True):
    """One attempt that upstream may have carried out, and whose answer nobody saw. Pending until upstream's own bill decides."""

    __tablename__ = "lost_attempt"
    __table_args__ = (Index("lost_attempt_by_instant", "accepted_at"),)

    call_id: UUID = Field(primary_key=True)
    attempt: int = Field(primary_key=True, description="from 1, of all attempts of the call")
    accepted_at: datetime = Field(sa_type=INSTANT, description="when the call was accepted")
    account_id: str
    key_id: str
    endpoint: str
    model: str
    upstream_key: str = Field(description="the public name of our key")
    why: str
    input_tokens: int = Field(description="the best guess of what went in")
    output_tokens: int = Field(description="what a call is expected to make")
    pages: int
    cost: Decimal = Field(sa_type=MONEY, description="what that would cost us")
    cost_max: Decimal = Field(sa_type=MONEY, description="what it can cost us at most")
    recorded_at: datetime = Field(sa_type=INSTANT)
