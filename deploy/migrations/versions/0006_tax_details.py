"""What a business's registration says beside its number: tax invoices must name it. Expand only."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("tax_details", postgresql.JSONB(), nullable=True))
    op.add_column("invoice", sa.Column("payer_details", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("invoice", "payer_details")
    op.drop_column("account", "tax_details")
