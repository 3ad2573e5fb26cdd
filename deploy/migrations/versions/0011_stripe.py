"""Stripe: the outbox of what it is to have, the deliveries that came from it, top-ups, meter events, and the standing of accounts.

Revision 0011.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TEXT = sqlmodel.sql.sqltypes.AutoString
_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "stripe_dispute",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("payment", _TEXT(), nullable=False),
        sa.Column("status", _TEXT(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_stripe_dispute_payment", "stripe_dispute", ["payment"], unique=False)
    op.create_table(
        "stripe_event",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("type", _TEXT(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", _DOCUMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", _TEXT(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("stripe_event_due", "stripe_event", ["next_attempt_at"], unique=False)
    op.create_table(
        "stripe_account_standing",
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("owes_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", _TEXT(), nullable=True),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_ours", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "stripe_meter_event",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("month", _TEXT(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "at", name="stripe_meter_event_minute"),
    )
    op.create_table(
        "stripe_task",
        sa.Column("kind", _TEXT(), nullable=False),
        sa.Column("subject_id", _TEXT(), nullable=False),
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("steps", _DOCUMENT, server_default="{}", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("faults", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_id", _TEXT(), nullable=True),
        sa.Column("fault", _TEXT(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("kind", "subject_id"),
    )
    op.create_index("ix_stripe_task_made_id", "stripe_task", ["made_id"], unique=False)
    op.create_index("stripe_task_by_account", "stripe_task", ["account_id", "kind"], unique=False)
    op.create_index("stripe_task_due", "stripe_task", ["next_attempt_at"], unique=False)
    op.create_table(
        "stripe_top_up",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", _TEXT(), nullable=False),
        sa.Column("status", _TEXT(), nullable=False),
        sa.Column("payment", _TEXT(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_stripe_top_up_account_id", "stripe_top_up", ["account_id"], unique=False)
    op.create_index("ix_stripe_top_up_payment", "stripe_top_up", ["payment"], unique=False)
    op.create_table(
        "stripe_invoice_standing",
        sa.Column("invoice_id", _TEXT(), nullable=False),
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("status", _TEXT(), nullable=False),
        sa.Column("unpaid_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("why", _TEXT(), nullable=True),
        sa.Column("payment", _TEXT(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"]),
        sa.PrimaryKeyConstraint("invoice_id"),
    )
    op.create_index("ix_stripe_invoice_standing_account_id", "stripe_invoice_standing", ["account_id"], unique=False)
    op.create_index("ix_stripe_invoice_standing_payment", "stripe_invoice_standing", ["payment"], unique=False)
    op.create_table(
        "stripe_top_up_refund",
        sa.Column("id", _TEXT(), nullable=False),
        sa.Column("top_up_id", _TEXT(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("reason", _TEXT(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["top_up_id"], ["stripe_top_up.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_stripe_top_up_refund_top_up_id", "stripe_top_up_refund", ["top_up_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_stripe_top_up_refund_top_up_id", table_name="stripe_top_up_refund")
    op.drop_table("stripe_top_up_refund")
    op.drop_index("ix_stripe_invoice_standing_payment", table_name="stripe_invoice_standing")
    op.drop_index("ix_stripe_invoice_standing_account_id", table_name="stripe_invoice_standing")
    op.drop_table("stripe_invoice_standing")
    op.drop_index("ix_stripe_top_up_payment", table_name="stripe_top_up")
    op.drop_index("ix_stripe_top_up_account_id", table_name="stripe_top_up")
    op.drop_table("stripe_top_up")
    op.drop_index("stripe_task_due", table_name="stripe_task")
    op.drop_index("stripe_task_by_account", table_name="stripe_task")
    op.drop_index("ix_stripe_task_made_id", table_name="stripe_task")
    op.drop_table("stripe_task")
    op.drop_table("stripe_meter_event")
    op.drop_table("stripe_account_standing")
    op.drop_index("stripe_event_due", table_name="stripe_event")
    op.drop_table("stripe_event")
    op.drop_index("ix_stripe_dispute_payment", table_name="stripe_dispute")
    op.drop_table("stripe_dispute")
