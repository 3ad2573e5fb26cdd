"""Limits of the calls of one model, of accounts and keys.

Revision 0007.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = ("account", "api_key")


def upgrade() -> None:
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    for table in _TABLES:
        op.add_column(table, sa.Column("model_limits", document, server_default="{}", nullable=False))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "model_limits")
