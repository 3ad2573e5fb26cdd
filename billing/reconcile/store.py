"""Keeping upstream's usage exports. The caller commits.

Errors: `usage_export.WrongExport`, before anything is written.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from billing.accounts.store import audit
from billing.database import Session
from billing.ids import new_id
from billing.periods import Month
from billing.reconcile.tables import UpstreamExport
from billing.reconcile.usage_export import from_wire_export


async def add_export(session: Session, month: Month, zone: str, csv: str, actor: str, now: datetime) -> UpstreamExport:
    """Keep an export of a month; from now on it is the one that is compared."""
    export = from_wire_export(csv, month)
    row = UpstreamExport(
        id=new_id("upx", now),
        month=str(month),
        zone=zone,
        csv=csv,
        rows=len(export.rows) + len(export.doubled),
        sha256=sha256(csv.encode()).hexdigest(),
        imported_at=now,
    )
    session.add(row)
    audit(session, actor, "upstream_export.import", str(month), {"export": row.id, "sha256": row.sha256}, now)
    await session.flush()
    return row
