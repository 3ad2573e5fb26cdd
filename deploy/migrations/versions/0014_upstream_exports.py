"""Upstream's usage exports, as they came.

Revision 0014.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TEXT = sqlmodel.sql.sqltypes.AutoString


def upgrade() -> None:
    op.create_table(
        "upstream_export",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("month", _TEXT(), nullable=False),
        sa.Column("zone", _TEXT(), nullable=False),
        sa.Column("csv", _TEXT(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("sha256", _TEXT(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_upstream_export_month", "upstream_export", ["month"])


def downgrade() -> None:
    op.drop_table("upstream_export")
