"""The table of upstream's usage exports. Rows are only ever inserted: of two for a month the newer is compared."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from billing.database import INSTANT


class UpstreamExport(SQLModel, table=True):
    """An export as it came, byte for byte: what was compared can be compared again."""

    __tablename__ = "upstream_export"

    id: str = Field(primary_key=True)
    month: str = Field(index=True)
    zone: str = Field(description="in which the export's days begin and end")
    csv: str
    rows: int
    sha256: str
    imported_at: datetime = Field(sa_type=INSTANT)
