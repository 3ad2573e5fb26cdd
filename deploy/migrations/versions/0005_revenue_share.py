"""The revenue share: rules with a cap; what a statement's plan said.

Revision 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("share_plan", sa.Column("payer_cap", sa.Numeric(), nullable=True))
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.add_column("share", sa.Column("terms", document, nullable=False, server_default=sa.text("'{}'")))


def downgrade() -> None:
    op.drop_column("share", "terms")
    op.drop_column("share_plan", "payer_cap")
