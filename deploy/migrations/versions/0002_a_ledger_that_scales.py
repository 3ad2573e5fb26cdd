"""Entries say what upstream took, what was absorbed and which entry they reverse.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ABSORBED = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")


def upgrade() -> None:
    op.add_column("ledger_entry", sa.Column("reverses", sa.Uuid(), nullable=True))
    for name in _ABSORBED:
        op.add_column("ledger_entry", sa.Column(f"absorbed_{name}", sa.Integer(), server_default="0", nullable=False))
    op.add_column("ledger_entry", sa.Column("absorbed_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("ledger_entry", sa.Column("buy_cost", sa.Numeric(), nullable=True))
    op.add_column("ledger_entry", sa.Column("absorbed_buy_cost", sa.Numeric(), nullable=True))


def downgrade() -> None:
    for name in ("absorbed_buy_cost", "buy_cost", "absorbed_reason", *(f"absorbed_{name}" for name in _ABSORBED)):
        op.drop_column("ledger_entry", name)
    op.drop_column("ledger_entry", "reverses")
