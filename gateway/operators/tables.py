"""The table of operators."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from billing.database import INSTANT


class Operator(SQLModel, table=True):
    """A named operator's token. The token itself is nowhere; a name belongs to one living token, so that the audit log is plain."""

    __tablename__ = "operator"
    __table_args__ = (Index("operator_living_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),)

    id: str = Field(primary_key=True)
    name: str
    role: str
    prefix: str
    secret_hash: str = Field(unique=True)
    created_at: datetime = Field(sa_type=INSTANT)
    expires_at: datetime | None = Field(default=None, sa_type=INSTANT)
    revoked_at: datetime | None = Field(default=None, sa_type=INSTANT)
