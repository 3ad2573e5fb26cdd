"""Entries say upstream's own prices.

Revision 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_entry", sa.Column("buy_prices", sa.ARRAY(sa.Numeric()), nullable=True))


def downgrade() -> None:
    op.drop_column("ledger_entry", "buy_prices")
