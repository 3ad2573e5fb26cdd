"""The revenue share: rules with a cap, what a statement's plan said, credit notes that shares have taken into account.

Revision 0005.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("share_plan", sa.Column("payer_cap", sa.Numeric(), nullable=True))
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.add_column("share", sa.Column("terms", document, nullable=False, server_default=sa.text("'{}'")))
    op.create_table(
        "share_correction",
        sa.Column("credit_note_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.ForeignKeyConstraint(["month"], ["share_month.month"]),
        sa.PrimaryKeyConstraint("credit_note_id"),
    )
    op.create_index(op.f("ix_share_correction_month"), "share_correction", ["month"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_share_correction_month"), table_name="share_correction")
    op.drop_table("share_correction")
    op.drop_column("share", "terms")
    op.drop_column("share_plan", "payer_cap")
