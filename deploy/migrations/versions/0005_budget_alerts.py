"""Budget alerts: where they are sent, what signs them, which there were.

Revision 0005.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TEXT = sqlmodel.sql.sqltypes.AutoString


def upgrade() -> None:
    op.add_column("account", sa.Column("alert_webhook_url", _TEXT(), nullable=True))
    op.create_table(
        "alert_secret",
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("secret", _TEXT(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "budget_alert",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("scope", _TEXT(), nullable=False),
        sa.Column("period", _TEXT(), nullable=False),
        sa.Column("threshold_percent", sa.Integer(), nullable=False),
        sa.Column("reason", _TEXT(), nullable=False),
        sa.Column("currency", _TEXT(), nullable=False),
        sa.Column("budget", sa.Numeric(), nullable=False),
        sa.Column("spent", sa.Numeric(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "scope", "period", "threshold_percent", name="budget_alert_once"),
    )
    op.create_index("budget_alert_due", "budget_alert", ["next_attempt_at"], unique=False)


def downgrade() -> None:
    op.drop_index("budget_alert_due", table_name="budget_alert")
    op.drop_table("budget_alert")
    op.drop_table("alert_secret")
    op.drop_column("account", "alert_webhook_url")
